"""`consumer dead-letters`: what could not be applied, and what to do about it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table

from consumer.ending import paper

if TYPE_CHECKING:  # the reader, which shares this program, never speaks to PostgreSQL
    from consumer.store.connection import Connection
    from consumer.store.dead_letters import Unresolved

LISTED: Final = 200
"""Dead letters shown at once where nobody asks for more."""

HIGHEST: Final = 2**63 - 1
"""No dead letter has a higher number."""

Numbers = Annotated[list[int] | None, typer.Argument(min=1, max=HIGHEST, help="Numbers as `list` shows them.")]
Every = Annotated[bool, typer.Option("--all", help="All dead letters.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=HIGHEST, help="How many to show, oldest first.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that no applier could apply.",
    epilog="Example: consumer dead-letters list",
)


@contextmanager
def _session() -> Iterator[Connection]:
    from consumer.settings import DatabaseSettings, load
    from consumer.store.connection import classified, open_session

    conninfo = load(DatabaseSettings).conninfo
    with classified(conninfo), open_session(conninfo, "leadstream dead letters") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@app.command("list", epilog="Example: consumer dead-letters list --json --limit 1000")
def list_unresolved(as_json: AsJson = False, limit: Limit = LISTED) -> None:
    """Show the dead letters that nobody has resolved, oldest first, and how many there are of each kind."""
    from consumer.store import dead_letters

    with _session() as connection:
        found = dead_letters.unresolved(connection, limit)
        counts = dead_letters.counts(connection)
    if as_json:
        typer.echo(json.dumps([_plain(letter) for letter in found], indent=2))
        return
    table = Table("number", "set aside", "reason", "user", "topic", "partition", "offset", "detail")
    for letter in found:
        table.add_row(
            str(letter.number),
            f"{letter.set_aside_at:%Y-%m-%d %H:%M:%S}Z",
            letter.reason,
            "" if letter.user_id is None else str(letter.user_id),
            letter.topic,
            str(letter.partition),
            str(letter.offset),
            letter.detail,
        )
    console = paper()
    if found:
        console.print(table)
    console.print(", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "no dead letters")
    if (more := sum(counts.values()) - len(found)) > 0:
        console.print(f"{more:,} more; --limit shows them")


@app.command(epilog="Example: consumer dead-letters show 3")
def show(number: Annotated[int, typer.Argument(min=1, max=HIGHEST, help="A number as `list` shows it.")]) -> None:
    """Show one dead letter with its original bytes: as text, or as {"base64": …} where they are not UTF-8."""
    from consumer.store import dead_letters

    with _session() as connection:
        (letter,) = dead_letters.choose(connection, [number])
        key, value = dead_letters.content(connection, number)
    typer.echo(json.dumps({**_plain(letter), "key": _readable(key), "value": _readable(value)}, indent=2))


@app.command(epilog="Example: consumer dead-letters retry --all")
def retry(numbers: Numbers = None, every: Every = False) -> None:
    """Have the leads of dead letters read live, and resolve these; those that name no lead stay."""
    from consumer.settings import DatabaseSettings, DiscoverySettings, KafkaSettings, load
    from consumer.store.leads import LeadStore

    _named_or_all(numbers, every=every)
    database, discovery = load(DatabaseSettings), load(DiscoverySettings)
    with (
        LeadStore(database.conninfo, load(KafkaSettings).lanes, discovery.shadow_mode, "sweep") as store,
        store.transaction() as tx,
    ):
        chosen = tx.retry_dead_letters(numbers)
    known = [letter for letter in chosen if letter.user_id is not None]
    leads = _many(len({letter.user_id for letter in known}), "lead")
    typer.echo(f"{_many(len(known), 'dead letter')} resolved, {leads} queued to be read live")
    if left := [letter.number for letter in chosen if letter.user_id is None]:
        typer.echo(f"name no lead: {', '.join(map(str, left))}; look at them with `show`, then `discard` them")


@app.command(epilog="Example: consumer dead-letters discard 3 4")
def discard(numbers: Numbers = None, every: Every = False) -> None:
    """Resolve dead letters without doing anything about them."""
    from consumer.store import dead_letters

    _named_or_all(numbers, every=every)
    with _session() as connection:
        chosen = dead_letters.choose(connection, numbers)
        dead_letters.resolve(connection, chosen, "discarded")
    typer.echo(f"{_many(len(chosen), 'dead letter')} discarded")


def _named_or_all(numbers: Sequence[int] | None, *, every: bool) -> None:
    if every and numbers:
        raise typer.BadParameter("give either numbers or --all, not both")
    if not every and not numbers:
        raise typer.BadParameter(
            "no dead letter was named; give numbers as `consumer dead-letters list` shows them, or --all"
        )


def _plain(letter: Unresolved) -> dict[str, Any]:
    plain = asdict(letter) | {"set_aside_at": letter.set_aside_at.isoformat()}
    return plain | {"bytes": plain.pop("size")}


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _readable(value: bytes | None) -> str | dict[str, str] | None:
    """Bytes as JSON has them, from which every byte can be had back."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value or b"").decode()}
