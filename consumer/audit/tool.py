"""The server's own tool, mysqlbinlog, asked about what the library cannot read: compressed transactions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from math import inf
from typing import IO, Final

from consumer.audit.rows import UNREAD, Row, Spot, Value, Values
from consumer.capture import CAPTURED
from consumer.settings import MySQLAddress, PasswordCommandFailed

SILENT_SECONDS: Final = 120.0
"""How long the tool may show nothing."""
TOOL_NAMES: Final = {"mysql": ("mysqlbinlog",), "mariadb": ("mariadb-binlog", "mysqlbinlog")}
"""By the server's flavor: each reads its own server's events only."""

_AT: Final = re.compile(r"# at (\d+)")
_HEAD: Final = re.compile(r"#\d{6} +[\d:]+ server id \d+ +end_log_pos (\d+) .*?\t(\w+)")
_MAP: Final = re.compile(r".*\tTable_map: `([^`]*)`\.`([^`]*)` mapped to number")
_COLUMN: Final = re.compile(r"#(?: Columns\(| {9})`((?:[^`]|``)*)` (\w+)(.*)")
_ROW: Final = re.compile(r"### (INSERT INTO|UPDATE|DELETE FROM) `([^`]*)`\.`([^`]*)`")
_VALUE: Final = re.compile(r"###   @(\d+)=(.*) /\* (\w+)")
_OPS: Final = {"INSERT INTO": "c", "UPDATE": "u", "DELETE FROM": "d"}
_TEXTS: Final = frozenset(("VARSTRING", "STRING", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"))
_NUMBERS: Final = frozenset(("TINYINT", "SHORTINT", "MEDIUMINT", "INT", "LONGINT"))


class ToolFailed(Exception):
    """A tool that did not come to its end; the message says how."""


def installed(flavor: str) -> str | None:
    """The tool's path; None where it is not installed."""
    return next((path for name in TOOL_NAMES[flavor] if (path := shutil.which(name)) is not None), None)


def rows(
    tool: str, address: MySQLAddress, database: str, file: str, start: int, end: int | None, last: int, flavor: str
) -> Iterator[Row]:
    """The captured rows of the compressed events that begin in a file from `start` (where a transaction does) to
    before `end` (None: to the file's end); `last` is where the last one begins that is there. Raises ToolFailed."""
    try:
        password = address.renewed_password()
    except PasswordCommandFailed as error:
        raise ToolFailed(str(error)) from error
    command = [
        tool, "--no-defaults", "--read-from-remote-server", "--base64-output=DECODE-ROWS", "-vv",
        "--print-table-metadata", f"--host={address.host}", f"--port={address.port}", f"--user={address.user}",
        f"--start-position={start}", *([] if end is None else [f"--stop-position={end}"]), *_tls(address, flavor), file,
    ]  # fmt: skip
    reached = 0

    def reach(position: int) -> None:
        nonlocal reached
        reached = max(reached, position)

    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - a program of the path, with arguments of our own
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
            env={**os.environ, "MYSQL_PWD": password},
        )  # fmt: skip
        assert process.stdout is not None
        try:
            with process.stdout as lines:
                yield from shown(file, database, _decoded(lines, process), reach)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        reason = said.read(2000).decode("utf-8", "replace").strip().splitlines()
        if code == -signal.SIGKILL:
            raise ToolFailed(f"{tool} showed nothing for {SILENT_SECONDS:g} s, or somebody killed it; audit again")
        if code:
            raise ToolFailed(f"{tool} ended with exit code {code}: {reason[-1] if reason else 'it says nothing'}")
        if reached < last:  # a server that shuts down ends the binlog as its end does: that is exit code 0
            raise ToolFailed(f"the server ended the binlog before {file}:{last}, while {tool} read it; audit again")


def _decoded(lines: IO[bytes], process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The tool's lines; it is killed where it shows none for SILENT_SECONDS: a server may be gone without a word."""
    waiting, ended = time.monotonic(), threading.Event()

    def watch() -> None:
        while not ended.wait(min(1.0, SILENT_SECONDS)):
            if time.monotonic() - waiting > SILENT_SECONDS:
                process.kill()

    threading.Thread(target=watch, name="watch mysqlbinlog", daemon=True).start()
    try:
        for line in lines:
            waiting = inf  # as long as somebody else is at work on the line
            yield line.decode("utf-8", "surrogateescape")
            waiting = time.monotonic()
    finally:
        ended.set()


def _tls(address: MySQLAddress, flavor: str) -> list[str]:
    options = address.options
    given = [f"--{key.replace('_', '-')}={options[key]}" for key in ("ssl_ca", "ssl_cert", "ssl_key") if key in options]
    mode = options.get("ssl_mode", "").upper().replace("-", "_")
    if flavor == "mysql":
        return [*given, *([f"--ssl-mode={mode}"] if mode else [])]
    if mode == "DISABLED":
        return [*given, "--skip-ssl"]
    verified = mode in ("VERIFY_CA", "VERIFY_IDENTITY") or (not mode and "ssl_ca" in options)
    return [*given, "--ssl-verify-server-cert"] if verified else given


def shown(
    file: str, database: str, lines: Iterator[str], begun: Callable[[int], None] = lambda _: None
) -> Iterator[Row]:
    """The rows of compressed events in the tool's output with -vv and the tables' metadata.

    `begun` gets where each of these events begins: the server sends it whole, or not at all.

    Where an event does not say its end (MariaDB from 11.4 on, inside a transaction), its position is that among the
    events which a replica is sent: without the statements behind rows, of which the tool shows the position first and
    the text after the next event's position.
    """
    at, number, outer = 0, 0, -1
    unsent, headless, has_ends = 0, False, True
    columns: list[tuple[str, str, str]] = []
    is_compressed, table, op = False, "", ""
    images: dict[str, dict[int, tuple[str, str]]] = {}
    part = ""
    maps: dict[str, list[tuple[str, str, str]]] = {}

    def finished() -> Iterator[Row]:
        nonlocal number
        if table and images:
            found = {name: _image(values, maps.get(table, []), table) for name, values in images.items()}
            position = file, outer if outer >= 0 else sent_at()
            yield Row(Spot(*position, number), table, op, found.get("WHERE"), found.get("SET"), position, position)
            number += 1

    def sent_at() -> int:
        return at if has_ends else at - unsent

    for raw in lines:
        line = raw.rstrip("\n")
        if line.startswith("###"):
            if row := _ROW.match(line):
                yield from finished()
                images, part = {}, ""
                ours = is_compressed and row[2] == database and row[3] in CAPTURED
                table, op = (row[3] if ours else ""), _OPS[row[1]]
            elif line in ("### SET", "### WHERE"):
                part = line[4:]
                images[part] = {}
            elif table and (value := _VALUE.match(line)):
                images[part][int(value[1])] = (value[2], value[3])
            continue
        if line.startswith("# at ") and (found := _AT.match(line)):
            yield from finished()
            table, images = "", {}
            if headless:
                unsent += int(found[1]) - at
            at, headless = int(found[1]), True
            if outer < 0:
                number = 0
        elif line.startswith("# Start of compressed events"):
            is_compressed = True
        elif is_compressed and line.startswith("XA START "):
            is_compressed = False  # its rows lie where it is committed, if it is
        elif line.startswith("# End of compressed events"):
            is_compressed, outer = False, -1
        elif line.startswith("#") and (head := _HEAD.match(line)):
            headless, has_ends = False, head[1] != "0"
            if has_ends:
                unsent = 0
            if head[2] == "Transaction_Payload":
                outer, number = at, 0
                begun(at)
            elif outer < 0:
                is_compressed = "_compressed_rows" in head[2]
                if is_compressed:
                    begun(sent_at())
            if map_ := _MAP.match(line):
                columns = []
                if map_[1] == database:
                    maps[map_[2]] = columns
        elif line.startswith(("# Columns(", "#         `")) and (column := _COLUMN.match(line)):
            columns.append((column[1], column[2], column[3]))
    yield from finished()


def _image(values: dict[int, tuple[str, str]], columns: list[tuple[str, str, str]], table: str) -> Values:
    image: Values = {}
    captured = CAPTURED[table].columns
    for number, (name, kind, more) in enumerate(columns, 1):
        if name in captured and number in values:
            image[name] = _value(*values[number], kind, more)
    return {name: image[name] for name in captured if name in image}


def _value(text: str, shown_as: str, kind: str, more: str) -> Value:
    """A value as messages have it; UNREAD where what is shown leaves it open."""
    if text == "NULL":
        return None
    if shown_as in _NUMBERS and (number := re.match(r"(-?\d+)(?: \((\d+)\))?$", text)):
        return int(number[2] if number[2] and "UNSIGNED" in more else number[1])
    if shown_as == "TIMESTAMP" and (stamp := re.match(r"(\d+)(?:\.(\d+))?$", text)):
        fraction = f".{stamp[2]}" if stamp[2] else ""
        return f"{datetime.fromtimestamp(int(stamp[1]), UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z" if int(stamp[1]) else None
    if shown_as == "DATETIME":
        moment = text.strip("'").replace(" ", "T")
        return None if moment.startswith("0000") or "-00" in moment else moment
    if shown_as in _TEXTS and text[:1] == text[-1:] == "'" and _is_utf8(kind, more):
        inner = text[1:-1]
        return UNREAD if "\\" in inner or "'" in inner or not inner.isprintable() else inner
    return UNREAD


def _is_utf8(kind: str, more: str) -> bool:
    return kind.endswith(("CHAR", "TEXT")) and ("CHARSET utf8" in more or "CHARSET ascii" in more)
