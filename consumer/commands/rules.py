"""`consumer rules`: what the business means by its words; shown, checked, tried and put in force."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from consumer.ending import FAILED, leave, wrong
from consumer.stopping import Stop

if TYPE_CHECKING:
    from consumer.commands.adoption import AdoptionCounts, Tried
    from consumer.leads.rule_file import RuleFile
    from consumer.store.rules import Adopted

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
STDIN: Final = Path("-")
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A file of rules (TOML), as `rules show` prints it; - is standard input.")
]

app = typer.Typer(
    no_args_is_help=True,
    help="What the business means by unsigned, outstanding, closed, settled and never.",
    epilog="Example: consumer rules show > rules.toml, edit it, then consumer rules try rules.toml",
)


@app.command(epilog="Example: consumer rules show > rules.toml")
def show(as_json: AsJson = False) -> None:
    """Print the rules in force as a file, with their version, and who adopted them and when."""
    from consumer.commands.adoption import session
    from consumer.settings import DatabaseSettings, load
    from consumer.store.rules import newest

    with session(load(DatabaseSettings).conninfo) as connection:
        held = newest(connection)
    if as_json:
        typer.echo(json.dumps(_plain(held), indent=2))
    else:
        typer.echo("\n".join([*_heading(held), "", held.file.as_toml()]), nl=False)


@app.command(epilog="Example: consumer rules check rules.toml")
def check(file: File, as_json: AsJson = False) -> None:
    """Say whether a file can be adopted, and everything that is wrong with it; asks no server."""
    from consumer.leads.rule_file import RuleFileError, parse

    problems: list[str] = []
    fingerprint = None
    try:
        fingerprint = parse(_text(file)).fingerprint
    except RuleFileError as error:
        problems = error.problems
    if as_json:
        typer.echo(json.dumps({"fits": not problems, "fingerprint": fingerprint, "problems": problems}, indent=2))
    elif not problems:
        typer.echo(f"{_name(file)} can be adopted; fingerprint {fingerprint}")
    else:
        _report(file, problems)
    if problems:
        raise typer.Exit(FAILED)


@app.command("try", epilog="Example: consumer rules try rules.toml --json")
def try_file(file: File, as_json: AsJson = False) -> None:
    """Say who would move from which queue to which if a file were adopted; writes nothing."""
    from consumer.commands.adoption import try_out
    from consumer.mysql.comparing import ask
    from consumer.progress import progress_for
    from consumer.settings import DatabaseSettings, DiscoverySettings, ReplicaSettings, load

    rules = read_file(file)
    comparisons = ask(load(ReplicaSettings), rules)
    shadow = load(DiscoverySettings).shadow_mode
    with progress_for("try") as progress:
        tried = try_out(load(DatabaseSettings).conninfo, rules, comparisons, progress, shadow=shadow)
    if as_json:
        typer.echo(json.dumps(_plain_trial(tried), indent=2))
    else:
        typer.echo("\n".join(_sentences(tried)))


@app.command(epilog="Example: consumer rules adopt rules.toml, or after an interruption consumer rules adopt --resume")
def adopt(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A file of rules (TOML), - for standard input; `rules try FILE` says what it does."
        ),
    ] = None,
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the rules in force where adopting them was interrupted.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who adopts them, for the record; else user and host.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put a file of rules in force and bring every customer to them, without a conversion; resumable."""
    from consumer.commands.adoption import Adoption, NotAdopted
    from consumer.mysql.comparing import ask
    from consumer.progress import progress_for
    from consumer.settings import DatabaseSettings, DiscoverySettings, ReplicaSettings, load

    if (file is None) is not resume:
        wrong("name a file to adopt, or go on with --resume, not both")
    rules = None if file is None else read_file(file)
    discovery, database = load(DiscoverySettings), load(DatabaseSettings)
    if not discovery.smart_discovery_enabled:
        raise NotAdopted("SMART_DISCOVERY_ENABLED is false, so nothing is written; set it to true and try again")
    with Stop() as stop, progress_for("adopt") as progress:
        adoption = Adoption(database.conninfo, shadow=discovery.shadow_mode, stop=stop.event)
        if rules is None:
            tally, ended = adoption.resume(progress)
        else:
            comparisons = ask(load(ReplicaSettings), rules)
            tally, ended = adoption.adopt(rules, comparisons, by or _whoever(), progress)
    if as_json:
        counts = {} if tally is None else tally.as_counts()
        typer.echo(json.dumps({"adopted": tally is not None, "done": ended, **counts}, indent=2))
    else:
        typer.echo(_what_was_done(tally, ended=ended))
    leave(stop, failed=tally is not None and tally.refused > 0)


def _heading(held: Adopted) -> list[str]:
    adopted = held.adopted_at.astimezone(UTC)
    lines = [
        f"# version {held.version}, fingerprint {held.fingerprint}",
        f"# adopted by {' '.join(held.adopted_by.split())} at {adopted:%Y-%m-%d %H:%M:%S} UTC",
    ]
    if held.rejudged_at is None:
        lines.append("# not every customer was brought to them yet: run `consumer rules adopt --resume`")
    lines += [f"# {name} compares as {found.collation}" for name, found in sorted(held.comparisons.items())]
    return lines


def _plain(held: Adopted) -> dict[str, Any]:
    return {
        "version": held.version,
        "fingerprint": held.fingerprint,
        "adopted_by": held.adopted_by,
        "adopted_at": held.adopted_at.astimezone(UTC).isoformat(),
        "rejudged_at": None if held.rejudged_at is None else held.rejudged_at.astimezone(UTC).isoformat(),
        "collations": {name: found.collation for name, found in sorted(held.comparisons.items())},
        "rules": held.file.as_json(),
    }


def _plain_trial(tried: Tried) -> dict[str, Any]:
    return {
        "leads": tried.leads,
        "concerned": tried.concerned,
        "waiting": tried.waiting,
        "moves": [
            {"from": move.left, "to": move.queue_type, "rule": move.rule, "count": count,
             "examples": tried.examples[move]}
            for move, count in tried.moves.most_common()
        ],
        "labels": {name: {"from": old, "to": new} for name, (old, new) in tried.relabelled.items()},
        "never": {"count": tried.never, "examples": tried.never_examples},
    }  # fmt: skip


def _sentences(tried: Tried) -> list[str]:
    sentences = [
        f"{count:,} {_customers(count)} would move from {move.left} to {move.queue_type} ({move.rule}):"
        f" {_some(tried.examples[move], count)}"
        for move, count in tried.moves.most_common()
    ]
    sentences.append(f"{tried.leads - tried.moves.total():,} of {tried.leads:,} customers would stay where they are.")
    if tried.waiting:
        sentences.append(f"{tried.waiting:,} of those counted wait for the stream, and are judged when it has passed.")
    sentences += [
        f"{queue_type} would be {_label(new)} instead of {_label(old)} in the call centre's tables."
        for queue_type, (old, new) in tried.relabelled.items()
    ]
    if tried.never:
        sentences.append(
            f"{tried.never:,} {_customers(tried.never)} would leave their queue because they must not be called:"
            f" {_some(tried.never_examples, tried.never)}"
        )
    return sentences


def _what_was_done(tally: AdoptionCounts | None, *, ended: bool) -> str:
    if tally is None:
        return "these rules are in force already, and every customer was brought to them; nothing changed"
    done = (
        f"version {tally.version} of the rules is in force; {tally.rejudged:,} customers were judged anew and"
        f" {tally.moved:,} of them moved"
    )
    if tally.relabelled:
        done += f"; {tally.relabelled:,} rows of user_call_scores have new labels"
    if tally.left_for_never:
        done += f"; {tally.left_for_never:,} customers left their queue because they must not be called"
    if tally.refused:
        done += f"; {tally.refused:,} were refused by PostgreSQL and are left to rechecks"
    return done if ended else f"{done}; stopped before the last one: run `consumer rules adopt --resume`"


def _customers(count: int) -> str:
    return "customer" if count == 1 else "customers"


def _some(examples: list[int], count: int) -> str:
    more = f" and {count - len(examples):,} more" if count > len(examples) else ""
    return f"{', '.join(map(str, examples))}{more}"


def _label(label: str | None) -> str:
    return "NULL" if label is None else f'"{label}"'


def read_file(file: Path) -> RuleFile:
    """The rules in a file. Ends the command where it cannot be read, or what is wrong in it is printed."""
    from consumer.leads.rule_file import RuleFileError, parse

    try:
        return parse(_text(file))
    except RuleFileError as error:
        _report(file, error.problems)
        raise typer.Exit(FAILED) from None


def _text(file: Path) -> str:
    name = _name(file)
    try:
        return (sys.stdin.buffer.read() if file == STDIN else file.read_bytes()).decode()
    except OSError as error:
        wrong(f"{name} cannot be read ({error.strerror}); name a file of rules, such as `consumer rules show` prints")
    except UnicodeDecodeError as error:
        wrong(f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8, as TOML demands")


def _name(file: Path) -> str:
    return "standard input" if file == STDIN else str(file)


def _report(file: Path, problems: list[str]) -> None:
    for problem in problems:
        typer.echo(f"{_name(file)}: {problem}", err=True)


def _whoever() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = f"uid {os.getuid()}"
    return f"{user} on {socket.gethostname()}"
