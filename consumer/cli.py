"""The command line of `consumer`, which prepares, runs and explains the streaming side.

What a command needs is imported in it: the reader runs without PostgreSQL's client, the applier without MySQL's, and
`--help` without either.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands import dead_letters, rules
from consumer.ending import FAILED, WRONG_SETTINGS, begin, fail, leave, paper, report, run
from consumer.stopping import Stop
from consumer.stream.checkpoint import Start

POSITION = re.compile(r"(.+\.\d+):(\d+)")
"""A binlog file and a position in it."""
GTIDS = re.compile(r"[0-9a-fA-F-]{36}(:\w+(-\d+)?)+|\d+-\d+-\d+")
"""One part of a GTID set of MySQL, or of MariaDB."""

WATCH_SECONDS = 2.0

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="MySQL's binlog becomes queues and conversions in PostgreSQL, each exactly once.",
    epilog="Example: consumer status",
)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(rules.app, name="rules")
app.callback()(begin)


@app.command(epilog="Example: consumer setup --from earliest")
def setup(
    start: Annotated[
        Start | None,
        typer.Option(
            "--from", show_default="now", help="Where the reader starts: at the present, or at the oldest binlog."
        ),
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Raise LANES to this number; stop all processes first.")
    ] = None,
    create_call_centre: Annotated[
        bool, typer.Option("--create-call-centre", help="Create call centre tables even if another schema has some.")
    ] = False,
    first_rules: Annotated[
        Path | None, typer.Option("--rules", help="A file of rules to start with; ignored if rules are in force.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Repair changed topics and a lost checkpoint; with --from now, start again at the present.",
        ),
    ] = False,
) -> None:
    """Prepare PostgreSQL and Kafka and record where the reader starts; running it again changes nothing."""
    from consumer.commands.raise_lanes import raise_lanes
    from consumer.commands.setup import prepare, warnings
    from consumer.doctor.quick import before_setup
    from consumer.leads.rule_file import DEFAULT
    from consumer.reader.reader import server_id
    from consumer.settings import DatabaseSettings, DiscoverySettings, KafkaSettings, ReplicaSettings, demand, load

    if repair and start is Start.EARLIEST:
        raise typer.BadParameter("--repair begins anew at the present only: what was applied would be applied again")
    demand(ReplicaSettings, DatabaseSettings, KafkaSettings, DiscoverySettings)
    replica, database, kafka, done = load(ReplicaSettings), load(DatabaseSettings), load(KafkaSettings), []
    discovery = load(DiscoverySettings)
    before_setup(replica, kafka, server_id(replica, kafka))
    if lanes is not None:
        kafka = kafka.model_copy(update={"lanes": lanes})
        done = raise_lanes(kafka, database)
    done += prepare(
        replica,
        database,
        kafka,
        discovery,
        start or Start.NOW,
        create_call_centre=create_call_centre,
        first_rules=DEFAULT if first_rules is None else rules.read_file(first_rules),
        repair=repair,
        anew=repair and start is Start.NOW,
    )
    for sentence in done:
        typer.echo(sentence)
    if not done:
        typer.echo("everything is set up already; nothing changed")
    for sentence in warnings(database, discovery):
        typer.echo(f"setup went well, but {sentence}", err=True)


@app.command(epilog="Example: consumer doctor --problems")
def doctor(
    as_json: rules.AsJson = False,
    problems: Annotated[bool, typer.Option("--problems", help="Only failures and warnings.")] = False,
) -> None:
    """Check every precondition on MySQL, Kafka and PostgreSQL; exit code 1 if one fails, 0 if some only warn."""
    from consumer.doctor import examine
    from consumer.doctor import report as page
    from consumer.doctor.check import State
    from consumer.reader.reader import server_id
    from consumer.settings import (
        ApplierSettings,
        DatabaseSettings,
        DiscoverySettings,
        KafkaSettings,
        ReplicaSettings,
        demand,
        load,
    )

    demand(ReplicaSettings, KafkaSettings, DatabaseSettings, ApplierSettings, DiscoverySettings)
    replica, kafka = load(ReplicaSettings), load(KafkaSettings)
    checks = examine.examine(
        replica,
        load(DatabaseSettings),
        kafka,
        load(ApplierSettings),
        load(DiscoverySettings),
        server_id(replica, kafka),
    )
    if as_json:
        typer.echo(json.dumps(page.as_json(checks)))
    else:
        page.show(checks, paper(), problems=problems)
    if any(check.state is State.FAILED for check in checks):
        raise typer.Exit(FAILED)


@app.command(epilog="Example: consumer read --dry-run --from binlog.000007:4")
def read(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the messages from the checkpoint on; send none.")
    ] = False,
    begin: Annotated[
        str | None, typer.Option("--from", help="With --dry-run: start at this FILE:POS or after this GTID set.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="With --dry-run: end at this FILE:POS.")] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip-event", help="Skip the unreadable event at FILE:POS; all leads are rechecked."),
    ] = None,
) -> None:
    """Follow the binlog and write every change to Kafka, until stopped."""
    import structlog

    from consumer import measures, metrics
    from consumer.binlog.position import Position, ordered_position
    from consumer.doctor.quick import before_reading
    from consumer.process import release
    from consumer.reader.reader import Reader, print_changes, server_id
    from consumer.settings import KafkaSettings, ReaderSettings, ReplicaSettings, RunSettings, demand, load

    if not dry_run and (begin or end):
        raise typer.BadParameter("--from and --to need --dry-run; without it the reader goes on from its checkpoint")
    if dry_run and skip:
        raise typer.BadParameter("--skip-event is for the reader itself; leave --dry-run away")
    skipped = frozenset(_position("--skip-event", text) for text in skip or ())
    first = last = None
    if begin:
        at = POSITION.fullmatch(begin)
        if at is None and not all(GTIDS.fullmatch(part.strip()) for part in begin.split(",")):
            raise typer.BadParameter(f"--from {begin} is neither a position like binlog.000007:4 nor a GTID set")
        first = Position("", at[1], int(at[2])) if at else Position(begin, "", 4)
    if end:
        last = ordered_position(*_position("--to", end))
    demand(ReplicaSettings, KafkaSettings, ReaderSettings)
    replica, kafka, settings, run = load(ReplicaSettings), load(KafkaSettings), load(ReaderSettings), load(RunSettings)
    with Stop() as stop:
        if dry_run:
            print_changes(replica, kafka, settings, stop, typer.echo, first, last)
        else:
            structlog.get_logger().info("process_starting", process=measures.READER, version=release())
            metrics.serve(measures.READER, run)
            before_reading(replica, kafka, server_id(replica, kafka))
            Reader(replica, kafka, settings, stop, skipped).run()
    leave(stop)


def _position(option: str, text: str) -> tuple[str, int]:
    at = POSITION.fullmatch(text)
    if at is None:
        raise typer.BadParameter(f"{option} {text} is no position in a binlog; give it as binlog.000007:4")
    return at[1], int(at[2])


@app.command(epilog="Example: METRICS_PORT=9102 consumer apply")
def apply() -> None:
    """Apply changes from Kafka to PostgreSQL, until stopped; any number of these may run."""
    import structlog

    from consumer import measures, metrics
    from consumer.applier import applier
    from consumer.doctor.quick import before_applying
    from consumer.process import release
    from consumer.settings import (
        ApplierSettings,
        DatabaseSettings,
        DiscoverySettings,
        KafkaSettings,
        RunSettings,
        demand,
        load,
    )
    from consumer.store.connection import cut_when_stopped

    demand(KafkaSettings, ApplierSettings, DatabaseSettings, DiscoverySettings)
    structlog.get_logger().info("process_starting", process=measures.APPLIER, version=release())
    metrics.serve(measures.APPLIER, load(RunSettings))
    with Stop() as stop, cut_when_stopped(stop.event):
        before_applying(load(DatabaseSettings), load(KafkaSettings), load(DiscoverySettings))
        applier.run(stop.event)
    leave(stop)


@app.command("status", epilog="Example: consumer status --watch")
def show_status(
    as_json: rules.AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Show reader and lanes: owner, next number, lag, rechecks, dead letters; exit code 1 if a server is silent."""
    from consumer.commands import status
    from consumer.settings import DatabaseSettings, KafkaSettings, demand, load

    demand(KafkaSettings, DatabaseSettings)
    kafka, database = load(KafkaSettings), load(DatabaseSettings)
    console = paper()
    while True:
        found = status.status(kafka, database)
        if watch and console.is_terminal:
            console.clear()
        if as_json:
            typer.echo(json.dumps(status.as_json(found)))
        else:
            status.show(found, console)
        for problem in found.problems:
            report(status.SilentServer(problem))
        if not watch:
            break
        time.sleep(WATCH_SECONDS)
    if found.problems:
        raise typer.Exit(FAILED)


@app.command("explain", epilog="Example: consumer explain 8911")
def explain_user(
    user_id: Annotated[int, typer.Argument(min=-(2**63), max=2**63 - 1, help="The customer's id in MySQL.")],
    as_json: rules.AsJson = False,
) -> None:
    """Explain why a customer is, or is not, in a queue: state, rule, stints, conversions, and MySQL live."""
    from consumer.commands.explain import explanation
    from consumer.settings import DatabaseSettings, ReplicaSettings, demand, load, refuse_word_lists

    demand(ReplicaSettings, DatabaseSettings)
    refuse_word_lists()
    found = explanation(user_id, load(ReplicaSettings), load(DatabaseSettings))
    if as_json:
        typer.echo(json.dumps(asdict(found), default=str))
    else:
        for sentence in found.sentences:
            typer.echo(sentence)


@app.command(epilog="Example: consumer audit --last 1h")
def audit(
    last: Annotated[str | None, typer.Option(show_default="1h", help="How far back: 90m, 1h, 2d.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Instead of --last: from this time, as 2026-11-29T14:00, in UTC.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", show_default="now", help="With --from: until this time.")] = None,
    as_json: rules.AsJson = False,
) -> None:
    """Compare the binlog, read by an independent decoder, with Kafka; exit code 3: rows differ, 4: not all was read."""
    from rich.console import Console

    from consumer.audit.audit import Times
    from consumer.audit.audit import audit as look
    from consumer.commands import audit as command
    from consumer.settings import KafkaSettings, ReaderSettings, ReplicaSettings, demand, load

    started = datetime.now(UTC)
    if (last and begin) or (end and not begin):
        raise typer.BadParameter("give --last alone, or --from and perhaps --to")
    try:
        since = command.moment(begin) if begin else started - command.span(last or "1h")
        until = command.moment(end) if end else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except OverflowError:
        raise typer.BadParameter(f"{last} reaches back beyond any time; give it as 90m, 1h or 2d") from None
    if since >= (until or started):
        raise typer.BadParameter("the stretch ends before it begins")
    demand(ReplicaSettings, KafkaSettings, ReaderSettings)
    skip_unchanged, conninfo = load(ReaderSettings).skip_unchanged_updates, command.log_of_runs()
    times = Times(command.milliseconds(since), command.milliseconds(until) if until else None)
    with (
        command.recorded_if_it_fails(started, (since, until or started), conninfo, chosen=begin is not None),
        command.progress(Console(stderr=True)) as progress,
    ):
        found = look(load(ReplicaSettings), load(KafkaSettings), times, progress, skip_unchanged=skip_unchanged)
    if as_json:
        typer.echo(json.dumps(command.as_json(found)))
    else:
        for sentence in command.sentences(found):
            typer.echo(sentence)
    if conninfo is not None:
        command.record(found, started, conninfo)
    if code := command.exit_code(found):
        raise typer.Exit(code)


@app.command("settings", epilog="Example: consumer settings --json")
def show_settings(
    as_json: rules.AsJson = False,
) -> None:
    """Settings of reader and appliers as they apply here, and where each is from; secrets are masked."""
    from consumer.commands import settings

    settings.show(as_json=as_json)


def main() -> None:
    """The console script: errors end as one sentence and an exit code (1 failed, 2 wrong settings, 130 Ctrl-C)."""
    sys.exit(run(app, _code_of))


def _code_of(error: Exception) -> int | None:
    """The exit code of a command that failed, after its sentence was reported; None for an error of our own making."""
    from confluent_kafka import KafkaError, KafkaException

    from consumer.doctor.check import Unfit
    from consumer.mysql.errors import SourceError
    from consumer.settings import SettingsError
    from consumer.store.errors import StoreError
    from consumer.stream.errors import StreamError

    if isinstance(error, SettingsError):
        return fail(error, WRONG_SETTINGS)
    if isinstance(error, SourceError | StreamError | StoreError | Unfit | OSError):
        return fail(error, FAILED)
    if isinstance(error, KafkaException):
        reason: KafkaError = error.args[0]
        if reason.code() == KafkaError._INVALID_ARG:
            sentence = f"Kafka's client refuses its settings ({reason.str()}); look at the variables KAFKA_…"
            return fail(SettingsError(sentence), WRONG_SETTINGS)
    return None
