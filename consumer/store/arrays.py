"""Columns of values as PostgreSQL arrays in binary form: one parameter carries a whole column of a batch.

The binary format (src/backend/utils/adt/arrayfuncs.c, array_recv; src/backend/libpq/pqformat.c) is dimensions, a flag,
the element type, length, lower bound, then each element with its length in front, -1 for NULL. It needs no escaping.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, pack
from typing import ClassVar, Final

from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

POSTGRES_EPOCH: Final = 946_684_800_000_000
"""2000-01-01 in µs since 1970: PostgreSQL counts its timestamps from there."""

_NULL: Final = b"\xff\xff\xff\xff"
_BOOLEANS: Final = {True: b"\x00\x00\x00\x01\x01", False: b"\x00\x00\x00\x01\x00"}
_header: Final = Struct(">iiIii").pack
_length: Final = Struct(">i").pack
_bigint: Final = Struct(">iq").pack


class Array(bytes):
    """A finished array; the subclass says of what. OIDs: src/include/catalog/pg_type.dat."""

    oid: ClassVar[int]
    element: ClassVar[int]


class Bigints(Array):
    """bigint[]"""

    oid, element = 1016, 20


class Integers(Array):
    """integer[]"""

    oid, element = 1007, 23


class Texts(Array):
    """text[]"""

    oid, element = 1009, 25


class Booleans(Array):
    """boolean[]"""

    oid, element = 1000, 16


class Moments(Array):
    """timestamptz[]"""

    oid, element = 1185, 1184


class Uuids(Array):
    """uuid[]"""

    oid, element = 2951, 2950


class Byteas(Array):
    """bytea[]"""

    oid, element = 1001, 17


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj


def register(context: AdaptContext) -> None:
    """Lets a connection take these arrays as parameters."""
    for kind in (Bigints, Integers, Texts, Booleans, Moments, Uuids, Byteas):
        dumper = type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.oid})
        context.adapters.register_dumper(kind, dumper)


def _head(kind: type[Array], length: int, *, nulls: bool = False) -> bytes:
    return _header(1, nulls, kind.element, length, 1) if length else _header(0, 0, kind.element, 0, 0)[:12]


def bigints(values: Sequence[int | None]) -> Bigints:
    """A column of 64-bit numbers."""
    return Bigints(_sized(Bigints, values, 0))


def moments(values: Sequence[int | None]) -> Moments:
    """A column of times, given in µs since 1970, UTC."""
    return Moments(_sized(Moments, values, POSTGRES_EPOCH))


def _sized(kind: type[Array], values: Sequence[int | None], zero: int) -> bytes:
    count = len(values)
    if None in values:
        body = b"".join([_NULL if value is None else _bigint(8, value - zero) for value in values])
        return _head(kind, count, nulls=True) + body
    flat: list[int] = [8] * (2 * count)
    flat[1::2] = [value - zero for value in values if value is not None] if zero else values  # type: ignore[assignment]
    return _head(kind, count) + pack(">" + "iq" * count, *flat)


def integers(values: Sequence[int]) -> Integers:
    """A column of 32-bit numbers."""
    count = len(values)
    flat = [4] * (2 * count)
    flat[1::2] = values
    return Integers(_head(Integers, count) + pack(">" + "ii" * count, *flat))


def booleans(values: Sequence[bool]) -> Booleans:
    """A column of truth values."""
    return Booleans(_head(Booleans, len(values)) + b"".join([_BOOLEANS[value] for value in values]))


def texts(values: Sequence[str | None]) -> Texts:
    """A column of texts; characters that PostgreSQL cannot hold are replaced as `storable` says."""
    elements = _Elements()
    return Texts(_head(Texts, len(values), nulls=True) + b"".join([elements[value] for value in values]))


class _Elements(dict[str | None, bytes]):
    """Texts as elements of an array: the same few words fill most columns."""

    def __missing__(self, value: str | None) -> bytes:
        if value is None:
            element = _NULL
        else:
            raw = storable(value)
            element = _length(len(raw)) + raw
        self[value] = element
        return element


def uuids(values: Sequence[bytes]) -> Uuids:
    """A column of UUIDs, given as their 16 bytes."""
    return Uuids(_head(Uuids, len(values)) + b"".join([b"\x00\x00\x00\x10" + value for value in values]))


def byteas(values: Sequence[bytes | None]) -> Byteas:
    """A column of bytes."""
    elements = (_NULL if value is None else _length(len(value)) + value for value in values)
    return Byteas(_head(Byteas, len(values), nulls=True) + b"".join(elements))


def storable(value: str) -> bytes:
    """A text in UTF-8, with U+FFFD for what no PostgreSQL text can hold: NUL and halves of surrogate pairs."""
    if "\0" in value:
        value = value.replace("\0", "\ufffd")
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def stored(value: str) -> str:
    """A text as it comes back from PostgreSQL."""
    return storable(value).decode()


def nested_texts(value: frozenset[str]) -> str:
    """Texts as an array literal, for an array inside a column."""
    if not value:
        return "{}"
    quoted = [text.replace("\\", "\\\\").replace('"', '\\"') for text in sorted(value)]
    return '{"' + '","'.join(quoted) + '"}'
