"""The position of a stream whose checkpoint is lost, sought in binlogs written by hand."""

from __future__ import annotations

from typing import Any, Final, cast

import pytest

from consumer.binlog.constants import EventType
from consumer.binlog.events import Event
from consumer.binlog.position import PreparedGroup
from consumer.commands.lost_checkpoint import LastKnown, Newest
from consumer.commands.lost_position import Stood, read_to
from consumer.commands.tails import Tail
from tests.unit.binlog.wirebuild import SOURCE, Log, decoder

FILE: Final = "binlog.000001"
COMMITTED: Final = 1_700_000_000_000_000
XID: Final = "X'61',X'',1"
PREPARE: Final = b"\0" + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4) + b"a"


class Packets:
    """A stream of a log's events, so many a read."""

    def __init__(self, log: Log, at_once: int) -> None:
        self._decoder = decoder(singles=True)
        self._packets = [log.packets[n : n + at_once] for n in range(0, len(log.packets), at_once)]

    @property
    def file(self) -> str:
        return self._decoder.file

    @property
    def pos(self) -> int:
        return self._decoder.pos

    @property
    def file_begun(self) -> int:
        return self._decoder.file_begun

    def read(self) -> list[Event]:
        events: list[Event] = []
        self._decoder.decode(b"".join(self._packets.pop(0)), events)
        return events

    def prepared(self) -> tuple[PreparedGroup, ...]:
        return self._decoder.prepared()


def new_log() -> Log:
    log = Log()
    log.file()
    return log


def beat(pos: int, version: int = COMMITTED, sent_ms: int = COMMITTED // 1000) -> Tail:
    return Tail(0, 1, 9, version, version, True, "", 0, FILE, pos, "s", "shop", sent_ms)


def wanted(number: int, *lanes_open: int) -> Newest:
    return Newest(f"{SOURCE}:{number}", FILE, 0, COMMITTED + 5, COMMITTED, 1, list(lanes_open))


def prepare(log: Log, number: int) -> PreparedGroup:
    """An XA transaction of one user."""
    group = PreparedGroup(XID, FILE, log.pos)
    log.gtid(number)
    log.query(f"XA START {XID}")
    log.users(100 + number)
    log.query(f"XA END {XID}")
    log.add(EventType.XA_PREPARE, PREPARE)
    return group


def decide(log: Log, number: int) -> None:
    log.gtid(number)
    log.query(f"XA COMMIT {XID}")


def seek(log: Log, heartbeat: Tail | None, transaction: Newest | None, at_once: int) -> Stood | None:
    return read_to(cast("Any", Packets(log, at_once)), LastKnown(heartbeat, transaction, "shop", FILE), (FILE, log.pos))


@pytest.mark.parametrize("at_once", [1, 100])
def test_a_heartbeat_says_the_place_itself(at_once: int) -> None:
    log = new_log()
    log.transaction(1, 1)
    there = log.pos
    log.transaction(2, 2)
    assert seek(log, beat(there), None, at_once) == Stood(FILE, there, [])


@pytest.mark.parametrize("at_once", [1, 100])
def test_a_transaction_behind_the_heartbeat_is_sought(at_once: int) -> None:
    log = new_log()
    log.transaction(1, 1)
    there = log.pos
    log.transaction(2, 2)
    start = log.pos
    log.transaction(3, 3, 33)
    end = log.pos
    log.transaction(4, 4)
    for heartbeat in (beat(there), None):
        assert seek(log, heartbeat, wanted(3), at_once) == Stood(FILE, end, [])
        assert seek(log, heartbeat, wanted(3, 0), at_once) == Stood(FILE, start, []), "a part of it is in Kafka"
        assert seek(log, heartbeat, wanted(9), at_once) is None, "the server does not have it"


def test_a_binlog_that_was_reset_says_nothing() -> None:
    log = new_log()
    log.transaction(1, 1)
    assert seek(log, beat(log.pos, COMMITTED - 1), None, 1) is None
    assert seek(log, beat(log.pos + 1), None, 1) is None, "it ends before that position"
    assert seek(log, beat(log.pos, sent_ms=COMMITTED // 1000 - 1), None, 1) is None, "its file began later"
    assert seek(log, None, wanted(1), 1) is not None
    assert seek(log, None, wanted(1)._replace(ts_us=COMMITTED - 1), 1) is None, "another one with its GTID"


@pytest.mark.parametrize("at_once", [1, 100])
def test_what_is_prepared_before_the_place_goes_with_it(at_once: int) -> None:
    log = new_log()
    group = prepare(log, 1)
    log.transaction(2, 2)
    there = log.pos
    log.transaction(3, 3)
    end = log.pos
    assert seek(log, beat(there), None, at_once) == Stood(FILE, there, [group])
    assert seek(log, beat(there), wanted(3), at_once) == Stood(FILE, end, [group])


def test_a_prepared_transaction_is_found_where_it_is_decided() -> None:
    log = new_log()
    group = prepare(log, 1)
    log.transaction(2, 2)
    there = log.pos
    decide(log, 3)
    end = log.pos
    log.transaction(4, 4)
    for heartbeat in (beat(there), None):
        assert seek(log, heartbeat, wanted(3), 1) == Stood(FILE, end, [])
        assert seek(log, heartbeat, wanted(3, 0), 1) == Stood(FILE, there, [group]), "its rows lie before"
    assert seek(log, None, wanted(3, 0), 100) is None, "read at one stroke, nobody knows its name any more"


def test_what_is_prepared_behind_the_place_does_not() -> None:
    log = new_log()
    log.transaction(1, 1)
    there = log.pos
    prepare(log, 2)
    assert seek(log, beat(there), None, 100) == Stood(FILE, there, [])


def test_a_transaction_prepared_in_another_file_and_there_in_part_is_not_found() -> None:
    log = new_log()
    decide(log, 3)
    assert seek(log, None, wanted(3, 0), 1) is None, "its rows are nowhere here"
