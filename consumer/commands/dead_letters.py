"""`consumer dead-letters`: what could not be applied, and what to do about it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from consumer.settings import DatabaseSettings, DiscoverySettings, KafkaSettings, load
from consumer.stream.dead_letter_entries import Entry
from consumer.stream.dead_letter_log import LetterBox
from consumer.stream.errors import StreamError

Numbers = Annotated[list[int] | None, typer.Argument(help="Numbers as `list` shows them.")]
Every = Annotated[bool, typer.Option("--all", help="All letters.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that no applier could apply.",
    epilog="Example: consumer dead-letters list",
)


class NoSuchLetter(StreamError):
    """A number that no letter has."""


@app.command("list", epilog="Example: consumer dead-letters list --json")
def list_letters(as_json: AsJson = False) -> None:
    """Show the letters that nobody has settled, and how many there are of each kind."""
    with LetterBox(load(KafkaSettings)) as box:
        letters = box.letters()
    if as_json:
        typer.echo(json.dumps([_plain(letter) for letter in letters.values()], indent=2))
        return
    table = Table("number", "reason", "user", "topic", "partition", "offset", "detail")
    for number, letter in letters.items():
        table.add_row(
            str(number),
            letter.reason,
            "" if letter.user_id is None else str(letter.user_id),
            letter.topic,
            str(letter.partition),
            str(letter.offset),
            letter.detail,
        )
    console = Console()
    if letters:
        console.print(table)
    counts = Counter(letter.reason for letter in letters.values())
    console.print(", ".join(f"{count} {reason}" for reason, count in counts.most_common()) or "no dead letters")


@app.command(epilog="Example: consumer dead-letters show 3")
def show(number: Annotated[int, typer.Argument(help="A number as `list` shows it.")]) -> None:
    """Show one letter with its original bytes: as text, or as {"base64": …} where they are not UTF-8."""
    with LetterBox(load(KafkaSettings)) as box:
        entry = _chosen(box.letters(), [number], every=False)[number]
        letter = box.original(number)
    typer.echo(json.dumps({**_plain(entry), "key": _shown(letter.key), "value": _shown(letter.value)}, indent=2))


@app.command(epilog="Example: consumer dead-letters retry --all")
def retry(numbers: Numbers = None, every: Every = False) -> None:
    """Have the leads of these letters read live, and settle the letters; those that name no lead stay."""
    from consumer.store.leads import LeadStore

    _named_or_all(numbers, every=every)
    kafka, database, discovery = load(KafkaSettings), load(DatabaseSettings), load(DiscoverySettings)
    with LetterBox(kafka) as box:
        chosen = _chosen(box.letters(), numbers, every=every)
        users = {number: user for number, letter in chosen.items() if (user := letter.user_id) is not None}
        if users:
            reasons = {users[number]: f"a dead letter was retried: {chosen[number].reason}" for number in users}
            with (
                LeadStore(database.conninfo, kafka.lanes, discovery.shadow_mode, "sweep") as store,
                store.transaction() as tx,
            ):
                tx.queue_rechecks(reasons)
            box.settle([chosen[number] for number in users], "retried")
    leads = _many(len(set(users.values())), "lead")
    typer.echo(f"{_many(len(users), 'letter')} settled, {leads} queued to be read live")
    left = sorted(chosen.keys() - users.keys())
    if left:
        typer.echo(f"name no lead: {', '.join(map(str, left))}; look at them with `show`, then `discard` them")


@app.command(epilog="Example: consumer dead-letters discard 3 4")
def discard(numbers: Numbers = None, every: Every = False) -> None:
    """Settle letters without doing anything about them."""
    _named_or_all(numbers, every=every)
    with LetterBox(load(KafkaSettings)) as box:
        chosen = _chosen(box.letters(), numbers, every=every)
        box.settle(chosen.values(), "discarded")
    typer.echo(f"{_many(len(chosen), 'letter')} discarded")


def _named_or_all(numbers: list[int] | None, *, every: bool) -> None:
    if every and numbers:
        raise typer.BadParameter("give either numbers or --all, not both")
    if not every and not numbers:
        raise typer.BadParameter(
            "no letter was named; give numbers as `consumer dead-letters list` shows them, or --all"
        )


def _chosen(letters: Mapping[int, Entry], numbers: list[int] | None, *, every: bool) -> dict[int, Entry]:
    if every or numbers is None:
        return dict(letters)
    unknown = [str(number) for number in numbers if number not in letters]
    if unknown:
        raise NoSuchLetter(f"there is no unsettled letter {', '.join(unknown)}; see `consumer dead-letters list`")
    return {number: letters[number] for number in numbers}


def _plain(letter: Entry) -> dict[str, Any]:
    return {
        "number": letter.number,
        "reason": letter.reason,
        "detail": letter.detail,
        "user_id": letter.user_id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "bytes": letter.size,
    }


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shown(value: bytes | None) -> str | dict[str, str] | None:
    """Bytes as JSON has them, from which every byte can be had back."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value or b"").decode()}
