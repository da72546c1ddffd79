"""What the reader must remember: written to the checkpoints topic in the Kafka transaction of the rows it covers."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

_RAISING: Final = "consumer setup --lanes "


class Start(StrEnum):
    """Where a reader without a checkpoint begins."""

    NOW = "now"
    EARLIEST = "earliest"


class PreparedTransaction(msgspec.Struct, frozen=True):
    """An XA transaction that stands before the checkpoint and is undecided: its rows lie at `pos` of `file`."""

    xid: str
    file: str
    pos: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything before this point is in Kafka, nothing after it is.

    `file` and `pos` are where the next source transaction begins; `gtid_set` is what was executed up to there, in
    the server's own notation (`""` where it has none). `rows` counts captured rows of that next transaction which lie
    in Kafka already, because it was larger than one batch. `next_seqs` holds each lane's next number.
    """

    epoch: int
    flavor: str
    """`mysql` or `mariadb`."""
    server: str
    """server_uuid of a MySQL server, server_id of a MariaDB server: positions mean nothing on another one."""
    gtid_set: str
    file: str
    pos: int
    version: int
    """Version of the last source transaction or heartbeat before this point, in µs."""
    next_seqs: list[int]
    file_begun: int = 0
    """When the server began `file` (s since the epoch): after a reset there may be another one of its name. 0: unknown,
    as in checkpoints of older releases."""
    rows: int = 0
    lanes_open: list[int] = []
    """Lanes in which the unfinished transaction has rows already and no `last` yet."""
    unfinished: str = ""
    """`transaction.id` of the transaction that `rows` belong to."""
    unfinished_version: int = 0
    unfinished_ts_us: int = 0
    """Version and commit time (µs) that its rows in Kafka have: another replica has another time for it. 0: unknown."""
    prepared: list[PreparedTransaction] = []
    database: str = ""
    """The database whose changes these are, as its server calls it; "" in checkpoints of older releases."""
    reader: str = ""
    """Which reader wrote this: each run has a name of its own. "" where none did. Or the command that raised lanes."""


def raising(lanes: int) -> str:
    """The command that raises the lanes to so many, which it writes where readers write their name."""
    return f"{_RAISING}{lanes}"


def cut_off(found: Checkpoint) -> str | None:
    """The command that was raising the lanes when it wrote this checkpoint, and has yet to end; None: there is none."""
    is_raising = found.reader.startswith(_RAISING) and found.reader != raising(len(found.next_seqs))
    return found.reader if is_raising else None


def encode(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as a JSON message value."""
    return msgspec.json.encode(checkpoint)


_decoder = msgspec.json.Decoder(Checkpoint)


def decode(value: bytes) -> Checkpoint:
    """A message value as a checkpoint. Raises msgspec.DecodeError or msgspec.ValidationError."""
    return _decoder.decode(value)
