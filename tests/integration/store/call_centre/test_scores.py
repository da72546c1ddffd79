"""Scores that conversions copy while the call centre sees a lead by the present, or cannot be written to.

How the stream is cut into batches, and which of them passes what was read, makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg
import pytest

from consumer.leads.live_read import repair
from consumer.leads.model import LiveState, QueueType, RequirementRow, Row
from consumer.leads.outcome import Outcome
from consumer.store.leads import LeadStore, Present
from tests.integration.store.databases import rows, run
from tests.integration.store.replayer import LANES, RULES, Replayer, claim, requirement, user

Transaction = list[tuple[Row | None, Row | None]]

SECOND: Final = 1_000_000
SIGNING: Final[Transaction] = [(user(1), user(1, "file-1")), (None, requirement(1, 10))]
HANDING_IN: Final[Transaction] = [(requirement(1, 10), requirement(1, 10, "approved"))]
OWING_AGAIN: Final[Transaction] = [(None, requirement(1, 11))]
SCORE: Final = "UPDATE user_call_scores SET current_score = %s"
SEEN: Final = "SELECT current_queue_type, current_score FROM user_call_scores"
EARNED: Final = "SELECT conversion_type, final_score FROM conversions ORDER BY converted_at"


def show(database: str, queue_type: QueueType, version: int) -> None:
    """A sweep shows customer 1 where a read finds them, and agents go on from there."""
    with LeadStore(database, LANES, shadow=False, source="sweep") as sweeps, sweeps.transaction() as tx:
        tx.load([1])
        assert tx.show([Present(1, queue_type, version)]) == 1


@pytest.mark.parametrize("batches", [[[SIGNING, HANDING_IN]], [[SIGNING], [HANDING_IN]]])
@pytest.mark.parametrize("ahead", [0, 1, 5])
@pytest.mark.parametrize(("read_after", "second"), [(1.5, 12), (2.5, 0)])
def test_a_lead_that_is_shown_by_the_present_earns_with_the_scores_as_they_were(
    replayer: Replayer,
    database: str,
    batches: Sequence[Sequence[Transaction]],
    ahead: int,
    read_after: float,
    second: int,
) -> None:
    """They sign after a second and hand in after two; the read is behind the first or behind both.

    Agents brought the score to 57 before it, and to 12 behind it, in the queue that it showed. `ahead` is how many
    seconds each batch brings the lane beyond its last change.
    """
    replayer.register(1)
    run(database, SCORE, 57)
    read_at = replayer.now + int(read_after * SECOND)
    show(database, QueueType.REQUIREMENTS_OUTSTANDING if read_after < 2 else QueueType.NONE, read_at)
    run(database, SCORE, 12)
    for batch in batches:
        reached = replayer.now + (len(batch) + ahead) * SECOND
        run(database, "UPDATE leadstream.lanes SET version = greatest(version, %s)", reached)
        replayer.commit(1, *batch)
    assert rows(database, EARNED) == [("signature_obtained", 57), ("requirements_completed", second)]


@pytest.mark.parametrize("batches", [[[SIGNING, HANDING_IN]], [[SIGNING], [HANDING_IN]]])
def test_a_score_that_history_begins_again_while_its_row_is_held_earns_nothing_twice(
    replayer: Replayer, database: str, batches: Sequence[Sequence[Transaction]]
) -> None:
    replayer.register(1)
    run(database, SCORE, 57)
    with psycopg.connect(database) as agent:
        agent.execute("SELECT FROM user_call_scores FOR UPDATE")
        for batch in batches:
            replayer.commit(1, *batch, past_held=True)
        assert rows(database, EARNED) == [("signature_obtained", 57), ("requirements_completed", 0)]


def test_a_present_shown_while_a_row_was_owed_remembers_the_score(replayer: Replayer, database: str) -> None:
    """The lead left for none while an agent held its row; the score there was nobody's to begin again."""
    replayer.register(1)
    run(database, SCORE, 57)
    with psycopg.connect(database) as agent:
        agent.execute("SELECT FROM user_call_scores FOR UPDATE")
        replayer.commit(1, [(user(1), user(1, enabled=False))], past_held=True)
    show(database, QueueType.REQUIREMENTS_OUTSTANDING, replayer.now + 10 * SECOND)
    assert rows(database, "SELECT current_score FROM user_call_scores") == [(0,)]
    assert rows(database, "SELECT score FROM leadstream.shown") == [(57,)]


def test_a_shown_lead_that_its_lane_passes_while_its_row_is_held_is_owed(replayer: Replayer, database: str) -> None:
    """What it earns then is what agents brought it to in the queue that they saw."""
    replayer.register(1)
    run(database, SCORE, 57)
    show(database, QueueType.REQUIREMENTS_OUTSTANDING, replayer.now + SECOND + SECOND // 2)
    run(database, SCORE, 12)
    replayer.commit(1, SIGNING)
    with psycopg.connect(database) as agent:
        agent.execute("SELECT FROM user_call_scores FOR UPDATE")
        run(database, "UPDATE leadstream.lanes SET version = %s", replayer.now + 5 * SECOND)
        replayer.commit(1, [(user(1, "file-1"), user(1, "file-1"))], past_held=True)
        assert rows(database, "SELECT until_version, score FROM leadstream.shown") == [(0, None)]
        replayer.commit(1, HANDING_IN, past_held=True)
        assert rows(database, EARNED) == [("signature_obtained", 57), ("requirements_completed", 12)]
    replayer.commit(1, [(user(1, "file-1"), user(1, "file-1"))])
    assert rows(database, "SELECT current_queue_type FROM user_call_scores") == [("none",)]
    assert rows(database, "SELECT * FROM leadstream.shown") == []


def test_whom_a_read_showed_first_earns_nothing_with_what_agents_did_behind_the_signature(
    replayer: Replayer, database: str
) -> None:
    """Nobody knew the customer before the read: the score that agents made in the queue shown is that queue's."""
    read_at = replayer.now + 2 * SECOND + SECOND // 2
    show(database, QueueType.REQUIREMENTS_OUTSTANDING, read_at)
    run(database, SCORE, 12)
    show(database, QueueType.REQUIREMENTS_OUTSTANDING, read_at)
    replayer.commit(1, [(None, user(1)), (None, claim(1, 1))], SIGNING)
    replayer.commit(1, HANDING_IN)
    assert rows(database, EARNED) == [("signature_obtained", 0), ("requirements_completed", 12)]


def test_a_present_that_cannot_be_shown_for_a_held_row_begins_the_score_again_once_it_can(
    replayer: Replayer, database: str
) -> None:
    replayer.register(1)
    run(database, SCORE, 57)
    present = Present(1, QueueType.REQUIREMENTS_OUTSTANDING, replayer.now + SECOND + SECOND // 2)
    with LeadStore(database, LANES, shadow=False, source="sweep") as sweeps:
        with psycopg.connect(database) as agent:
            agent.execute("SELECT FROM user_call_scores FOR UPDATE")
            with sweeps.transaction(past_held=True) as tx:
                tx.load([1])
                assert tx.show([present]) == 0, "a row that somebody holds is left for another time"
        with sweeps.transaction(past_held=True) as tx:
            tx.load([1])
            assert tx.show([present]) == 1
    assert rows(database, SEEN) == [("requirements_outstanding", 0)]


@pytest.mark.parametrize("batches", [[[HANDING_IN, OWING_AGAIN]], [[HANDING_IN], [OWING_AGAIN]]])
def test_a_queue_that_history_enters_again_behind_the_read_begins_at_0(
    replayer: Replayer, database: str, batches: Sequence[Sequence[Transaction]]
) -> None:
    replayer.register(1)
    run(database, SCORE, 57)
    read_at = replayer.now + SECOND + SECOND // 2
    show(database, QueueType.REQUIREMENTS_OUTSTANDING, read_at)
    run(database, SCORE, 12)
    replayer.commit(1, SIGNING)
    for batch in batches:
        run(database, "UPDATE leadstream.lanes SET version = greatest(version, %s)", read_at + 5 * SECOND)
        replayer.commit(1, *batch)
    assert rows(database, EARNED) == [("signature_obtained", 57), ("requirements_completed", 12)]
    assert rows(database, SEEN) == [("requirements_outstanding", 0)]


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("batches", [[[HANDING_IN, OWING_AGAIN]], [[HANDING_IN], [OWING_AGAIN]]])
def test_a_queue_that_history_enters_again_while_the_row_is_held_begins_at_0(
    replayer: Replayer, database: str, batches: Sequence[Sequence[Transaction]], shown: bool
) -> None:
    replayer.register(1)
    run(database, SCORE, 57)
    read_at = replayer.now + SECOND + SECOND // 2
    if shown:
        show(database, QueueType.REQUIREMENTS_OUTSTANDING, read_at)
    replayer.commit(1, SIGNING)
    run(database, SCORE, 12)
    with psycopg.connect(database) as agent:
        agent.execute("SELECT FROM user_call_scores FOR UPDATE")
        for batch in batches:
            run(database, "UPDATE leadstream.lanes SET version = greatest(version, %s)", read_at + 5 * SECOND)
            replayer.commit(1, *batch, past_held=True)
    replayer.commit(1, [(user(1, "file-1"), user(1, "file-1"))], past_held=True)
    assert rows(database, EARNED) == [("signature_obtained", 57), ("requirements_completed", 12)]
    assert rows(database, SEEN) == [("requirements_outstanding", 0)]


@pytest.mark.parametrize("given_up", [True, False])
@pytest.mark.parametrize(
    ("requirements", "shown", "left"),
    [
        ((requirement(1, 10),), QueueType.REQUIREMENTS_OUTSTANDING, 12),
        ((requirement(1, 10),), QueueType.NONE, 0),
        ((), QueueType.NONE, 12),
    ],
    ids=["where they are shown", "elsewhere", "in no queue"],
)
def test_a_conversion_that_a_read_finds_has_the_score_as_it_was_before_the_present_was_shown(
    replayer: Replayer,
    database: str,
    given_up: bool,
    requirements: tuple[RequirementRow, ...],
    shown: QueueType,
    left: int,
) -> None:
    """Their lane stands still and is given up, or has passed the first read without bringing what happened.

    Agents go on in the queue that is shown, and lose nothing where the second read finds the customer there, too.
    """
    replayer.register(1)
    run(database, SCORE, 57)
    first = replayer.now + 10 * SECOND
    show(database, shown, first)
    run(database, SCORE, 12)
    if not given_up:
        run(database, "UPDATE leadstream.lanes SET version = %s", first + 1)
    second = first + 600 * SECOND
    live = LiveState(user(1, "file-1"), (claim(1, 1),), requirements)
    with LeadStore(database, LANES, shadow=False, source="sweep") as sweeps, sweeps.transaction(past_held=True) as tx:
        outcome = Outcome()
        repair(tx.load([1])[1], live, second - 60 * SECOND, second, RULES, outcome)
        tx.write(outcome, {1} if given_up else set())
        queue_type = outcome.leads[1].queue_type
    assert rows(database, EARNED) == [("signature_obtained", 57)]
    assert queue_type is not None
    assert rows(database, SEEN) == [(RULES.label(queue_type), left)]
