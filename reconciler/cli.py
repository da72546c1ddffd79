"""`reconciler run | backfill | verify | age`: the safety net from a shell or a cron job.

Exit codes: 0 done, also when SIGTERM ended it in good order; 1 something failed; 2 wrong usage or settings; 130 Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import structlog
import typer
from rich.console import Console

from consumer.leads.rules import Rules
from consumer.logs import configure
from consumer.settings import (
    DatabaseSettings,
    DiscoverySettings,
    ReplicaSettings,
    RuleSettings,
    RunSettings,
    SettingsError,
    load,
)
from consumer.stopping import Stop
from consumer.store.errors import StoreError
from consumer.store.leads import LeadStore
from reconciler.aging import age as age_scores
from reconciler.backfill import Backfill
from reconciler.book import Book, microseconds
from reconciler.lanes import LaneWatch, Stopped
from reconciler.recheck import Mender
from reconciler.replica import Replica, ReplicaError
from reconciler.report import LineProgress, TerminalProgress, as_json, show
from reconciler.runs import AlreadyRunning, Runs
from reconciler.settings import SWEEPS, AgingSettings, SweepSettings
from reconciler.sweeps import RECHECKS, Report, Scope, Sweeper, SweepPlan
from reconciler.verify import Verification

log = structlog.get_logger(__name__)

app = typer.Typer(
    help="The safety net: sweeps, backfill, verify and ageing, through the same ledger as the stream.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

NAMES = (*SWEEPS, RECHECKS)
PAPER = 120
"""Characters in a line where the report does not go to a terminal."""
JSON = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


@dataclass(frozen=True)
class Tools:
    """What every command needs, opened when first used."""

    replica: Replica
    store: LeadStore
    book: Book
    runs: Runs
    rules: Rules
    discovery: DiscoverySettings
    stop: Stop

    def second_session(self) -> Replica:
        """Another session on the replica, for work beside the first one."""
        return Replica(self.replica.address, self.replica.query_seconds, stop=self.stop.event)

    def rest(self) -> None:
        """Ends the sessions with PostgreSQL, which are opened again when needed."""
        self.store.close()
        self.book.close()

    def mender(self, settings: SweepSettings, *, dry_run: bool) -> Mender:
        """What compares and mends."""
        watch = LaneWatch(
            self.book.lanes, self.discovery.recheck_wait_seconds, settings.patience_seconds, self.stop.event
        )
        return Mender(
            self.replica,
            self.store,
            self.book,
            watch,
            self.rules,
            stop=self.stop.event,
            batch_size=self.discovery.discovery_batch_size,
            dry_run=dry_run,
        )


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help=f"{', '.join(NAMES)}, or all.")],
    *,
    since: Annotated[
        str | None, typer.Option(help="Begin of the window, ISO 8601 (UTC where no zone is named).")
    ] = None,
    hours_back: Annotated[float | None, typer.Option(min=0.0, help="Begin of the window, in hours before now.")] = None,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="Conversion sweeps: not only leads called lately.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Find and confirm drift, but write nothing.")] = False,
    interval: Annotated[float | None, typer.Option(min=0.1, help="Repeat every so many seconds until stopped.")] = None,
    as_json_: JSON = False,
) -> None:
    """Runs sweeps: compares users with MySQL, confirms what differs, and mends it through the ledger."""
    scope = Scope(_since(since), hours_back, everyone)
    if scope.since is not None and hours_back is not None:
        _wrong("--since and --hours-back exclude each other; give one of them")
    settings = load(SweepSettings)
    chosen = _chosen(names, settings)
    with _tools() as tools:
        plan = SweepPlan(
            settings.window_overlap_seconds, tools.discovery.recent_activity_hours, tools.discovery.shadow_mode
        )
        mender = tools.mender(settings, dry_run=dry_run)
        sweeper = Sweeper(tools.replica, tools.book, tools.runs, mender, plan)
        while True:
            reports = _sweep_all(sweeper, chosen, scope, tools.stop)
            _print(reports, as_json_)
            if interval is not None and not tools.stop:
                tools.rest()
                tools.stop.wait(interval)
            if interval is None or tools.stop:
                break
        failed = any(report.outcome == "failed" for report in reports) or len(reports) < len(chosen)
    _leave(tools.stop, failed=failed and interval is None)


def _sweep_all(sweeper: Sweeper, names: Sequence[str], scope: Scope, stop: Stop) -> list[Report]:
    reports = []
    for name in names:
        if stop:
            break
        try:
            reports.append(sweeper.run(name, scope))
        except (AlreadyRunning, StoreError, ReplicaError) as error:
            _say(str(error))
    return reports


@app.command()
def backfill(
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin at the first user, not where the last one ended.")
    ] = False,
    as_json_: JSON = False,
) -> None:
    """Gives every user of MySQL that is unknown here a first stint; no conversions, resumable, beside the stream."""
    settings = load(SweepSettings)
    console = Console(stderr=True)
    with _tools() as tools:
        progress = TerminalProgress(console, "backfill") if console.is_terminal else LineProgress("backfill")
        filling = Backfill(
            tools.replica,
            tools.store,
            tools.book,
            tools.runs,
            tools.rules,
            batch_size=settings.backfill_batch_size,
            stop=tools.stop.event,
        )
        try:
            report = filling.run(progress, restart=restart)
        finally:
            progress.close()
        _print([report], as_json_)
    _leave(tools.stop, failed=report.outcome == "failed")


@app.command()
def verify(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what differs, not only report it.")] = False,
    sample: Annotated[int | None, typer.Option(min=1, help="Compare only so many users, chosen by chance.")] = None,
    as_json_: JSON = False,
) -> None:
    """Compares every user between MySQL and PostgreSQL; exit code 1 where drift was found and is not mended."""
    settings = load(SweepSettings)
    console = Console(stderr=True)
    with _tools() as tools, closing(tools.second_session()) as condenser:
        progress = TerminalProgress(console, "verify") if console.is_terminal else LineProgress("verify")
        mender = tools.mender(settings, dry_run=not repair)
        verification = Verification(
            mender, condenser, tools.runs, tools.rules, stop=tools.stop.event, shadow=tools.discovery.shadow_mode
        )
        try:
            report = verification.run(progress, sample=sample)
        finally:
            progress.close()
        _print([report], as_json_)
    tally = report.tally
    drift_left = report.outcome in ("drift", "failed") or bool(tally.left or tally.failed)
    _leave(tools.stop, failed=drift_left)


@app.command()
def age() -> None:
    """Adds 1 to every active score below the ceiling; does nothing when that was done today."""
    settings = load(AgingSettings)
    with _tools() as tools:
        if tools.discovery.shadow_mode:
            typer.echo("SHADOW_MODE is on: scores are the call centre's and stay as they are")
            return
        aged = age_scores(tools.book, tools.runs, settings, datetime.now(UTC))
    typer.echo("nothing to age today" if aged is None else f"{aged:,} scores aged by one")


@contextmanager
def _tools() -> Iterator[Tools]:
    configure(load(RunSettings))
    discovery = load(DiscoverySettings)
    if not discovery.smart_discovery_enabled:
        typer.echo("SMART_DISCOVERY_ENABLED is false: nothing was done")
        raise typer.Exit(0)
    replica_settings, database, words = load(ReplicaSettings), load(DatabaseSettings), load(RuleSettings)
    rules = Rules(words.closed_claim_statuses, words.settled_requirement_statuses, words.excluded_requirement_types)
    with Stop() as stop:
        replica = Replica(replica_settings.address, replica_settings.replica_query_seconds, stop=stop.event)
        book = Book(database.conninfo)
        try:
            with LeadStore(database.conninfo, book.lane_count(), discovery.shadow_mode, "sweep") as store:
                yield Tools(replica, store, book, Runs(book), rules, discovery, stop)
        finally:
            book.close()
            replica.close()


def _chosen(names: Sequence[str], settings: SweepSettings) -> list[str]:
    if names == ["all"]:
        return [name for name in SWEEPS if name in settings.sweeps] or [RECHECKS]
    for name in names:
        if name not in NAMES:
            _wrong(f"there is no run {name!r}; there are {', '.join(NAMES)}, or all alone")
    for name in names:
        if name in SWEEPS and name not in settings.sweeps:
            _say(f"{name} is switched off; name it in SWEEPS to switch it on")
    return [name for name in names if name == RECHECKS or name in settings.sweeps]


def _since(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        _wrong(f"--since {text} is no time; write it as 2026-03-01T14:00:00Z")
    return microseconds(time if time.tzinfo else time.replace(tzinfo=UTC))


def _print(reports: Sequence[Report], as_json_: bool) -> None:
    if as_json_:
        typer.echo(as_json(reports))
    elif reports:
        show(Console() if sys.stdout.isatty() else Console(width=PAPER), reports)


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _wrong(sentence: str) -> NoReturn:
    _say(sentence)
    raise typer.Exit(2)


def _leave(stop: Stop, *, failed: bool) -> None:
    if stop.by == signal.SIGINT:
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """The console script."""
    try:
        app()
    except SettingsError as error:
        _say(str(error))
        sys.exit(2)
    except (StoreError, ReplicaError, AlreadyRunning) as error:
        _say(str(error))
        sys.exit(1)
    except Stopped:
        sys.exit(0)
