"""The position in the binlog of a stream whose checkpoint is lost, found by what Kafka knows of it."""

from __future__ import annotations

from typing import NamedTuple

from consumer.binlog.events import Begin, Commit, RowChange, Single
from consumer.binlog.position import PreparedGroup, ordered_position
from consumer.binlog.stream import BinlogStream
from consumer.commands.lost_checkpoint import LastKnown, Newest
from consumer.commands.tails import Tail
from consumer.stream.envelope import transaction_id


class Stood(NamedTuple):
    """Where the reader goes on in the binlog, and the XA transactions that are prepared before that and undecided."""

    file: str
    pos: int
    prepared: list[PreparedGroup]


def read_to(stream: BinlogStream, sought: LastKnown, end: tuple[str, int]) -> Stood | None:
    """Reads on until what is sought; None where it is not there before `end`, or the binlog is of another history.

    An XA transaction that is prepared before the position and decided soon behind it may be missing in what is
    returned: then its end has every lead read live. Raises as BinlogStream.read.
    """
    beat, wanted = sought.heartbeat, sought.transaction
    begin: Begin | None = None
    row_pos = -1
    while True:
        before = stream.prepared()
        events = stream.read()
        if beat is not None and stream.file == beat.file and stream.file_begun * 1000 > beat.sent_ms:
            return None  # the binlog was reset since
        for event in events:
            for part in event.parts() if isinstance(event, Single) else (event,):
                if isinstance(part, Begin):
                    begin, row_pos = part, -1
                    if beat is not None and _is_of_later(begin, beat):
                        return None
                elif isinstance(part, RowChange):
                    row_pos = part.pos
                elif isinstance(part, Commit) and begin is not None and wanted is not None and _is(begin, wanted):
                    if not wanted.lanes_open:
                        return Stood(part.file, part.pos, _undecided(part, stream.prepared()))
                    was_prepared = not begin.pos < row_pos < part.pos  # rows of XA have their XA COMMIT's position
                    return _inside(begin, before, stream.prepared(), was_prepared=was_prepared)
        at = ordered_position(stream.file, stream.pos)
        if beat is not None and wanted is None and at >= ordered_position(beat.file, beat.pos):
            return Stood(beat.file, beat.pos, _undecided(beat, stream.prepared()))
        if at >= ordered_position(*end):
            return None


def _inside(
    begin: Begin, before: tuple[PreparedGroup, ...], after: tuple[PreparedGroup, ...], *, was_prepared: bool
) -> Stood | None:
    """In front of a transaction that is in Kafka in part; None where it was prepared, and its name is not certain.

    `before` and `after` are what is prepared in front of a stretch of the binlog with its end in it, and behind that.
    """
    decided = [group for group in before if group not in after] if was_prepared else []
    if was_prepared and len(decided) != 1:
        return None
    return Stood(begin.file, begin.pos, decided + _undecided(begin, after))


def _undecided(there: Begin | Commit | Tail, prepared: tuple[PreparedGroup, ...]) -> list[PreparedGroup]:
    return [
        group for group in prepared if ordered_position(group.file, group.pos) < ordered_position(there.file, there.pos)
    ]


def _is_of_later(begin: Begin, beat: Tail) -> bool:
    """Whether a transaction that stands before a heartbeat's position was committed after it: the binlog was reset."""
    return (
        ordered_position(begin.file, begin.pos) < ordered_position(beat.file, beat.pos)
        and (begin.applied_us or begin.ts_us) > beat.version
    )


def _is(begin: Begin, wanted: Newest) -> bool:
    """Whether this is the transaction, by its time too: after a reset, GTIDs and positions are given once more."""
    return transaction_id(begin.gtid, begin.file, begin.pos) == wanted.id and begin.ts_us == wanted.ts_us
