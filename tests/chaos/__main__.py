"""`python -m tests.chaos --minutes 60`: trials with random faults, one after the other, until the time is over."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.faults import CLUSTER_FAULTS, FAULTS, Fault, NotFenced
from tests.chaos.trial import Ground, Load, Trial
from tests.demo.company import CompanyFailed
from tests.demo.pipeline import NotDrained
from tests.demo.processes import ProcessFailed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_FOLDER = Path(".demo")
_TRIAL_SECONDS = 300.0


@app.command()
def main(
    *,
    minutes: Annotated[float, typer.Option(help="How long things go wrong, in trials of five minutes.")] = 10.0,
    seed: Annotated[int | None, typer.Option(help="What the first trial does follows from it; else by chance.")] = None,
    faults: Annotated[str, typer.Option(help=f"Only these, with commas between: {', '.join(FAULTS)}")] = "",
    rate: Annotated[float, typer.Option(help="Transactions a second.")] = 1000.0,
    customers: Annotated[int, typer.Option(help="Customers at the beginning of a trial.")] = 20_000,
    appliers: Annotated[int, typer.Option(help="Appliers at the beginning of a trial.")] = 3,
    brokers: Annotated[int, typer.Option(help="Kafka brokers: 1, or 3 with replication factor 3.")] = 1,
    dialler: Annotated[bool, typer.Option(help="Whether a dialler works beside us.")] = True,
    net: Annotated[bool, typer.Option(help="Whether sweeps, backfill, verify and checks run all the time.")] = True,
    own_mysql: Annotated[bool, typer.Option(help="A MySQL of our own, which is restarted too.")] = True,
    pause: Annotated[float, typer.Option(help="Seconds between faults, on average.")] = 2.0,
) -> None:
    """Disturb everything and compare what happened with what was recorded; exit code 1 where they differ."""
    known = FAULTS | (CLUSTER_FAULTS if brokers > 1 else {})
    chosen = {name.strip(): known.get(name.strip()) for name in faults.split(",") if name.strip()} or dict(known)
    wrong = [name for name, fault in chosen.items() if fault is None]
    if wrong:
        typer.echo(f"there is no fault {wrong[0]}; there are {', '.join(known)}")
        raise typer.Exit(2)
    picked = {name: fault for name, fault in chosen.items() if fault is not None}
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    left = 60 * minutes
    with ExitStack() as stack:
        ground = Ground.prepare(stack, brokers=brokers, own_mysql=own_mysql)
        while left > 0:
            seconds = min(_TRIAL_SECONDS, left)
            left -= seconds
            typer.echo(f"seed {seed}: {rate:.0f} transactions/s, {customers:,} customers, {', '.join(picked)}")
            load = Load(rate, customers, appliers, dialler, moves=not net, net=net)
            with Trial(ground, _FOLDER, seed, load, typer.echo, cluster_settings(brokers)) as trial:
                problems = _play(trial, picked, seconds, pause)
            for problem in problems:
                typer.echo(problem)
            if problems:
                typer.echo(f"wrong with seed {seed}; logs and journals are below {trial.pipeline.folder}")
                sys.exit(1)
            typer.echo(f"seed {seed}: right")
            shutil.rmtree(trial.pipeline.folder)
            seed += 1


def _play(trial: Trial, faults: Mapping[str, Fault], seconds: float, pause: float) -> list[str]:
    try:
        trial.prepare()
        trial.storm(faults, seconds, pause)
        return trial.judge()
    except (ProcessFailed, CompanyFailed, NotDrained, NotFenced) as error:
        return [str(error)]


def cluster_settings(brokers: int) -> dict[str, str]:
    """What the pipeline is told of a cluster."""
    return {"TOPIC_REPLICATION_FACTOR": "3"} if brokers > 1 else {}


if __name__ == "__main__":
    app()
