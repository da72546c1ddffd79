"""`reconciler run | backfill | verify | age | serve`: the safety net from a shell or a cron job.

Exit codes: 0 done, also when SIGTERM ended it in good order; 1 something failed, PostgreSQL refused leads, or a verify
cannot say that all is in step; 2 wrong usage or settings; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.ending import FAILED, WRONG_SETTINGS, begin, fail, leave, paper, report, wrong
from consumer.ending import run as run_app
from consumer.stopping import Stop
from reconciler.names import ATTRIBUTION, RECHECKS, STARTABLE, SWEEPS

if TYPE_CHECKING:
    from reconciler.runs.sessions import Tools
    from reconciler.runs.sweeps import Report, Sweeper, SweepScope
    from reconciler.settings import SweepSettings

app = typer.Typer(
    help="The safety net: sweeps, backfill, verify and aging, through the same ledger as the stream.",
    epilog="Example: reconciler verify",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.callback()(begin)


Settle = Annotated[
    bool,
    typer.Option(
        "--settle",
        help="Give the stream up: what lanes that stand still have yet to bring counts as lost, and history is written"
        " from the present. What they bring later is skipped.",
    ),
]
SINCE = (
    "At a cut-over: also publish the conversions that were recorded in shadow mode since TIME, when the old system's"
    " last complete scan began (ISO 8601, UTC if no zone is given). Without --repair they are only reported. Those"
    " that the old system recorded too are left out: each of its rows for the same customer and type with a"
    " converted_at since TIME stands for one conversion, the earliest before it (give or take a minute between the"
    " clocks). Published conversions keep their time and id, so doing it twice adds nothing."
)
JSON = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


@app.command(epilog="Example: reconciler run new-users --hours-back 24 --dry-run")
def run(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help=f"{', '.join(STARTABLE)}, or all.")],
    *,
    since: Annotated[str | None, typer.Option(help="Start of the window, ISO 8601 (UTC if no zone is given).")] = None,
    hours_back: Annotated[
        float | None, typer.Option(min=0.0, max=876_000.0, help="Start of the window, in hours before now.")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="Conversion sweeps: all of the queue, not only those called lately.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Find and confirm drift, but write nothing.")] = False,
    settle: Settle = False,
    interval: Annotated[
        float | None, typer.Option(min=0.1, max=604_800.0, help="Repeat after this many seconds, until stopped.")
    ] = None,
    as_json_: JSON = False,
) -> None:
    """Run sweeps: compare customers with MySQL, confirm what differs, and repair it through the ledger."""
    from consumer.settings import load
    from reconciler.runs.sweeps import SweepScope
    from reconciler.settings import SweepSettings

    scope = SweepScope(_since(since), hours_back, everyone)
    if scope.since is not None and hours_back is not None:
        wrong("--since and --hours-back exclude each other; give one of them")
    settings = load(SweepSettings)
    chosen = _chosen(names, settings)
    with _tools() as (tools, stop):
        sweeper = tools.sweeper(dry_run=dry_run, gives_up=settle)
        while True:
            reports = _sweep_all(sweeper, chosen, scope, stop)
            _print(reports, as_json_)
            if interval is not None and not stop:
                tools.rest()
                stop.wait(interval)
            if interval is None or stop:
                break
        failed = any(one.has_failed for one in reports) or (not stop and len(reports) < len(chosen))
    leave(stop, failed=failed and interval is None)


def _sweep_all(sweeper: Sweeper, names: Sequence[str], scope: SweepScope, stop: Stop) -> list[Report]:
    from consumer.mysql.errors import SourceError
    from consumer.store.errors import StoreError
    from reconciler.runs.run_log import AlreadyRunning, LanesChanged

    reports = []
    for name in names:
        if stop:
            break
        try:
            reports.append(sweeper.run(name, scope))
        except LanesChanged:
            raise  # as what applies ends: whoever starts this again has the new number
        except (AlreadyRunning, StoreError, SourceError) as error:
            report(error)
    return reports


@app.command(epilog="Example: reconciler backfill")
def backfill(
    restart: Annotated[
        bool, typer.Option("--restart", help="Start at the first user, not where the last one ended.")
    ] = False,
    as_json_: JSON = False,
) -> None:
    """Give every customer who is not known yet a first stint; records no conversions, and can be resumed."""
    from consumer.progress import progress_for

    with _tools() as (tools, stop), tools.backfill() as filling:
        with progress_for("backfill") as progress:
            done = filling.run(progress, restart=restart)
        _print([done], as_json_)
    leave(stop, failed=done.has_failed)


@app.command(epilog="Example: reconciler verify --sample 1000, then reconciler verify --repair")
def verify(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what differs instead of only reporting it.")] = False,
    settle: Settle = False,
    sample: Annotated[int | None, typer.Option(min=1, help="Compare only this many users, chosen at random.")] = None,
    conversions_since: Annotated[str | None, typer.Option(metavar="TIME", help=SINCE)] = None,
    as_json_: JSON = False,
) -> None:
    """Compare every customer, entry and conversion; exit code 1 if drift is left or not all were compared."""
    from consumer.progress import progress_for

    since = _since(conversions_since, "--conversions-since")
    if since is not None and sample is not None:
        wrong("--conversions-since and --sample exclude each other, because a sample compares no conversions")
    with _tools() as (tools, stop), tools.verification(repair=repair, gives_up=settle) as verification:
        if since is not None and tools.discovery.shadow_mode:
            wrong("SHADOW_MODE is on, so no conversion is published; set it to false first")
        with progress_for("verify") as progress:
            done = verification.run(progress, sample=sample, conversions_since=since)
        _print([done], as_json_)
    in_doubt = done.outcome != "ok" or done.has_failed or bool(done.tally.left_to_recheck)
    leave(stop, failed=in_doubt)


@app.command(epilog="Example: reconciler recheck 8911")
def recheck(
    users: Annotated[list[int], typer.Argument(metavar="ID…", min=-(2**63), max=2**63 - 1, help="Customers' ids.")],
    as_json_: JSON = False,
) -> None:
    """Read these customers live, process all other rechecks that are due, and repair what differs."""
    from consumer.store.conflicts import again_if_in_the_way
    from consumer.store.leads import ASKED_FOR_BY
    from reconciler.runs.repair import ask_for_rechecks
    from reconciler.runs.run_log import AlreadyRunning
    from reconciler.runs.sweeps import SweepScope

    with _tools() as (tools, stop):
        again_if_in_the_way(ask_for_rechecks, tools.store, users, f"{ASKED_FOR_BY}reconciler recheck")
        try:
            done = tools.sweeper(dry_run=False).run(RECHECKS, SweepScope())
        except AlreadyRunning as error:
            typer.echo(f"queued; {error}", err=True)
            return
        _print([done], as_json_)
    leave(stop, failed=done.has_failed)


@app.command(epilog="Example: AGING_TIMEZONE=Europe/London reconciler age")
def age() -> None:
    """Add 1 to every active score below the ceiling, for today and each missed day; never twice for a day."""
    from consumer.settings import DatabaseSettings, DiscoverySettings, ReplicaSettings, demand, load
    from consumer.store.errors import StoreError
    from reconciler.runs.aging import age as age_scores
    from reconciler.settings import AgingSettings, SweepSettings

    demand(ReplicaSettings, DatabaseSettings, DiscoverySettings, SweepSettings, AgingSettings)
    settings = load(AgingSettings)
    with _tools() as (tools, stop):
        ours = not tools.discovery.shadow_mode
        aged = age_scores(tools.postgres, tools.runs, settings, datetime.now(UTC), ours=ours)
    if not ours:
        typer.echo("SHADOW_MODE is on: scores stay as they are, and days up to today are noted as the old system's")
        return
    for day, scores in aged.items():
        typer.echo(f"{scores.grown:,} scores aged by one for {day}")
    if not aged:
        typer.echo("nothing to age today")
    refused = sum(scores.refused for scores in aged.values())
    if refused:
        report(StoreError(f"PostgreSQL refused {refused:,} scores, which stay as they are; the log says why"))
    leave(stop, failed=bool(refused))


@app.command(name=ATTRIBUTION, epilog="Example: reconciler attribution")
def attribution() -> None:
    """Record whose calls earned each conversion, unless it is recorded; `attribution` in the rules says which count."""
    from consumer.store.errors import StoreError
    from reconciler.runs.attribution import attribute

    with _tools() as (tools, stop):
        if tools.discovery.shadow_mode:
            typer.echo("SHADOW_MODE is on: conversions are the call centre's and stay as they are")
            return
        done = attribute(tools.postgres, tools.runs, stop.event)
    if isinstance(done, str):
        typer.echo(done)
        return
    typer.echo(f"{done.filled:,} of {done.looked_at:,} conversions were given their agents")
    if done.locked:
        typer.echo(f"{done.locked:,} are held by somebody else and left for the next run")
    if done.refused:
        report(StoreError(f"PostgreSQL refused {done.refused:,} of them; the log says why"))
    leave(stop, failed=bool(done.refused))


@app.command(epilog="Example: HTTP_PORT=8080 reconciler serve, then look at http://127.0.0.1:8080/")
def serve() -> None:
    """Run the schedule and answer HTTP (status page, API with pre-call checks, metrics) until stopped."""
    from consumer.settings import DatabaseSettings, DeadLetterSettings, DiscoverySettings, ReplicaSettings, demand, load
    from consumer.store.connection import cut_when_stopped
    from reconciler.runs.sessions import load_settings
    from reconciler.serve import serve as serve_forever
    from reconciler.settings import AgingSettings, ServeSettings, StreamSettings, SweepSettings

    demand(
        ReplicaSettings, DatabaseSettings, DiscoverySettings, SweepSettings, AgingSettings, ServeSettings,
        StreamSettings, DeadLetterSettings,
    )  # fmt: skip
    with Stop() as stop, cut_when_stopped(stop.event):
        failed = serve_forever(load_settings(), load(ServeSettings), load(AgingSettings), stop)
    leave(stop, failed=failed)


@app.command("settings", epilog="Example: reconciler settings --json")
def show_settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Settings of the reconciler as they apply here, and where each is from; secrets are masked."""
    from consumer.commands import settings
    from consumer.settings import DatabaseSettings, DeadLetterSettings, DiscoverySettings, ReplicaSettings, RunSettings
    from reconciler.settings import AgingSettings, ServeSettings, StreamSettings, SweepSettings

    kinds = (
        ReplicaSettings, DatabaseSettings, StreamSettings, DiscoverySettings, SweepSettings, AgingSettings,
        ServeSettings, DeadLetterSettings, RunSettings,
    )  # fmt: skip
    settings.show(kinds, as_json=as_json)


@contextmanager
def _tools() -> Iterator[tuple[Tools, Stop]]:
    from consumer.mysql.errors import SourceError
    from consumer.store.connection import cut_when_stopped
    from consumer.store.errors import StoreError
    from reconciler.runs.sessions import load_settings, open_tools

    settings = load_settings()
    if not settings.discovery.smart_discovery_enabled:
        typer.echo("SMART_DISCOVERY_ENABLED is false: nothing was done")
        raise typer.Exit(0)
    with Stop() as stop, cut_when_stopped(stop.event):
        try:
            with open_tools(settings, stop.event) as tools:
                yield tools, stop
        except (StoreError, SourceError):
            leave(stop)
            raise


def _chosen(names: Sequence[str], settings: SweepSettings) -> list[str]:
    if names == ["all"]:
        return [name for name in SWEEPS if name in settings.sweeps] or [RECHECKS]
    for name in names:
        if name not in STARTABLE:
            wrong(f"there is no run {name!r}; there are {', '.join(STARTABLE)}, or all alone")
    for name in names:
        if name in SWEEPS and name not in settings.sweeps:
            typer.echo(f"{name} is switched off; name it in SWEEPS to switch it on", err=True)
    return [name for name in names if name == RECHECKS or name in settings.sweeps]


def _since(text: str | None, option: str = "--since") -> int | None:
    if text is None:
        return None
    from reconciler.postgres import microseconds

    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        wrong(f"{option} {text} is no time; write it as 2026-03-01T14:00:00Z")
    return microseconds(time if time.tzinfo else time.replace(tzinfo=UTC))


def _print(reports: Sequence[Report], as_json_: bool) -> None:
    from reconciler.runs.report import as_json, show

    if as_json_:
        typer.echo(as_json(reports))
    elif reports:
        show(paper(120), reports)


def main() -> None:
    """The console script."""
    sys.exit(run_app(app, _code_of))


def _code_of(error: Exception) -> int | None:
    """The exit code of a command that failed, after its sentence was reported; None for an error of our own making."""
    import psycopg

    from consumer.mysql.errors import SourceError
    from consumer.settings import SettingsError
    from consumer.store.errors import StoreError
    from consumer.store.refusal import reason_of
    from reconciler.runs.run_log import AlreadyRunning
    from reconciler.runs.wait_for_stream import Stopped

    if isinstance(error, SettingsError):
        return fail(error, WRONG_SETTINGS)
    if isinstance(error, StoreError | SourceError | AlreadyRunning | OSError):
        return fail(error, FAILED)
    if isinstance(error, psycopg.Error):
        return fail(StoreError(reason_of(error)), FAILED)
    return 0 if isinstance(error, Stopped) else None
