"""A server's clock that is put back: versions, which never go back, run ahead of it until it has caught up."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from consumer.applier import applier
from consumer.applier.batches import Batch, LaneBatch
from consumer.lane import lane_of
from consumer.leads.model import Change, ClaimRow, RequirementRow, Table, UserRow
from consumer.store.leads import LeadStore
from consumer.stream.envelope import NOBODY
from tests.integration.reconciler.world import LANES, ReconcilerWorld
from tests.support.company_tables import key

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
USER = 1


def changed(status: str | None, became: str, at: int, version: int) -> Change:
    before = None if status is None else RequirementRow(key(100), "10", "id_document", status, None)
    after = RequirementRow(key(100), "10", "id_document", became, None)
    return Change(USER, Table.CLAIM_REQUIREMENTS, before, after, version, at, True)


class Stream:
    """Applies changes of the user as an applier does."""

    def __init__(self, world: ReconcilerWorld) -> None:
        self._world = world
        self._store = LeadStore(world.postgres_url, LANES, False, "stream")

    def send(self, *changes: Change) -> None:
        """These changes, in the user's lane; heartbeats too."""
        lane = lane_of(USER, LANES)
        state = self._store.lanes([lane])[lane]
        version = max(change.version for change in changes)
        users = frozenset(change.user_id for change in changes if change.table is not None)
        part = LaneBatch(
            lane, state.epoch, state.next_seq, state.next_seq + len(changes), state.version, version, {},
            list(changes), users, False, 0, [], {},
        )  # fmt: skip
        applier.apply(Batch(1, [part], len(changes)), self._store)

    def beat(self, version: int) -> None:
        """Everything until this version was seen."""
        self.send(Change(NOBODY, None, None, None, version, version, True))

    def close(self) -> None:
        """Ends the session."""
        self._store.close()


@pytest.fixture
def stream(mysql_world: ReconcilerWorld) -> Iterator[Stream]:
    """A customer who signed long ago and whose document was asked for; MySQL's is approved meanwhile."""
    world, now = mysql_world, time.time_ns() // 1000
    stream = Stream(world)
    stream.send(
        Change(USER, Table.USERS, None, UserRow(USER, "7", True), now - 10 * HOUR, now - 10 * HOUR, True),
        Change(USER, Table.CLAIMS, None, ClaimRow("10", USER, "open"), now - 9 * HOUR, now - 9 * HOUR, True),
        changed(None, "pending", now - 8 * HOUR, now - 8 * HOUR),
    )
    world.user(USER, signature=7, ago=10 * 3600)
    world.claim(10, USER)
    world.requirement(100, 10, "approved", ago=8 * 3600)
    yield stream
    stream.close()


def history(world: ReconcilerWorld) -> list[tuple[object, ...]]:
    return world.pg(
        "SELECT number, queue_type, opened_reason, closed_reason, conversion_type FROM leadstream.stints"
        " WHERE user_id = 1 ORDER BY number"
    )


def ask_again(world: ReconcilerWorld) -> dict[str, object]:
    world.pg("INSERT INTO leadstream.rechecks (user_id, reason) VALUES (1, 'asked') ON CONFLICT (user_id) DO NOTHING")
    world.pg("UPDATE leadstream.rechecks SET not_before = now()")
    return world.sweep("rechecks").tally.as_counts()


@pytest.mark.parametrize("checked", [False, True])
def test_what_the_stream_still_brings_is_recorded_once_though_the_clock_was_put_back(
    mysql_world: ReconcilerWorld, stream: Stream, checked: bool
) -> None:
    """The document was rejected and approved just now, which the lane has yet to bring."""
    world, now = mysql_world, time.time_ns() // 1000
    ahead = now + 10 * MINUTE
    stream.beat(ahead)
    if checked:
        assert ask_again(world)["repaired"] == 0
    stream.send(
        changed("pending", "rejected", now - 30 * SECOND, ahead + 1),
        changed("rejected", "approved", now - 20 * SECOND, ahead + 2),
    )
    stream.beat(ahead + 3)
    if checked:
        ask_again(world)
    assert [row[4] for row in history(world)].count("requirements_completed") == 1
    assert world.conversions() == [(USER, "requirements_completed")]


def test_what_the_stream_missed_is_repaired_when_the_clock_has_caught_up(
    mysql_world: ReconcilerWorld, stream: Stream
) -> None:
    world, now = mysql_world, time.time_ns() // 1000
    stream.beat(now + 10 * MINUTE)
    left = ask_again(world)
    assert (left["repaired"], left["left_to_recheck"]) == (0, 1)
    assert world.pg("SELECT last_error FROM leadstream.rechecks") == [
        ("drift was not confirmed: the replica's clock was put back, and has to catch up with the stream's versions",)
    ]
    world.pass_lanes()  # it has caught up
    assert ask_again(world)["repaired"] == 1
    assert world.conversions() == [(USER, "requirements_completed")]


def test_no_backfill_runs_while_the_clock_is_behind(mysql_world: ReconcilerWorld, stream: Stream) -> None:
    world = mysql_world
    world.user(2)
    stream.beat(time.time_ns() // 1000 + 10 * MINUTE)
    report = world.backfill()
    assert report.outcome == "failed"
    assert re.search(r"was put back and is \d{3} s behind", report.error or "")
    assert 2 not in world.queues()
    world.pass_lanes()
    assert world.backfill().outcome == "ok"
    assert world.queues()[2] == "unsigned_users"
