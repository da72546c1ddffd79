"""The same binlog read three ways: by us, by `mysql-replication`, and by the server's own tool.

What the library silently skips (compressed transactions, MariaDB's compressed columns) is left out where it reads.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from consumer.binlog.events import RowChange
from consumer.capture import CAPTURED
from tests.integration.binlog.source import Source, compression
from tests.integration.binlog.test_types import MARIADB_TYPES, MYSQL_TYPES, RandomTables
from tests.servers import mariadb_binlog_command, mysqlbinlog_command

Change = tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]
SKIPPED_BY_THE_LIBRARY = ("VECTOR", "COMPRESSED", "UUID", "INET", "VARCHAR(0)", "CHAR(0)", "utf32", "utf16", "ZEROFILL")
SKIPPED_BY_THE_TOOL = {False: ("GEOMETRY", "POINT", "POLYGON"), True: ()}
"""By whether it is MariaDB's: types after which it shows no more values of a row."""


def ours(source: Source) -> list[Change]:
    def row(text: str | None) -> dict[str, Any] | None:
        return None if text is None else json.loads(text)

    return [(change.table, change.op, row(change.before), row(change.after)) for change in source.changes()]


def library(source: Source, kinds: dict[str, dict[str, str]]) -> Iterator[Change]:
    """What `mysql-replication` makes of it, in our words."""
    settings = {
        "host": source.address.host,
        "port": source.address.port,
        "user": source.address.user,
        "passwd": source.address.password,
    }
    reader = BinLogStreamReader(
        connection_settings=settings,
        server_id=random.randint(10**6, 10**9),
        log_file=source.start.file,
        log_pos=source.start.pos,
        resume_stream=True,
        only_schemas=[source.name],
        only_tables=list(CAPTURED),
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
    )
    with closing(reader):
        for event in reader:
            for row in event.rows:
                names = kinds[event.table]
                before = row.get("before_values") or (row["values"] if isinstance(event, DeleteRowsEvent) else None)
                after = row.get("after_values") or (row["values"] if isinstance(event, WriteRowsEvent) else None)
                op = {WriteRowsEvent: "c", UpdateRowsEvent: "u", DeleteRowsEvent: "d"}[type(event)]
                yield event.table, op, said(before, names), said(after, names)


def said(values: dict[str, Any] | None, kinds: dict[str, str]) -> dict[str, Any] | None:
    """The library's values of the captured columns as the stream says them."""
    return None if values is None else {name: one(values[name], kind) for name, kind in kinds.items()}


def one(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind.startswith("BIT"):
        return int(value, 2)
    if kind.startswith("BINARY"):
        return value.ljust(int(kind[7:-1]), b"\0").hex()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, set):
        members = re.findall(r"'([^']*)'", kind)
        return ",".join(member for member in members if member in value)
    if isinstance(value, datetime):
        digits = int(kind.split("(")[1][0]) if "(" in kind else 0
        fraction = f".{value.microsecond:06d}"[: digits + 1] if digits else ""
        return f"{value:%Y-%m-%dT%H:%M:%S}{fraction}{'Z' if kind.startswith('TIMESTAMP') else ''}"
    if isinstance(value, date | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else f"{value}"
    return value


def random_history(source: Source, seed: int, skipped: tuple[str, ...]) -> RandomTables:
    """Random tables without some types, and changes of them."""
    dice = random.Random(seed)
    source.run("SET sql_mode = ''")
    tables = RandomTables(source, dice, skipped)
    for _ in range(25):
        tables.change(dice.choice(list(tables.captured)))
    return tables


@pytest.mark.parametrize("seed", range(100, 106))
def test_mysql_replication_reads_the_same_rows(source: Source, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")  # it gives TIMESTAMP in local time
    with compression(source, False):
        tables = random_history(source, seed, SKIPPED_BY_THE_LIBRARY)
    kinds = {
        table: {"id": "INT UNSIGNED", **{name: kind for name, (kind, _) in captured.items()}}
        for table, captured in tables.captured.items()
    }
    assert ours(source) == list(library(source, kinds))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("seed", range(200, 203))
def test_the_tool_of_the_server_reads_the_same_rows(source: Source, seed: int, compressed: bool) -> None:
    with compression(source, compressed):
        tables = random_history(source, seed, SKIPPED_BY_THE_TOOL[source.is_mariadb])
    unsigned = {
        (table, name)
        for table, columns in tables.columns.items()
        for name, (kind, _) in columns.items()
        if "UNSIGNED" in kind
    }
    positions = {
        (table, name): at
        for table in CAPTURED
        for at, (name,) in enumerate(
            source.ask(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
                " ORDER BY ordinal_position",
                (source.name, table),
            ),
            1,
        )
    }
    theirs = shown_by_the_tool(source, positions, unsigned)
    assert theirs == [
        (change.table, change.op, change.before_id, change.after_id, change.before_ref, change.after_ref)
        for change in source.changes()
    ]
    assert len(theirs) > 20


def shown_by_the_tool(
    source: Source, positions: dict[tuple[str, str], int], unsigned: set[tuple[str, str]]
) -> list[tuple[Any, ...]]:
    """What `rows_of` finds between the source's start and now."""
    end = source.here()
    files = [name for name, *_ in source.ask("SHOW BINARY LOGS") if source.start.file <= name <= end.file]
    address = source.address
    shown = subprocess.run(
        [
            *(mariadb_binlog_command() if source.is_mariadb else mysqlbinlog_command()),
            *("--no-defaults", "--read-from-remote-server", f"--host={address.host}", f"--port={address.port}"),
            *(f"--user={address.user}", f"--password={address.password}", "--base64-output=DECODE-ROWS", "--verbose"),
            *(f"--start-position={source.start.pos}", f"--stop-position={end.pos}", *files),
        ],
        capture_output=True,
        check=False,
    )
    said = shown.stderr.decode("utf-8", "replace")
    if "unrecognized MariaDB version" in said:
        pytest.skip("this machine's mariadb-binlog is of an older release, and refuses the server")
    assert shown.returncode == 0, said
    return list(rows_of(shown.stdout.decode("utf-8", "replace"), source.name, positions, unsigned))


def rows_of(
    shown: str, database: str, positions: dict[tuple[str, str], int], unsigned: set[tuple[str, str]]
) -> Iterator[tuple[Any, ...]]:
    """Table, operation, ids and refs of every row that the tool shows with `--verbose`."""
    blocks = re.findall(
        rf"^### (INSERT INTO|UPDATE|DELETE FROM) `{database}`\.`(\w+)`\n"
        r"((?:(?!### (?:INSERT|UPDATE|DELETE))### .*\n|(?!#).*\n)*)",
        shown,
        re.MULTILINE,
    )
    for verb, table, text in blocks:
        if table not in CAPTURED:
            continue
        images: dict[str, dict[int, str]] = {}
        part = ""
        for line in text.split("\n"):
            if line in ("### SET", "### WHERE"):
                part = line[4:]
            elif value := re.match(r"###   @(\d+)=(.*)", line):
                images.setdefault(part, {})[int(value[1])] = value[2]

        def number(part: str, name: str) -> int | None:
            text = images.get(part, {}).get(positions[table, name], "NULL")  # noqa: B023 - called within the round
            shown = re.match(r"(-?\d+)(?: \((\d+)\))?", text)  # -1 (255): read as signed, as unsigned
            if shown is None:
                return None
            return int(shown[2] if shown[2] and (table, name) in unsigned else shown[1])  # noqa: B023

        op = {"INSERT INTO": "c", "UPDATE": "u", "DELETE FROM": "d"}[verb]
        ref = CAPTURED[table].ref
        yield table, op, number("WHERE", "id"), number("SET", "id"), number("WHERE", ref), number("SET", ref)


def test_no_type_is_left_out_of_the_other_tests() -> None:
    """The library's gaps are covered by SELECT in test_types, which knows every type."""
    known = [*MYSQL_TYPES, *MARIADB_TYPES]
    assert all(any(word in name for word in SKIPPED_BY_THE_LIBRARY) for name in known)
    assert RowChange._fields[0] == "table"
