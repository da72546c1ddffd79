"""The body of a QUERY event: a statement, the database it ran in, and the session's variables that bear on it.

Source: MySQL's `libs/mysql/binlog/event/statement_events.h` (class Query_event, `Query_event_status_vars`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from consumer.binlog.statements import tokens
from consumer.mysql.charsets import decoder

QUERY_HEAD: Final = 13
"""Bytes before the variables."""
LOAD_HEAD: Final = 26
"""The same in an EXECUTE_LOAD_QUERY event."""

_CHARSET: Final = 4
_STRINGS: Final = frozenset((2, 5, 6))
_SIZES: Final[Mapping[int, int]] = {0: 4, 1: 8, 3: 4, 7: 2, 8: 2}


def is_begin(data: bytes, at: int, end: int) -> bool:
    """Whether the event's body `data[at:end]` is BEGIN, as servers write it before a transaction's first change."""
    return data.startswith(b"BEGIN", end - 5) and end - 19 - at == data[at + 8] + data[at + 11] + (data[at + 12] << 8)


def logged_statement(body: bytes, head: int, charsets: Mapping[int, str]) -> tuple[str, str]:
    """The database that a statement's bare names are in, and the statement, of a QUERY event's body.

    Raises IndexError where it is cut off.
    """
    name_start = head + int.from_bytes(body[11:13], "little")
    name_end = name_start + body[8]
    if name_end >= len(body):
        raise IndexError("the statement is cut off")
    charset = charsets.get(_collation(body[head:name_start]), "utf8mb4")
    text = body[name_end + 1 :]
    return body[name_start:name_end].decode("utf-8", "replace"), _decoded(text, charset)


def _decoded(text: bytes, charset: str) -> str:
    decode = decoder(charset)
    if decode is not None:
        try:
            return decode(text)
        except UnicodeDecodeError:
            pass  # a statement may hold bytes in another charset as a literal
    return text.decode("utf-8", "replace")


def _collation(variables: bytes) -> int:
    """The collation of the session's statements; 0 where it is not said. It stands before what we do not know."""
    at = 0
    while at < len(variables):
        code = variables[at]
        at += 1
        if code == _CHARSET:
            return int.from_bytes(variables[at : at + 2], "little")
        if code in _STRINGS:
            at += 1 + variables[at]
        elif code in _SIZES:
            at += _SIZES[code]
        else:
            break
    return 0


def last_name(sql: str) -> str:
    """The last word of a statement: the name of a savepoint, which servers compare without case."""
    return [token.value for token in tokens(sql) if token.is_name][-1].lower()


_XID: Final = re.compile(r"XA\s+\w+\s+X'([0-9a-f]*)'\s*(?:,\s*X'([0-9a-f]*)')?\s*(?:,\s*(\d+))?", re.IGNORECASE)


def xid_of(sql: str) -> str:
    """The name in `XA COMMIT X'6162',X'',1`, as servers write it. Raises ValueError where there is none."""
    match = _XID.match(sql)
    if match is None:
        raise ValueError("an XA statement without the transaction's name")
    return xid(bytes.fromhex(match[1]), bytes.fromhex(match[2] or ""), int(match[3] or 1))


def xid_prepared(body: bytes) -> tuple[str, bool]:
    """The name in an XA_PREPARE event's body, and whether it is prepared and committed at once. Raises IndexError."""
    one_phase = bool(body[0])
    length, branch = int.from_bytes(body[5:9], "little"), int.from_bytes(body[9:13], "little")
    if len(body) < 13 + length + branch:
        raise IndexError("the transaction's name is cut off")
    name, rest = body[13 : 13 + length], body[13 + length : 13 + length + branch]
    return xid(name, rest, int.from_bytes(body[1:5], "little")), one_phase


def xid(name: bytes, branch: bytes, format_id: int) -> str:
    """An XA transaction's name as servers write it."""
    return f"X'{name.hex()}',X'{branch.hex()}',{format_id}"
