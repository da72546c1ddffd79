"""`python -m tests.chaos --minutes 60`: a trial with random faults and outages, until the time is over."""

from __future__ import annotations

import resource
import secrets
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, get_args

import psycopg
import pymysql
import typer
from confluent_kafka import KafkaException

from tests.chaos.faults import CLUSTER_FAULTS, FAULTS, OUTAGES, Fault, NotFenced
from tests.chaos.outage import Outage, Part
from tests.chaos.trial import Ground, Load, Trial
from tests.demo.company import CompanyFailed
from tests.support.processes import ProcessFailed
from tests.support.waiting import NeverCame

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_FOLDER: Final = Path(".demo")
_SHORTEST_SECONDS: Final = 30.0
_OUTAGE_CUSTOMERS: Final = 2000
_OUTAGE_ROUNDS: Final = 3
_OUTAGE_TRANSACTIONS: Final = 600
_INTERRUPTED: Final = 130
_FAILURES: Final = (
    ProcessFailed, CompanyFailed, NeverCame, NotFenced,
    psycopg.Error, pymysql.MySQLError, KafkaException, TimeoutError, ConnectionError,
)  # fmt: skip


@dataclass
class Sum:
    """What all trials that were right come to."""

    trials: int = 0
    transactions: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def tell(self) -> None:
        """Says so, and what memory this process took at most; its servers and the pipeline's processes apart."""
        kinds = "".join(f"; {name} {count}" for name, count in sorted(self.faults.items()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        typer.echo(f"{self.trials} trials right, {self.transactions:,} transactions{kinds}; {peak} MB at most")


@app.command()
def main(
    *,
    minutes: Annotated[float, typer.Option(help="How long it goes on.")] = 10.0,
    seed: Annotated[int | None, typer.Option(help="What the first trial does follows from it; else by chance.")] = None,
    faults: Annotated[str, typer.Option(help=f"Only these, with commas between: {', '.join(FAULTS)}")] = "",
    rate: Annotated[float, typer.Option(help="Transactions a second.")] = 1000.0,
    customers: Annotated[int, typer.Option(help="Customers at the beginning of a trial.")] = 20_000,
    appliers: Annotated[int, typer.Option(help="Appliers at the beginning of a trial.")] = 3,
    brokers: Annotated[int, typer.Option(help="Kafka brokers: 1, or 3 with replication factor 3.")] = 1,
    dialler: Annotated[bool, typer.Option(help="Whether a dialler works beside us.")] = True,
    net: Annotated[bool, typer.Option(help="Whether sweeps, backfill, verify and checks run all the time.")] = True,
    pieces: Annotated[int, typer.Option(help="Trials one after the other, each with an equal part of the time.")] = 1,
    outages: Annotated[bool, typer.Option(help="Whether each part is also away for minutes, once a trial.")] = True,
    mariadb: Annotated[bool, typer.Option(help="MariaDB in place of MySQL.")] = False,
    own_mysql: Annotated[bool, typer.Option(help="A MySQL of our own, which is restarted too.")] = True,
    pause: Annotated[float, typer.Option(help="Seconds between faults, on average.")] = 2.0,
    alone: Annotated[bool, typer.Option(help="Outages alone instead, and what agents see meanwhile compared.")] = False,
) -> None:
    """Disturb everything and compare what happened with what was recorded.

    Exit code 0 where everything is right, 1 where something is not, 130 after Ctrl-C or SIGTERM.
    """
    known = FAULTS | (CLUSTER_FAULTS if brokers > 1 else {})
    chosen = {name.strip(): known.get(name.strip()) for name in faults.split(",") if name.strip()} or dict(known)
    wrong = [name for name, fault in chosen.items() if fault is None]
    if wrong:
        typer.echo(f"there is no fault {wrong[0]}; there are {', '.join(known)}")
        raise typer.Exit(2)
    picked = {name: fault for name, fault in chosen.items() if fault is not None}
    load = Load(rate, customers, appliers, dialler, net)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    signal.signal(signal.SIGTERM, _interrupt)
    done = Sum()
    end = time.monotonic() + 60 * minutes
    try:
        with ExitStack() as stack:
            typer.echo("starting servers")
            ground = Ground.prepare(stack, brokers=brokers, own_mysql=own_mysql, mariadb=mariadb)
            while not done.trials or time.monotonic() + _SHORTEST_SECONDS < end:
                seconds = max(_SHORTEST_SECONDS, min(60 * minutes / pieces, end - time.monotonic()))
                if alone:
                    right = _outage(ground, seed, done)
                else:
                    typer.echo(f"seed {seed}: {rate:.0f} transactions/s, {customers:,} customers, {', '.join(picked)}")
                    trial = Trial(ground, _FOLDER, seed, load, typer.echo, cluster_settings(brokers))
                    right = _storm(trial, seed, picked, seconds, pause, done, OUTAGES if outages else {})
                if not right:
                    raise typer.Exit(1)
                ground.tidy()
                seed += 1
    except KeyboardInterrupt:
        typer.echo(f"interrupted: the trial with seed {seed} was not judged")
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        done.tell()


def _storm(
    trial: Trial,
    seed: int,
    faults: Mapping[str, Fault],
    seconds: float,
    pause: float,
    done: Sum,
    outages: Mapping[str, Fault],
) -> bool:
    with trial:
        try:
            trial.prepare()
            trial.storm(faults, seconds, pause, outages)
            problems = trial.judge()
        except _FAILURES as error:
            problems = [f"not judged: {type(error).__name__}: {error}"]
    if _verdict(seed, problems, trial.pipeline.folder):
        done.trials += 1
        done.transactions += trial.company.committed
        done.faults += trial.faults
    return not problems


def _outage(ground: Ground, seed: int, done: Sum) -> bool:
    away: Part = get_args(Part)[seed % len(get_args(Part))]
    typer.echo(f"seed {seed}: an outage of {away}")
    with Outage(ground, _FOLDER, seed, away, typer.echo) as outage:
        try:
            outage.prepare(_OUTAGE_CUSTOMERS)
            problems = [problem for _ in range(_OUTAGE_ROUNDS) for problem in outage.endure(_OUTAGE_TRANSACTIONS)]
            problems += outage.recover(_OUTAGE_TRANSACTIONS)
        except _FAILURES as error:
            problems = [f"not judged: {type(error).__name__}: {error}"]
    if _verdict(seed, problems, outage.pipeline.folder):
        done.trials += 1
        done.transactions += (_OUTAGE_ROUNDS + 1) * _OUTAGE_TRANSACTIONS
        done.faults[f"outage of {away}"] += 1
    return not problems


def _verdict(seed: int, problems: list[str], folder: Path) -> bool:
    for problem in problems:
        typer.echo(problem)
    if problems:
        typer.echo(f"wrong with seed {seed}; logs of processes and transactions are below {folder}")
        return False
    typer.echo(f"seed {seed}: right")
    shutil.rmtree(folder)
    return True


def cluster_settings(brokers: int) -> dict[str, str]:
    """What the pipeline is told of a cluster."""
    return {"TOPIC_REPLICATION_FACTOR": "3"} if brokers > 1 else {}


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    app()
