"""`python -m tests.demo`: the whole pipeline behind a simulated company, and a check that nothing was lost."""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import psycopg
import pymysql
import typer
from confluent_kafka import KafkaException
from rich.console import Console

from tests.demo.company import CompanyFailed
from tests.demo.company_schema import SHAPES
from tests.demo.demo import Demo, Options, parse_kills
from tests.demo.pipeline import Addresses
from tests.demo.view import LineView, LiveView
from tests.servers import ServerError, ensure
from tests.support.ports import is_free
from tests.support.processes import ProcessFailed
from tests.support.waiting import NeverCame

_FOLDER = Path(".demo")
PORT = 8080
"""Of the status page, unless somebody else listens there."""


def main(
    *,
    server: Annotated[str, typer.Option(envvar="DEMO_SERVER", help="mysql or mariadb.")] = "mysql",
    seconds: Annotated[
        float | None,
        typer.Option(envvar="DEMO_SECONDS", help="How long the load lasts; else 60, or until Ctrl-C on a terminal."),
    ] = None,
    rate: Annotated[float, typer.Option(envvar="DEMO_RATE", help="Transactions a second.")] = 50.0,
    seed: Annotated[int, typer.Option(envvar="DEMO_SEED", help="What happens follows from it.")] = 1,
    customers: Annotated[int, typer.Option(envvar="DEMO_CUSTOMERS", help="Customers at the beginning.")] = 2000,
    kills: Annotated[
        str, typer.Option(envvar="DEMO_KILLS", help="Processes to kill -9 at random moments: reader=5,applier=3")
    ] = "",
    shape: Annotated[str, typer.Option(envvar="DEMO_SHAPE", help="Whose tables: company, former, text…")] = "company",
    keep: Annotated[bool, typer.Option("--keep", help="Leave databases and topics for a look.")] = False,
) -> None:
    """Start the servers, a company and the pipeline; compare what happened with what was recorded."""
    console = Console()
    if server not in ("mysql", "mariadb"):
        _end(console, f"DEMO_SERVER is {server}; it should be mysql or mariadb", 2)
    if shape not in SHAPES:
        _end(console, f"DEMO_SHAPE is {shape}; it should be one of {', '.join(SHAPES)}", 2)
    try:
        chosen = parse_kills(kills)
    except ValueError as error:
        _end(console, str(error), 2)
    if seconds is None:
        seconds = math.inf if console.is_terminal else 60.0
    port = PORT if is_free(PORT) else 0
    options = Options(seconds, rate, seed, customers, chosen, keep, SHAPES[shape], port=port)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        console.print("servers: starting those that do not run yet", highlight=False)
        servers = ensure((server, "kafka", "postgres"))
        url = servers.mysql_url if server == "mysql" else servers.mariadb_url
        addresses = Addresses(url, servers.postgres_url, servers.kafka_bootstrap)
        with Demo(options, addresses, _FOLDER) as demo:
            right = _play(demo, console)
    except (ServerError, ProcessFailed, CompanyFailed, NeverCame) as error:
        _end(console, f"the demo failed: {error}", 1)
    except (psycopg.Error, pymysql.MySQLError, KafkaException) as error:
        _end(console, f"the demo failed at a server: {error}", 1)
    except KeyboardInterrupt:
        _end(console, "interrupted", 128 + signal.SIGINT)
    for problem in demo.problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    if console.is_terminal:
        console.print("the servers go on running for the next start; `make servers-stop` ends them", highlight=False)
    sys.exit(0 if right else 1)


def _play(demo: Demo, console: Console) -> bool:
    with LiveView(console) if console.is_terminal else LineView(console) as view:
        demo.prepare(view)
        demo.run(view)
        verdict = demo.finish(view)
    for line in verdict.lines():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(verdict.sentence, markup=False, highlight=False, soft_wrap=True)
    if console.is_terminal:
        with LineView(console) as plain:
            demo.linger(plain)
    return verdict.right


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # what follows is the way out, and is not to be cut short
    sys.exit(128 + number)


def _end(console: Console, sentence: str, code: int) -> NoReturn:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    typer.run(main)
