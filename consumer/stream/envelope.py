"""The message format, Debezium's: written here and nowhere else, and every way to read it described here.

Debezium's envelope in JSON, with one more object, `lane`. A heartbeat is a message with no row: `op` is `"h"`,
`before` and `after` are absent, and `lane.last` is true: it says that its lane has passed `lane.version`.

A requirement whose user the reader could not find lies in its topic once, in the lane of the claim's id, with
`lane.user_id` null. Only the lane that holds the claim can say whose it was, and at that very place in its order: so
every other lane gets the same message, but for `op`, as a notice in `heartbeats`. So it is with a claim that may have
moved between where the stream stands and what the replica answers; its row lies with the likely user.

`lane.ties`, in few messages, says what a row has to do with others (see Ties): what stays where it goes, what was left
for it where it comes, and after which number of another lane. A claim that moves is a delete whose requirements stay
and a create that comes after it. A requirement whose claim is certainly nobody's has no user either, `claimless`, and
lies in one lane only.

Where rows changed that the binlog does not hold, every lane gets a heartbeat whose `lane.recheck` says why all of the
lane's leads have to be read live.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from sys import intern
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, NoReturn, TypeVar

import msgspec

from consumer.leads.model import Change, ClaimRow, Key, RequirementRow, Table, Ties, UserRow
from consumer.stream.topics import HEARTBEATS, LANE_TOPICS

_new = tuple.__new__
"""Builds a NamedTuple without the keyword handling of its own `__new__`: a third of the time per message."""

NOBODY: Final = -(2**63)
"""`user_id` of a change whose user the reader could not find (`lane.user_id` is null), of heartbeats, and of claims
whose `user_id` is NULL."""


class Undecodable(ValueError):
    """A message that is not one of ours, or damaged; the text says why, without any of its values."""


_LARGEST: Final = 2**63 - 1
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=_LARGEST)]
"""What a bigint of PostgreSQL holds."""
UserId = Annotated[int, msgspec.Meta(gt=NOBODY, le=_LARGEST)]
"""A user's id. The smallest bigint is none: it stands for nobody, and pages of users begin behind it."""
RowId = int | str
"""A claim's or requirement's id: the column's own type, which an applier need not know."""
Moment = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
"""µs since the epoch, up to the year 9999."""


Name = TypeVar("Name", bound=str)


class Source(msgspec.Struct, Generic[Name], gc=False):
    """Where a change comes from; Debezium's block, of which an applier needs this much. Each topic knows its table."""

    ts_us: Moment
    table: Name


class StreamPosition(NamedTuple):
    """Where the stream stands in the binlog, between two source transactions; `server` is that of Checkpoint."""

    server: str
    file: str
    pos: int


class LaneBlock(msgspec.Struct, gc=False):
    """A message's place in its lane: `seq` counts without gaps, `last` ends a source transaction there."""

    epoch: int
    seq: Number
    version: Moment
    user_id: UserId | None
    last: bool
    moved: bool = False
    recheck: str | None = None
    ties: Ties | None = None


def _word(value: int | str | None) -> str | None:
    """Statuses and types as the rules compare them; an id of a look-up table is its decimal digits.

    They are few, and a hundred thousand changes may lie in memory: interned, a change takes a third less of it.
    """
    return intern(value) if isinstance(value, str) else None if value is None else str(value)


def _key(value: RowId) -> Key:
    return value if type(value) is str else str(value)


def _signature(value: int | str | None) -> str | None:
    """A signature file; NULL, the number 0 and a text of nothing but blanks are none, as for MySQL's `= ''`."""
    if type(value) is int:
        return str(value) if value else None
    return value if value and value.strip(" ") else None  # type: ignore[union-attr,return-value]


def _enabled(value: bool | int | str | None) -> bool:
    """Whether a user is enabled; NULL is not 0. A text is a DECIMAL's digits or an ENUM's member '0' or '1'.

    Raises Undecodable for any other text: it is not guessed what 'N' means.
    """
    if type(value) is not str:
        return value != 0
    if not _NUMBER(value):
        raise Undecodable("users.is_enabled is a text that is no number")
    return value.strip("-0.") != ""


_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?").fullmatch


class Users(msgspec.Struct, gc=False):
    """Captured columns of `users` that the rules look at."""

    id: UserId
    current_signature_file_id: int | str | None = None
    is_enabled: bool | int | str | None = True

    def row(self) -> UserRow:
        """As the ledger takes it."""
        return _new(UserRow, (self.id, _signature(self.current_signature_file_id), _enabled(self.is_enabled)))


class Claims(msgspec.Struct, gc=False):
    """Captured columns of `claims` that the rules look at."""

    id: RowId
    user_id: UserId | None
    status: int | str | None = None

    def row(self) -> ClaimRow:
        """As the ledger takes it."""
        return _new(ClaimRow, (_key(self.id), NOBODY if self.user_id is None else self.user_id, _word(self.status)))


class ClaimRequirements(msgspec.Struct, gc=False):
    """Captured columns of `claim_requirements` that the rules look at."""

    id: RowId
    claim_id: RowId | None
    type: int | str | None = None
    status: int | str | None = None
    claim_requirement_reason: str | None = None

    def row(self) -> RequirementRow:
        """As the ledger takes it."""
        claim_id = self.claim_id
        return _new(
            RequirementRow,
            (
                _key(self.id),
                None if claim_id is None else _key(claim_id),
                _word(self.type),
                _word(self.status),
                self.claim_requirement_reason,
            ),
        )


LAST = "true}}"
MORE = "false}}"
"""How a message of `EnvelopeWriter` ends, once it is known whether it is its transaction's last one in the lane."""


SingleRow = tuple[
    str | None,
    int,
    str,
    int,
    int,
    str,
    str,
    str | None,
    str | None,
    RowId | None,
    RowId | None,
    RowId | None,
    RowId | None,
    int,
    int,
    int,
    bool,
]
"""A source transaction of one row as the binlog's Single has it: GTID, server id, file, position and commit time in µs;
table, operation, images before and after, ids and refs of both; the positions of the row and of the end; when our
server applied it (µs); and what the writer does not need."""


class EnvelopeWriter:
    """Formats the messages of one source; what does not change is formatted once a batch or once a transaction.

    A row's message lacks its ending, `LAST` or `MORE`: which of them it is shows only when the next row arrives.
    Members stand in the order that leaves the fewest pieces to be put together for a row.
    """

    def __init__(self, name: str, connector: str, database: str, epoch: int) -> None:
        """`name` is the topic prefix, `connector` `mysql` or `mariadb`."""
        self._name = _text(name)
        self._database = _text(database)
        self._epoch = epoch
        self._now_ms = 0
        self._head = ""
        self._transaction = ""
        self._version = ""
        self._source = f'"connector":{_text(connector)},"name":{self._name},"db":{self._database},"table":"'
        self._lane = f'}},"lane":{{"epoch":{epoch},"version":'
        self._file, self._server_id = "", -1
        self._server = self._in_file = ""
        self.clock(0)

    def clock(self, now_ms: int) -> None:
        """The top-level `ts_ms` of the messages that follow: when we processed them, ms since the epoch."""
        self._now_ms = now_ms
        self._head = f'","ts_ms":{now_ms},"transaction":{{"total_order":'

    def transaction(self, gtid: str | None, server_id: int, file: str, pos: int, ts_us: int, version: int) -> None:
        """The source transaction of the rows that follow; without a GTID, its position in the binlog is its id."""
        quoted = "null" if gtid is None else f'"{gtid}"'
        self._transaction = (
            f',"id":"{transaction_id(gtid, file, pos)}"}},"source":{{"ts_ms":{ts_us // 1000},"ts_us":{ts_us}'
            f',"server_id":{server_id},"gtid":{quoted},"file":"{file}",{self._source}'
        )
        self._version = f"{self._lane}{version}"

    def row(
        self,
        table: str,
        op: str,
        before: str | None,
        after: str | None,
        pos: int,
        row: int,
        total_order: int,
        order: int,
        seq: int,
        user: str,
        moved: bool,
        ties: str = "",
    ) -> str:
        """One row without its ending; `before`, `after` and `ties` are JSON texts, `user` the id or `null`."""
        return (
            f'{{"before":{before or "null"},"after":{after or "null"},"op":"{op}{self._head}{total_order}'
            f',"data_collection_order":{order}{self._transaction}{table}","pos":{pos},"row":{row}{self._version}'
            f',"seq":{seq},"user_id":{user}{_MOVED if moved else ""}{_TIES + ties if ties else ""},"last":'
        )

    def single(self, row: SingleRow, version: int, seq: int, user: str) -> str:
        """The whole message of the only row of a source transaction: `transaction`, `row` and `LAST` in one text."""
        gtid, server_id, file, begun, ts_us, table, op, before, after, _, _, _, _, pos, _, _, _ = row
        if file is not self._file or server_id != self._server_id:
            self._file, self._server_id = file, server_id
            self._server = f',"server_id":{server_id},"gtid":'
            self._in_file = f',"file":"{file}",{self._source}'
        name, quoted = (f"{file}:{begun}", "null") if gtid is None else (gtid, f'"{gtid}"')
        us = f"{ts_us}"
        return (
            f'{{"before":{before or "null"},"after":{after or "null"},"op":"{op}{self._head}1'
            f',"data_collection_order":1,"id":"{name}"}},"source":{{"ts_ms":{us[:-3] or "0"},"ts_us":{us}'
            f'{self._server}{quoted}{self._in_file}{table}","pos":{pos},"row":0'
            f'{self._lane}{us if version == ts_us else version},"seq":{seq},"user_id":{user},"last":true}}}}'
        )

    def heartbeat(self, seq: int, version: int, ts_us: int, stands: StreamPosition | None = None) -> str:
        """A whole message that says: this lane has passed `version`. `ts_us` is the server's time it stands for.

        `stands` is where the stream is then; `consumer audit` and `consumer setup --repair` read it.
        """
        position = ""
        if stands is not None:
            position = (
                f',"server":{_text(stands.server)},"file":"{stands.file}","pos":{stands.pos},"db":{self._database}'
            )
        return (
            f'{{"op":"h","ts_ms":{self._now_ms},"source":{{"ts_us":{ts_us},"ts_ms":{ts_us // 1000},"name":{self._name}'
            f'{position},"table":""}},"lane":{{"epoch":{self._epoch},"seq":{seq},"version":{version},"user_id":null,"last":true}}}}'
        )

    def recheck(
        self,
        seq: int,
        version: int,
        ts_us: int,
        reason: str,
        user_id: int | None = None,
        *,
        blind: bool = False,
        position: tuple[str, int] | None = None,
        row: int | None = None,
    ) -> str:
        """A heartbeat without its ending that asks for a lead to be read live, or for every lead of the lane.

        With `blind`, changes of the lane are missing here, whoever's they are. `position` is where the transaction
        begins in the binlog, or with `row` the event whose row it stands for; only `consumer audit` reads it.
        """
        user = "null" if user_id is None else user_id
        stands_for = "" if position is None else f',"file":"{position[0]}","pos":{position[1]}'
        stands_for += "" if row is None else f',"row":{row}'
        return (
            f'{{"op":"h","ts_ms":{self._now_ms},"source":{{"ts_us":{ts_us},"ts_ms":{ts_us // 1000},"name":{self._name}'
            f'{stands_for},"table":""}},"lane":{{"epoch":{self._epoch},"seq":{seq},"version":{version},"user_id":{user}'
            f',"recheck":{_text(reason)}{_MOVED if blind else ""},"last":'
        )


def transaction_id(gtid: str | None, file: str, pos: int) -> str:
    """What `transaction.id` says: the GTID, and without one the transaction's position in the binlog."""
    return f"{file}:{pos}" if gtid is None else gtid


_MOVED = ',"moved":true'
_TIES = ',"ties":'


def ties_text(ties: Ties) -> str:
    """Ties as JSON, without what is as usual."""
    members = {field.name: getattr(ties, field.name) for field in fields(Ties)}
    usual = Ties()
    return _text({name: value for name, value in members.items() if value != getattr(usual, name)})


def _text(value: object) -> str:
    """JSON."""
    return msgspec.json.encode(value).decode()


MessageReader = Callable[[bytes | None], tuple[LaneBlock, Change]]
"""Takes a message's value apart; raises Undecodable. One per topic, because each knows its own columns."""


Columns = TypeVar("Columns", Users, Claims, ClaimRequirements)


class _Message(msgspec.Struct, Generic[Name, Columns], gc=False):
    source: Source[Name]
    lane: LaneBlock
    before: Columns | None = None
    after: Columns | None = None


class _AnyUser(msgspec.Struct, gc=False):
    """A lane block whose user may have an id that no bigint holds (BIGINT UNSIGNED from 2^63 on, or a foreign one)."""

    epoch: int
    seq: Number
    version: Moment
    user_id: int | None
    last: bool


class _Numbered(msgspec.Struct, gc=False):
    lane: _AnyUser


_decode_beat = msgspec.json.Decoder(_Message[Literal["", "claim_requirements"], ClaimRequirements]).decode
_decode_numbered = msgspec.json.Decoder(_Numbered).decode


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, UnicodeDecodeError):
        raise Undecodable("text that is not UTF-8") from error
    if isinstance(error, TypeError):
        raise Undecodable("no value") from error
    raise Undecodable(str(error)) from error


def _row_reader(table: Table, shape: type[_Message[Any, Any]]) -> MessageReader:
    decode = msgspec.json.Decoder(shape).decode

    def read(value: bytes | None) -> tuple[LaneBlock, Change]:
        try:
            message = decode(value)  # type: ignore[arg-type]
        except (ValueError, TypeError) as error:
            _refuse(error)
        before, after, lane = message.before, message.after, message.lane
        if before is None and after is None:
            raise Undecodable("neither `before` nor `after`")
        user_id = lane.user_id
        change: Change = _new(
            Change,
            (
                NOBODY if user_id is None else user_id,
                table,
                None if before is None else before.row(),
                None if after is None else after.row(),
                lane.version,
                message.source.ts_us,
                lane.last,
                lane.moved,
                None,
                lane.ties,
            ),
        )
        return lane, change

    return read


def _read_beat(value: bytes | None) -> tuple[LaneBlock, Change]:
    """A message of the topic `heartbeats`: the end of a transaction, the server's clock, an orphan's notice, or that
    something could not be read of one lead or of all.
    """
    try:
        message = _decode_beat(value)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        _refuse(error)
    before, after, lane = message.before, message.after, message.lane
    if lane.recheck is not None and lane.user_id is not None:
        at = message.source.ts_us
        return lane, Change(lane.user_id, Table.USERS, None, None, lane.version, at, lane.last, False, lane.recheck)
    change: Change = _new(
        Change,
        (
            NOBODY,
            None if before is None and after is None else Table.CLAIM_REQUIREMENTS,
            None if before is None else before.row(),
            None if after is None else after.row(),
            lane.version,
            message.source.ts_us,
            lane.last,
            lane.moved,
            lane.recheck,
            None,
        ),
    )
    return lane, change


READERS: Final[dict[str, MessageReader]] = {
    Table.USERS.value: _row_reader(Table.USERS, _Message[Literal["users"], Users]),
    Table.CLAIMS.value: _row_reader(Table.CLAIMS, _Message[Literal["claims"], Claims]),
    Table.CLAIM_REQUIREMENTS.value: _row_reader(
        Table.CLAIM_REQUIREMENTS, _Message[Literal["claim_requirements"], ClaimRequirements]
    ),
    HEARTBEATS: _read_beat,
}


def lane_block(value: bytes | None) -> LaneBlock | None:
    """Number and user of a message that is otherwise undecodable; None where not even those can be read.

    A user whose id no bigint holds is nobody: no lead of theirs can be held.
    """
    try:
        lane = _decode_numbered(value).lane  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    user_id = lane.user_id
    known = None if user_id is None or not NOBODY < user_id <= _LARGEST else user_id
    return LaneBlock(lane.epoch, lane.seq, lane.version, known, lane.last)


class TailTransaction(msgspec.Struct):
    """A row's number in its source transaction."""

    id: str
    total_order: int


class TailSource(msgspec.Struct):
    """Where a row's event starts, or where the stream stood at a heartbeat that has a `server`."""

    ts_us: int
    file: str = ""
    pos: int = 0
    server: str = ""
    db: str = ""


class TailLane(msgspec.Struct):
    """A message's place in its lane."""

    epoch: int
    seq: Annotated[int, msgspec.Meta(ge=1)]
    version: int
    last: bool


class TailMessage(msgspec.Struct):
    """A message at a partition's end, for whoever looks for where a stream stands: without its rows."""

    source: TailSource
    lane: TailLane
    ts_ms: int = 0
    transaction: TailTransaction | None = None


read_tail: Final = msgspec.json.Decoder(TailMessage).decode
"""Reads such a message; raises ValueError where it is none of ours."""


class AuditSource(msgspec.Struct):
    """Where a row stands in the binlog; `row` is -1 in messages that are of no row."""

    ts_us: int
    table: str = ""
    file: str = ""
    pos: int = 0
    row: int = -1
    server: str = ""
    db: str = ""


class AuditLane(msgspec.Struct):
    """Whose message it is, and what it asks for."""

    epoch: int
    user_id: int | None = None
    recheck: str | None = None


class AuditMessage(msgspec.Struct):
    """A message with its images as they are: `consumer audit` holds them against the binlog."""

    op: str
    source: AuditSource
    lane: AuditLane
    ts_ms: int = 0
    before: dict[str, int | str | None] | None = None
    after: dict[str, int | str | None] | None = None


read_audited: Final = msgspec.json.Decoder(AuditMessage).decode
"""Reads such a message; raises ValueError where it is none of ours."""


LANE_TABLES: Final = tuple({table.value: table for table in Table}.get(topic) for topic in LANE_TOPICS)
"""The tables of a lane's partitions; None for `heartbeats`."""


def unreadable(block: LaneBlock, user_id: int, table: Table | None, reason: str) -> Change:
    """What stands in a lane for a user's message whose row is unreadable: that the user has to be read live."""
    cause = f"a change in the stream was set aside: {reason}"
    return Change(user_id, table, None, None, block.version, block.version, block.last, False, cause)


def end_of(block: LaneBlock) -> Change:
    """What stands in a lane for a message whose row is unreadable: its number, and its transaction's end."""
    return Change(NOBODY, None, None, None, block.version, block.version, block.last)
