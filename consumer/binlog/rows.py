"""Changes out of rows, JSON out of their images, by functions written and compiled per table map and NULL bitmap.

Such a function knows where every column stands: runs of fixed-width columns are one addition, columns that are not
captured are stepped over and never decoded, and the captured ones go straight into the text of a JSON object.
Format: MySQL's `libs/mysql/binlog/event/rows_event.h` (class Rows_event), sizes as in `log_event_print_value`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring as quote
from typing import Final, NamedTuple

from consumer.binlog import values
from consumer.binlog.constants import DELETES, INSERTS, ROWS_V1, UPDATES, ColumnType, EventType, packed_integer
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import Event, Id, RowChange, UnreadableRow
from consumer.binlog.table_map import BLOBS, Column, TableMap
from consumer.capture import Captured
from consumer.mysql.charsets import BINARY, decoder, is_utf8, lenient_decoder
from consumer.mysql.errors import PreconditionFailed

_C = ColumnType

Fold = Callable[[str], str]
"""Gives the one spelling that stands for all texts which a collation calls equal."""

Image = Callable[[bytes, int], tuple[str, Id, Id | None, int]]
"""Reads the image whose first value starts at an offset: its JSON text, its id, its ref, and where it ends.

The text is empty where the table is system-versioned and the row is one of its history, which no SELECT shows.
"""

_INTEGERS: Final = {_C.TINY: "b", _C.SHORT: "h", _C.LONG: "i", _C.LONGLONG: "q"}
_FIXED: Final = {
    _C.TINY: 1,
    _C.SHORT: 2,
    _C.INT24: 3,
    _C.LONG: 4,
    _C.LONGLONG: 8,
    _C.FLOAT: 4,
    _C.DOUBLE: 8,
    _C.NULL: 0,
    _C.YEAR: 1,
    _C.DATE: 3,
    _C.NEWDATE: 3,
    _C.TIME: 3,
    _C.TIMESTAMP: 4,
    _C.DATETIME: 8,
}
_WITH_FRACTION: Final = {_C.TIMESTAMP2: 4, _C.DATETIME2: 5, _C.TIME2: 3}
_BY_LENGTH: Final = (_C.ENUM, _C.SET, _C.BIT)
_STRINGS: Final = frozenset({_C.VARCHAR, _C.VAR_STRING, _C.STRING, _C.VARCHAR_COMPRESSED})
_KEY_TYPES: Final = (*_INTEGERS, _C.INT24, _C.VARCHAR, _C.VAR_STRING, _C.STRING)
"""What ids of claims and requirements may be; those of users are integers."""
_UUID_BYTES: Final = 16
_IMAGES_KEPT: Final = 4096
_PARTIAL_JSON: Final = 1
ROW_START: Final = "row_start"
ROW_END: Final = "row_end"
"""What MariaDB calls the columns of a system-versioned table where their names are not given."""
_LIVE_SECONDS: Final = (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff")
_LIVE_MICROSECONDS: Final = (999_999).to_bytes(3, "big")


def fixed_width(column: Column) -> int | None:
    """How many bytes every value of this column takes; None where values say their length themselves.

    Raises UndecodableEvent for types whose size nobody knows.
    """
    kind, length = column.type, column.length
    if kind in BLOBS or kind in _STRINGS:
        return None
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _WITH_FRACTION:
        return _WITH_FRACTION[kind] + values.fraction_bytes(length)
    if kind is _C.NEWDECIMAL:
        return values.decimal_bytes(length, column.scale)
    if kind not in _BY_LENGTH:
        raise UndecodableEvent(f"column {column.name} has the type {kind.name}, whose size is unknown")
    return (length + 7) // 8 if kind is _C.BIT else length


def is_live(row_end: bytes) -> bool:
    """Whether a TIMESTAMP(6) is the end of time, which stands for "still valid" (2038, from MariaDB 11.5 on 2106)."""
    return row_end[:4] in _LIVE_SECONDS and row_end[4:] == _LIVE_MICROSECONDS


def length_bytes(column: Column) -> int:
    """How many bytes a value of this (not fixed-width) column has for its length."""
    if column.type in BLOBS:
        return column.length
    return 1 if column.length < 256 else 2


class RowsEvent(NamedTuple):
    """An event that holds rows of one table."""

    kind: int
    data: bytes
    """What was received, up to the event's end and without its checksum."""
    at: int
    """Where table id and flags end in it."""
    file: str
    pos: int
    row: int
    """The number of its first row."""
    explicit: bool
    """As in RowChange."""


DAMAGE: Final = (IndexError, ValueError, struct.error, KeyError, OverflowError)
"""What reading the bytes of a damaged event raises."""
_PARTIAL: Final = int(EventType.PARTIAL_UPDATE_ROWS)
NO_KEYS: Final = (None, None, None, None, False)
"""An UnreadableRow's members where nothing of it is known."""


class _Images(dict[bytes, Image]):
    """The functions of a table by NULL bitmap, written when they are first asked for."""

    __slots__ = ("_decoder",)

    def __init__(self, decoder: TableDecoder) -> None:
        super().__init__()
        self._decoder = decoder

    def __missing__(self, nulls: bytes) -> Image:
        if len(self) >= _IMAGES_KEPT:
            self.clear()
        function = self[nulls] = self._decoder.generate(b"\xff" * self._decoder.bitmap_size, nulls)
        return function


class TableDecoder:
    """Reads the row images of one table as one table map describes it.

    Raises PreconditionFailed, on making, where the table cannot be captured: names missing, no integer `id` or ref, and
    with `strict` none of the columns that are needed to judge. `row_end` is the name of the column that says until when
    a row of MariaDB's system-versioned tables is valid; empty: the name that it has by itself.
    """

    def __init__(
        self,
        table_map: TableMap,
        captured: Captured,
        charsets: Mapping[int, str],
        *,
        strict: bool = False,
        row_end: str = "",
        folds: Callable[[int], Fold | None] = lambda _: None,
        unreadable: str = "",
    ) -> None:
        """With `unreadable`, nothing of the table's rows is to be read, for this reason."""
        where = f"{table_map.database}.{table_map.table}"
        self.unreadable = unreadable or (
            f"the binlog holds {where} without column names; "
            "run SET GLOBAL binlog_row_metadata = 'FULL' (SET PERSIST on MySQL)"
            if table_map.columns is None
            else ""
        )
        """Why none of the table's rows can be read; empty where they can."""
        self.table: str = captured.table
        self.columns = table_map.columns or ()
        self.bitmap_size = (len(self.columns) + 7) // 8
        self._all = (1 << len(self.columns)) - 1
        self.images = _Images(self)
        """The functions for images in which every column is present, by NULL bitmap."""
        self.usual: dict[int, tuple[bytes, str, int, dict[bytes, Image]]] = {}
        """How rows events go on after table id and flags where every column is present, by event type, once seen; and
        what decodes them: the table's name, the size of a NULL bitmap, the images."""
        self._where = where
        self._captured = captured
        self._charsets = charsets
        self._folds = folds
        self._remembered: dict[str, values.Remembered] = {}
        """What values of a column were turned into, by its name: one memory for the functions of all images."""
        self._partial = lru_cache(_IMAGES_KEPT)(self.generate)
        """The functions for images that lack columns, by (columns present, NULL bitmap)."""
        self._keys_of = lru_cache(_IMAGES_KEPT)(self._write_keys)
        self.row_end: int | None = None
        """The number of the column that says until when a row is valid; None where the table is not versioned."""
        if self.unreadable:
            return
        by_name = {column.name.lower(): i for i, column in enumerate(self.columns)}
        self._names = {by_name[name]: name for name in captured.columns if name in by_name}
        self.row_end = self._row_end(table_map, by_name, row_end)
        for name in captured.needed if strict else ():
            if name not in by_name:
                raise PreconditionFailed(
                    f"{where} has no column {name} here, without which no lead can be judged; put it back"
                )
        for name in ("id", captured.ref):
            if name not in by_name:
                raise PreconditionFailed(f"{where} has no column {name}, without which its rows cannot be attributed")
            kind = self.columns[by_name[name]].type
            if name in captured.keys and kind not in _KEY_TYPES:
                raise PreconditionFailed(
                    f"{where}.{name} is {kind.name}; it may be an integer, CHAR, VARCHAR, BINARY or UUID"
                )
            if name not in captured.keys and kind not in (*_INTEGERS, _C.INT24):
                raise PreconditionFailed(f"{where}.{name} is {kind.name}, not an integer")

    def changes(self, event: RowsEvent, emit: Callable[[Event], None]) -> int:
        """Emits the rows of any event of this table; returns the number after its last row. Raises UndecodableEvent.

        How an event starts whose images have every column is remembered in `usual`.
        """
        kind, data, head, file, pos, row, explicit = event
        table = self.table
        if self.unreadable:
            op = "c" if kind in INSERTS else "d" if kind in DELETES else "u"
            emit(UnreadableRow(table, op, *NO_KEYS, file, pos, row, self.unreadable))
            return row + 1
        before, after, at = self._bitmaps(kind, data, head)
        versioned = self.row_end is not None
        if kind != _PARTIAL and not versioned and self.is_full(before) and self.is_full(after):
            self.usual[kind] = (data[head:at], table, self.bitmap_size, self.images)
        text: str | None
        while at < len(data):
            text, id_, ref, at = self._image(before, data, at)
            if versioned and not text and kind not in UPDATES:
                pass  # history
            elif kind in INSERTS:
                emit(RowChange(table, "c", None, text, None, None, id_, ref, pos, row, explicit))
            elif kind in DELETES:
                emit(RowChange(table, "d", text, None, id_, ref, None, None, pos, row, explicit))
            else:
                if kind == _PARTIAL:
                    at = self.behind_value_options(data, at)
                new_text, new_id, new_ref, at = self._image(after, data, at)
                if not versioned or (text and new_text):
                    emit(RowChange(table, "u", text, new_text, id_, ref, new_id, new_ref, pos, row, explicit))
                elif text:  # it becomes history
                    emit(RowChange(table, "d", text, None, id_, ref, None, None, pos, row, explicit))
                elif new_text:
                    emit(RowChange(table, "c", None, new_text, None, None, new_id, new_ref, pos, row, explicit))
            row += 1
        if at != len(data):
            raise UndecodableEvent("the rows do not fill the event")
        return row

    def readable_changes(self, event: RowsEvent, emit: Callable[[Event], None]) -> int | None:
        """As `changes`, for an event of which some row cannot be read: that one is emitted as an UnreadableRow.

        None where it is not certain either where the rows end; what was emitted means nothing then.
        """
        kind, data, at, file, pos, row, explicit = event
        try:
            before, after, at = self._bitmaps(kind, data, at)
            while at < len(data):
                reasons: list[str] = []
                row_start = at
                new: _Read = ("", None, None, at)
                old = self._image_or_keys(before, data, at, reasons)
                _, id_, ref, at = old
                if kind in INSERTS:
                    old, new = ("", None, None, at), old
                elif kind not in DELETES:
                    if kind == _PARTIAL:
                        at = self.behind_value_options(data, at)
                    new = self._image_or_keys(after, data, at, reasons)
                    at = new[3]
                if at == row_start:
                    return None  # images without any column: nobody can say how many rows these are
                op = _op(old[0], new[0])
                had = old[1:3] if old[0] else (None, None)
                has = new[1:3] if new[0] else (None, None)
                if reasons and op:
                    kept = op == "u" and (not self.has_ref(after) or ref == new[2] is not None)
                    if new[0] and new[1] is None and kind not in INSERTS:
                        has = id_, new[2]  # an image without id is one of the same id
                    emit(UnreadableRow(self.table, op, *had, *has, kept, file, pos, row, reasons[0]))
                elif op:
                    change = (self.table, op, old[0] or None, new[0] or None)
                    emit(RowChange(*change, *had, *has, pos, row, explicit))
                row += 1
        except (*DAMAGE, UndecodableEvent):
            return None
        return row if at == len(data) else None

    def _bitmaps(self, kind: int, data: bytes, at: int) -> tuple[bytes, bytes, int]:
        """Which columns are in the images before and after, and where the rows start. Raises UndecodableEvent."""
        if kind not in ROWS_V1:
            at += int.from_bytes(data[at : at + 2], "little")
        columns, at = packed_integer(data, at)
        if columns != len(self.columns):
            raise UndecodableEvent(f"{columns} columns where the table map has {len(self.columns)}")
        before = after = data[at : at + self.bitmap_size]
        at += self.bitmap_size
        if kind in UPDATES:
            after = data[at : at + self.bitmap_size]
            at += self.bitmap_size
        return before, after, at

    def _image(self, present: bytes, data: bytes, at: int) -> tuple[str, Id, Id | None, int]:
        end = at + (self.present(present) + 7) // 8
        image = self.images[data[at:end]] if self.is_full(present) else self._partial(present, data[at:end])
        return image(data, end)

    def _image_or_keys(self, present: bytes, data: bytes, at: int, reasons: list[str]) -> _Read:
        """An image, or only its keys where it cannot be read, and then why in `reasons`."""
        try:
            return self._image(present, data, at)
        except UndecodableEvent as error:
            reasons.append(str(error))
        except UnicodeError:
            reasons.append(f"a text in a row of {self.table} is not written in its column's character set")
        end = at + (self.present(present) + 7) // 8
        return self.keys(present, data[at:end], data, end)

    def _row_end(self, table_map: TableMap, by_name: Mapping[str, int], name: str) -> int | None:
        number = by_name.get(name.lower() or ROW_END)
        if number is None:
            return None
        if not name and (ROW_START not in by_name or number not in table_map.primary_key):
            return None  # somebody's own column of that name
        column = self.columns[number]
        return number if column.type is _C.TIMESTAMP2 and column.length == 6 else None

    def present(self, bitmap: bytes) -> int:
        """How many columns a bitmap says are present."""
        return (int.from_bytes(bitmap, "little") & self._all).bit_count()

    def is_full(self, bitmap: bytes) -> bool:
        """Whether a bitmap says that every column is present."""
        return int.from_bytes(bitmap, "little") & self._all == self._all

    def behind_value_options(self, data: bytes, at: int) -> int:
        """Steps over what stands before the after-image of a PARTIAL_UPDATE_ROWS event: which JSON values are partial.

        Partial or not, a JSON value says its length in four bytes.
        """
        options, at = packed_integer(data, at)
        if options & _PARTIAL_JSON:
            at += (sum(column.type is _C.JSON for column in self.columns) + 7) // 8
        return at

    def has_ref(self, bitmap: bytes) -> bool:
        """Whether a bitmap says that the column is present which leads to the user."""
        ref = next(i for i, name in self._names.items() if name == self._captured.ref)
        return bool(bitmap[ref // 8] >> ref % 8 & 1)

    def keys(self, present: bytes, nulls: bytes, data: bytes, at: int) -> tuple[str, Id | None, Id | None, int]:
        """What an Image gives for one that cannot be read: its text says nothing, its keys are read if they can be.

        Raises UndecodableEvent where not even its end is known.
        """
        try:
            return self._keys_of(present, nulls, with_keys=True)(data, at)
        except UnicodeError:
            return self._keys_of(present, nulls, with_keys=False)(data, at)

    def _shown(self, present: bytes, nulls: bytes) -> Iterator[tuple[int, Column, int]]:
        """The columns of an image, each with its number and whether it is NULL."""
        slot = 0  # the NULL bitmap counts only the columns that are present
        for i, column in enumerate(self.columns):
            if present[i // 8] >> i % 8 & 1:
                yield i, column, nulls[slot // 8] >> slot % 8 & 1
                slot += 1

    def _write_keys(self, present: bytes, nulls: bytes, *, with_keys: bool) -> Image:
        writer = _Writer(self._where, self._charsets, self._captured, self._folds, self._remembered)
        keys: dict[str, str] = {}
        for i, column, null in self._shown(present, nulls):
            name = self._names.get(i)
            if null:
                continue
            if i == self.row_end:
                writer.step_over_row_end()
            elif with_keys and name in ("id", self._captured.ref):
                try:
                    keys[name] = writer.capture(column, name)[1]
                except UndecodableEvent:
                    writer.step_over(column)
            else:
                writer.step_over(column)
        return self._compiled(
            writer.source([], keys.get("id", "None"), keys.get(self._captured.ref, "None")), writer.constants
        )

    def _compiled(self, source: str, constants: Mapping[str, object]) -> Image:
        namespace: dict[str, object] = dict(constants)
        exec(compile(source, f"<image of {self._where}>", "exec"), namespace)  # noqa: S102 (our own text: values stay out)
        function: Image = namespace["image"]  # type: ignore[assignment]
        return function

    def generate(self, present: bytes, nulls: bytes) -> Image:
        """Writes and compiles the function for one shape of image. Raises UndecodableEvent."""
        return self._compiled(*self.written(present, nulls))

    def written(self, present: bytes, nulls: bytes) -> tuple[str, Mapping[str, object]]:
        """The source of the function for one shape of image, and what it names."""
        writer = _Writer(self._where, self._charsets, self._captured, self._folds, self._remembered)
        found: dict[str, str] = {}
        keys: dict[str, str] = {}
        for i, column in enumerate(self.columns):
            if not present[i // 8] >> i % 8 & 1 and (i in self._names or i == self.row_end):
                raise UndecodableEvent(
                    f"{self._where}.{column.name} is missing from a row image; some session writes with another "
                    "binlog_row_image than FULL, set it back to FULL"
                )
        for i, column, null in self._shown(present, nulls):
            name = self._names.get(i)
            if null:
                if name is not None:
                    found[name] = "null"
            elif i == self.row_end:
                writer.step_over_row_end()
            elif name is None:
                writer.step_over(column)
            else:
                try:
                    found[name], keys[name] = writer.capture(column, name)
                except UndecodableEvent:
                    if name not in self._captured.informative:
                        raise
                    writer.step_over(column)
                    found[name] = "null"
        if found["id"] == "null":
            raise UndecodableEvent(f"{self._where}.id is NULL")
        source = writer.source(
            [(name, found[name]) for name in self._names.values()],
            keys["id"],
            keys.get(self._captured.ref, "None"),
        )
        return source, writer.constants


_Read = tuple[str, Id | None, Id | None, int]
"""What an Image gives, or of an image that cannot be read."""


def _op(before: str, after: str) -> str:
    """What a change is by the texts of its images; empty texts are history or absent, and two of them no change."""
    if before and after:
        return "u"
    return "d" if before else "c" if after else ""


class _Writer:
    """Writes the function for one shape of image, column by column.

    `p` is where the last column of variable width ended; the fixed-width columns since then wait in `_run`, as the
    format of one `struct` and the names that it fills.
    """

    def __init__(
        self,
        where: str,
        charsets: Mapping[int, str],
        captured: Captured,
        folds: Callable[[int], Fold | None],
        remembered: dict[str, values.Remembered],
    ) -> None:
        self.constants: dict[str, object] = {"quote": quote}
        self._where = where
        self._charsets = charsets
        self._captured = captured
        self._folds = folds
        self._known = remembered
        self._lines: list[str] = []
        self._run: list[tuple[str, str | None]] = []
        self._width = 0
        self._live = ""

    def step_over(self, column: Column) -> None:
        """A column that is not captured."""
        width = fixed_width(column)
        if width is not None:
            self._run.append((f"{width}x", None))
            self._width += width
        else:
            self._flush()
            size = length_bytes(column)
            self._lines.append(f"p += {_length(size)} + {size}")

    def step_over_row_end(self) -> None:
        """The TIMESTAMP(6) that says whether the row is valid still."""
        self._run.append(("7s", "row_end"))
        self._width += 7
        self._live = f"{self._constant('is_live', is_live)}(row_end)"

    def capture(self, column: Column, name: str) -> tuple[str, str]:
        """A captured column: the expressions of its JSON text and, of an id or ref, of its value.

        Raises UndecodableEvent.
        """
        width = fixed_width(column)
        if width is not None:
            variable = f"c_{name}"
            code, expression = self._fixed(column, variable, width, lenient=name in self._captured.informative)
            self._run.append((code, variable))
            self._width += width
            return expression, expression
        self._flush()
        size = length_bytes(column)
        is_key = name in ("id", self._captured.ref)
        text = self._key(column) if is_key else self._text(column, name)
        self._lines += [f"a = p + {size}", f"p = a + {_length(size)}", f"c_{name} = {text}"]
        return (f"quote(c_{name})" if is_key else f"c_{name}"), f"c_{name}"

    def source(self, members: list[tuple[str, str]], row_id: str, ref: str) -> str:
        """The finished function."""
        self._flush()
        text = ",".join(
            f'"{name}":{{{expression}}}' if expression != "null" else f'"{name}":null' for name, expression in members
        )
        lines = ["def image(data, p):", *(f"    {line}" for line in self._lines)]
        live = f" if {self._live} else ''" if self._live else ""
        lines.append(f"    return f'{{{{{text}}}}}'{live}, {row_id}, {ref}, p")
        return "\n".join(lines) + "\n"

    def _flush(self) -> None:
        """Reads the captured ones of the waiting fixed-width columns and moves `p` past all of them."""
        if self._width:
            wanted = [variable for _, variable in self._run if variable]
            if wanted:
                last = max(i for i, (_, variable) in enumerate(self._run) if variable)
                codes = "".join(code for code, _ in self._run[: last + 1])
                unpack = self._constant("unpack", struct.Struct(f"<{codes}").unpack_from)
                self._lines.append(f"{', '.join(wanted)}, = {unpack}(data, p)")
            self._lines.append(f"p += {self._width}")
        self._run = []
        self._width = 0

    def _constant(self, kind: str, value: object) -> str:
        name = f"{kind}_{len(self.constants)}"
        self.constants[name] = value
        return name

    def _remembered(self, column: Column, compute: Callable[[bytes], str]) -> str:
        return self._constant("remembered", self._known.setdefault(column.name, values.Remembered(compute)))

    def _fixed(self, column: Column, variable: str, width: int, *, lenient: bool) -> tuple[str, str]:
        """The struct code and the expression of a captured fixed-width column."""
        kind, length = column.type, column.length
        if kind in _INTEGERS:
            code = _INTEGERS[kind]
            return code.upper() if column.unsigned else code, variable
        if kind is _C.INT24:
            number = values.unsigned_number if column.unsigned else values.signed_number
            return "3s", f"{self._constant('number', number)}({variable})"
        if kind is _C.YEAR:
            return "B", f"({variable} + 1900 if {variable} else 0)"
        compute: Callable[[bytes], str]
        if kind is _C.TIMESTAMP2:
            compute = values.timestamp2(length)
        elif kind is _C.DATETIME2:
            compute = values.datetime2(length)
        elif kind is _C.TIME2:
            compute = values.time2(length)
        elif kind is _C.NEWDECIMAL:
            compute = values.decimal(length, column.scale)
        elif kind is _C.ENUM:
            compute = values.enum_member(self._members(column, lenient=lenient))
        elif kind is _C.SET:
            compute = values.set_members(self._members(column, lenient=lenient))
        elif kind in _SIMPLE:
            compute = _SIMPLE[kind]
        else:
            raise UndecodableEvent(f"{self._where}.{column.name} has the type {kind.name}, which cannot be captured")
        return f"{width}s", f"{self._remembered(column, compute)}[{variable}]"

    def _text(self, column: Column, name: str) -> str:
        """The expression that makes JSON of `data[a:p]`."""
        kind = column.type
        if kind in (_C.JSON, _C.GEOMETRY, _C.VECTOR):
            raise UndecodableEvent(f"{self._where}.{column.name} has the type {kind.name}, which cannot be captured")
        raw = self._raw(column)
        if column.collation == BINARY:
            return f"'\"' + {self._hexadecimal(column, raw)} + '\"'"
        if name in self._captured.informative:
            charset = self._charsets.get(column.collation, "")
            if is_utf8(charset):
                return f"quote({raw}.decode('utf-8', 'replace'))"
            return f"quote({self._constant('decode', lenient_decoder(charset))}({raw}))"
        if name in self._captured.few and raw == "data[a:p]":
            _, decode = self._exactly(column)
            return f"{self._remembered(column, lambda value: quote(decode(value)))}[{raw}]"
        return f"quote({self._decoded(column, raw)})"

    def _key(self, column: Column) -> str:
        """The expression that makes of `data[a:p]` the one spelling of an id that stands for all equal ones."""
        raw = self._raw(column)
        if column.collation == BINARY:
            return self._hexadecimal(column, raw)
        text = self._decoded(column, raw)
        fold = self._folds(column.collation)
        return text if fold is None else f"{self._constant('fold', fold)}({text})"

    def _decoded(self, column: Column, raw: str) -> str:
        """The expression of a value's bytes as text."""
        charset, decode = self._exactly(column)
        return f"{raw}.decode()" if is_utf8(charset) else f"{self._constant('decode', decode)}({raw})"

    def _raw(self, column: Column) -> str:
        """The expression of a value's own bytes."""
        raw = "data[a:p]"
        if column.type in (_C.BLOB_COMPRESSED, _C.VARCHAR_COMPRESSED):
            return f"{self._constant('uncompressed', values.uncompressed)}({raw})"
        if column.collation == BINARY and column.type is _C.STRING:  # trailing zero bytes are not stored
            return f"{raw}.ljust({column.length}, b'\\0')"
        return raw

    def _hexadecimal(self, column: Column, raw: str) -> str:
        """The expression of bytes as hexadecimal digits, with a UUID's dashes where there are always 16 of them."""
        if column.type is _C.STRING and column.length == _UUID_BYTES:
            return f"{self._constant('dashed', values.dashed)}({raw})"
        return f"{raw}.hex()"

    def _members(self, column: Column, *, lenient: bool) -> tuple[str, ...]:
        if lenient:
            decode = lenient_decoder(self._charsets.get(column.collation, ""))
        elif column.collation == BINARY:
            decode = lenient_decoder("latin1")
        else:
            _, decode = self._exactly(column)
        return tuple(map(decode, column.members))

    def _exactly(self, column: Column) -> tuple[str, Callable[[bytes], str]]:
        """A column's charset, and what decodes it exactly. Raises UndecodableEvent."""
        charset = self._charsets.get(column.collation)
        if charset is None:
            raise UndecodableEvent(f"{self._where}.{column.name} has collation {column.collation}, which is unknown")
        decode = decoder(charset)
        if decode is None:
            raise UndecodableEvent(
                f"{self._where}.{column.name} is written in {charset}, which cannot be turned into UTF-8 exactly"
            )
        return charset, decode


_SIMPLE: Final[Mapping[_C, Callable[[bytes], str]]] = {
    _C.FLOAT: values.float4,
    _C.DOUBLE: values.float8,
    _C.BIT: values.bit,
    _C.DATE: values.date,
    _C.NEWDATE: values.date,
    _C.TIMESTAMP: values.old_timestamp,
    _C.DATETIME: values.old_datetime,
}


def _length(size: int) -> str:
    """The expression for a length of so many bytes (little-endian) at `p`; the quick one where it is usually small."""
    if size == 1:
        return "data[p]"
    if size == 2:
        return "(data[p] | data[p + 1] << 8 if data[p + 1] else data[p])"
    return f"int.from_bytes(data[p:p + {size}], 'little')"
