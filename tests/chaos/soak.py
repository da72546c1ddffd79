"""`python -m tests.chaos.soak --hours 2`: a long trial that looks at what grows.

The company works at a steady rate, with faults and outages, and everything is judged in the end as in any trial. In
between, memory, lag, tables, indexes and Kafka's disk are sampled; what grows that should not fails it.
"""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import psycopg
import pymysql
import typer
from confluent_kafka import KafkaException

from tests.chaos.faults import FAULTS, OUTAGES, NotFenced
from tests.chaos.growth import HOUR, Growth, Points, judged
from tests.chaos.samples import Samples
from tests.chaos.trial import Ground, Load, Trial
from tests.demo.company import CompanyFailed
from tests.support import plots
from tests.support.processes import ProcessFailed
from tests.support.waiting import NeverCame

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_ROOT: Final = Path(__file__).parents[2]
_LOGS: Final = _ROOT / ".demo"
_SAMPLES: Final = 60
"""At least so many of them, however short it is."""
_INTERRUPTED: Final = 130
_FAILURES: Final = (
    ProcessFailed, CompanyFailed, NeverCame, NotFenced,
    psycopg.Error, pymysql.MySQLError, KafkaException, TimeoutError, ConnectionError,
)  # fmt: skip


@app.command()
def main(
    *,
    hours: Annotated[float, typer.Option(help="How long it goes on.")] = 2.0,
    rate: Annotated[float, typer.Option(help="Transactions a second.")] = 500.0,
    customers: Annotated[int, typer.Option(help="Customers at the beginning.")] = 20_000,
    appliers: Annotated[int, typer.Option(help="Appliers at the beginning.")] = 2,
    pause: Annotated[float, typer.Option(help="Seconds between faults, on average: what is killed holds little.")] = 60,
    every: Annotated[float, typer.Option(help="Seconds between samples.")] = 30.0,
    seed: Annotated[int | None, typer.Option(help="What it does follows from it; else by chance.")] = None,
    results: Annotated[Path, typer.Option(help="Where samples, plots and the report go.")] = _ROOT / "dist" / "soak",
) -> None:
    """Work for hours, with faults, and tell what grows.

    Exit code 0 where everything is right, 1 where something is not, 130 after Ctrl-C or SIGTERM.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    seconds = hours * HOUR
    results.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            typer.echo(f"seed {seed}: {rate:.0f} transactions/s for {hours:g} hours")
            ground = Ground.prepare(stack)
            load = Load(rate, customers, appliers, dialler=True, net=True)
            trial = stack.enter_context(Trial(ground, _LOGS, seed, load, typer.echo))
            problems, samples = _soak(trial, seconds, pause, min(every, seconds / _SAMPLES), results)
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing was judged; the samples until now are in samples.jsonl")
        raise typer.Exit(_INTERRUPTED) from None
    grown = judged(samples, seconds)
    report(results, samples, grown, problems)
    problems += [one.sentence for one in grown if one.wrong]
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"the report, samples and plots lie in {results}")
    if problems:
        typer.echo(f"wrong with seed {seed}; logs of processes and transactions are below {trial.pipeline.folder}")
        raise typer.Exit(1)
    shutil.rmtree(trial.pipeline.folder)


def _soak(
    trial: Trial, seconds: float, pause: float, every: float, results: Path
) -> tuple[list[str], Mapping[str, Points]]:
    """What is not as it must be, and the samples."""
    samples: Mapping[str, Points] = {}
    try:
        trial.prepare()
        with Samples(trial, every, results / "samples.jsonl") as taken:
            samples = taken.series
            began = time.monotonic()
            trial.storm(FAULTS, seconds, min(pause, seconds / 20), OUTAGES)
            trial.say(f"the storm took {time.monotonic() - began:.0f} s, {dict(trial.faults)}")
        return trial.judge(), samples
    except _FAILURES as error:
        return [f"not judged: {type(error).__name__}: {error}"], samples


def report(results: Path, samples: Mapping[str, Points], grown: Sequence[Growth], problems: Sequence[str]) -> None:
    """Writes plots, the figures as JSON, and a page with both."""
    groups: dict[str, dict[str, Points]] = {}
    for name, points in samples.items():
        group, _, what = name.partition(": ")
        groups.setdefault(group, {})[what] = [(at / 60, value) for at, value in points]
    for old in results.glob("*.svg"):
        old.unlink()
    shown = []
    for group, series in sorted(groups.items()):
        file = f"{group.replace(',', '').replace(' ', '-').lower()}.svg"
        (results / file).write_text(plots.lines(group, "minutes", "", series))
        shown.append(f"![{group}]({file})")
    figures = {one.name: {"level": one.level, "an_hour": one.an_hour, "grown": one.grown, "allowed": one.allowed,
                          "wrong": one.wrong, "judged": one.bound is not None} for one in grown}  # fmt: skip
    (results / "soak.json").write_text(json.dumps(figures, indent=1) + "\n")
    told = [*(f"- {problem}" for problem in problems), "", *(f"- {one.sentence}" for one in grown)]
    (results / "soak.md").write_text("\n".join(["# Soak", "", *told, "", *shown]) + "\n")


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    app()
