"""The repairer against a company in memory: what is repaired, shown, left for later, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from threading import Event
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from consumer.lane import lane_of
from consumer.leads.model import (
    NEVER,
    ClaimRow,
    Conversion,
    ConversionType,
    Lead,
    QueueChange,
    QueueType,
    Reason,
    RequirementRow,
    UserRow,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import RuleFile
from consumer.leads.rules import Rules
from consumer.metrics import CONVERSIONS
from consumer.mysql.errors import ConnectionLost, LoginRefused, NotThere, PreconditionFailed, Refused, TooSlow
from consumer.mysql.live_read import LiveLead, LiveRead
from consumer.store.call_centre.entries import EntryDrift
from consumer.store.errors import RowLocked
from consumer.store.lanes import LanePoint
from consumer.store.leads import Present
from reconciler.runs import repair
from reconciler.runs.repair import (
    CHECKSUMS_AT_ONCE,
    LISTED,
    PUT_BACK,
    RECHECK_AGAIN_SECONDS,
    ROUNDS,
    STANDS_STILL,
    Basis,
    Candidate,
    Reading,
    Repairer,
    RunTally,
    ask_for_rechecks,
    ask_later,
    batches,
    piecewise,
    readable,
    reading,
    repair_lead,
    why,
)
from reconciler.runs.wait_for_stream import Stopped
from tests.unit.reconciler.runs.doubles import LANES, LONG_AGO, NOW, SECOND, BothSides, FakeStore, claimed, mates

MINUTE = 60 * SECOND
UNPASSED = "drift was not confirmed: the stream has yet to pass what was read"


def counts(tally: RunTally) -> dict[str, object]:
    """What a run counted, less what is nothing."""
    return {name: count for name, count in tally.as_counts().items() if count}


def checked(repairer: Repairer, *users: int) -> dict[str, object]:
    """What a check of these users finds, up to its end."""
    repairer.check(users)
    repairer.resolve()
    return counts(repairer.tally)


@pytest.fixture
def world() -> BothSides:
    return BothSides()


def test_who_has_the_same_checksum_is_in_step_and_not_read(world: BothSides) -> None:
    world.customer(1)
    world.customer(2, "f")
    assert checked(world.repairer(), 1, 2, 3) == {"checked": 3, "in_step": 3}
    assert (world.read, world.written, world.asked_checksums) == ([], [], [[1, 2, 3]])


def test_checksums_that_the_caller_knows_are_not_asked_for(world: BothSides) -> None:
    world.customer(1)
    repairer = world.repairer()
    repairer.check([1], known=world.sums([1], live=True))
    assert (world.asked_checksums, world.read) == ([], [])
    assert counts(repairer.tally) == {"checked": 1, "in_step": 1}


def test_drift_that_two_reads_show_is_repaired_and_listed(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.customer(2)
    assert checked(world.repairer(), 1, 2) == {
        "checked": 2, "in_step": 1, "repaired": 1, "queue_changes": 1, "drift": {"signature": 1},
        "conversions": {"signature_obtained": 1}, "drift_users": [1], "repaired_users": [1],
    }  # fmt: skip
    assert world.read == [[1], [1]]
    lead = world.leads[1]
    assert (lead.signature, lead.queue_type, lead.stint) == ("f1", QueueType.NONE, 2)
    assert lead.opened_at == NOW
    assert world.past_held == [True]
    assert (world.done, world.postponed) == ([1], {})


def test_who_the_rules_seem_to_put_elsewhere_is_read_and_repaired(world: BothSides) -> None:
    world.customer(1)
    world.leads[1].queue_type = QueueType.NONE
    world.misjudged = {1}
    assert checked(world.repairer(), 1)["drift"] == {"queue": 1}
    assert world.leads[1].queue_type is QueueType.UNSIGNED_USERS


def test_a_customer_nobody_knew_is_judged_for_the_first_time(world: BothSides) -> None:
    world.customer(1, held=False)
    assert checked(world.repairer(), 1) == {
        "checked": 1, "repaired": 1, "first_seen": 1, "drift": {"unknown": 1}, "drift_users": [1],
        "repaired_users": [1],
    }  # fmt: skip
    assert (world.leads[1].stint, world.leads[1].opened_at) == (1, NOW - MINUTE)


def test_what_the_stream_brings_meanwhile_is_no_drift(world: BothSides) -> None:
    world.customer(1, None, held="f1")
    repairer = world.repairer()
    repairer.check([1])
    world.customer(1, None)
    repairer.resolve()
    assert counts(repairer.tally) == {"checked": 1, "brought_by_stream": 1}


def test_counts_of_a_run_add_up_over_its_batches(world: BothSides) -> None:
    late, *soon = 3, *[user for user in range(4, 99) if lane_of(user, LANES) != lane_of(3, LANES)][:2]
    world.customer(late, "f1", held=None)
    world.lanes[lane_of(late, LANES)] = LanePoint(NOW - 1, 5)
    repairer = world.repairer(batch_size=1)
    for _ in range(2):
        for user in soon:
            world.customer(user, None, held="f1")
        repairer.check([late, *soon])
        for user in soon:
            world.customer(user)
        repairer.resolve()
    assert counts(repairer.tally) == {
        "checked": 6, "brought_by_stream": 4, "shown": 2, "left_to_recheck": 2,
        "conversions_waiting": {"signature_obtained": 2},
    }  # fmt: skip


def test_a_recheck_of_what_the_stream_brought_is_struck_off(world: BothSides) -> None:
    world.customer(1, None, held="f1")
    repairer = world.repairer()
    repairer.check([1])
    world.customer(1)
    repairer.resolve()
    assert world.done == [1]


def test_rows_that_change_at_every_look_are_left_for_later(world: BothSides) -> None:
    world.customer(1, "f0", held=None)
    world.later = [{1: LiveLead(UserRow(1, f"f{n}", True), {}, {}, {})} for n in range(1, 9)]
    assert checked(world.repairer(), 1) == {"checked": 1, "left_to_recheck": 1}
    assert len(world.read) == 1 + ROUNDS
    reason = "drift was not confirmed: its rows changed at every look"
    assert world.postponed == {1: (reason, RECHECK_AGAIN_SECONDS, False)}
    assert world.asked == {1: reason}
    assert world.leads[1].signature is None


def test_a_lane_has_to_pass_the_latest_of_its_reads(world: BothSides) -> None:
    mate, _ = mates(1)
    for user in (1, mate):
        world.customer(user, "f1", held=None)
    world.ends = [NOW + 5, NOW]
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW + 2, 5))
    assert checked(world.repairer(batch_size=1), 1, mate)["left_to_recheck"] == 2


def test_what_is_done_about_leads_is_logged_by_their_numbers_alone(world: BothSides, refusal: psycopg.Error) -> None:
    reason = why(refusal)
    for user in (1, 2):
        world.customer(user, "f1", held=None)
    world.refused = {2: refusal}
    world.wrong_entries = [EntryDrift(1, True, 0, 0), EntryDrift(2, True, 0, 0)]
    with capture_logs() as lines:
        checked(world.repairer(), 1, 2)
        world.repairer().check_entries([1, 2])
        world.refused = {2: RowLocked("held")}
        world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW - 1, 5))
        checked(world.repairer(), 2)
        world.clock = NOW - 11 * SECOND
        world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW, 5))
        checked(world.repairer(), 2)
    assert lines == [
        {"event": "lead_refused", "log_level": "error", "user_id": 2, "reason": reason},
        {"event": "drift_repaired", "log_level": "warning", "count": 1, "kinds": {"signature": 1}},
        {"event": "entries_refused", "log_level": "error", "user_id": 2, "reason": reason},
        {
            "event": "entries_repaired",
            "log_level": "warning",
            "count": 1,
            "user_ids": [1],
            "kinds": {"entry_missing": 1},
        },
        {"event": "lead_refused", "log_level": "error", "user_id": 2, "reason": "held"},
        {
            "event": "drift_not_confirmed",
            "log_level": "info",
            "count": 1,
            "reason": "the stream has yet to pass what was read",
        },
        {"event": "clock_put_back", "log_level": "warning", "address": "replica", "behind_seconds": 11},
        {"event": "drift_not_confirmed", "log_level": "info", "count": 1, "reason": PUT_BACK},
    ]


def test_a_row_that_settles_at_the_next_look_is_repaired_by_it(world: BothSides) -> None:
    world.customer(1, "f0", held=None)
    world.later = [{1: LiveLead(UserRow(1, "f1", True), {}, {}, {})}]
    found = checked(world.repairer(), 1)
    assert (found["repaired"], len(world.read), world.leads[1].signature) == (1, 3, "f1")


def test_ahead_of_its_history_a_lead_is_shown_where_it_is_and_waits(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    mate, other = mates(1)
    world.customer(other, "f1", held=None)
    lane = lane_of(1, LANES)
    world.lanes[lane] = LanePoint(NOW - 1, 5)
    assert checked(world.repairer(), 1, other) == {
        "checked": 2, "repaired": 1, "queue_changes": 1, "shown": 1, "left_to_recheck": 1,
        "conversions_waiting": {"signature_obtained": 1}, "conversions": {"signature_obtained": 1},
        "drift": {"signature": 1}, "drift_users": [other], "repaired_users": [other],
    }  # fmt: skip
    assert world.shown == [Present(1, QueueType.NONE, NOW)]
    assert world.leads[1].signature is None
    assert world.postponed == {1: (UNPASSED, RECHECK_AGAIN_SECONDS, False)}
    assert mate not in world.postponed


def test_a_document_that_waits_for_the_stream_is_counted_as_what_it_is(world: BothSides) -> None:
    world.customer(1, "f1")
    claimed(world, 1, "approved")
    world.misjudged = {1}
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW - 1, 5))
    found = checked(world.repairer(), 1)
    assert found["conversions_waiting"] == {"requirements_completed": 1}
    assert world.leads[1].requirements["70"].status == "pending"


def test_one_never_judged_waits_without_a_conversion(world: BothSides) -> None:
    world.customer(1, "f1", held=False)
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW - 1, 5))
    assert checked(world.repairer(), 1) == {"checked": 1, "shown": 1, "left_to_recheck": 1}
    world.leads[2] = Lead(2)
    world.live[2] = LiveLead(UserRow(2, "f", True), {}, {}, {})
    assert checked(world.repairer(), 2) == {"checked": 1, "shown": 1, "left_to_recheck": 1}


def test_a_dry_run_counts_what_waits_and_shows_nothing(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW - 1, 5))
    assert checked(world.repairer(dry_run=True), 1) == {
        "checked": 1, "left_to_recheck": 1, "conversions_waiting": {"signature_obtained": 1},
    }  # fmt: skip
    assert (world.shown, world.postponed, world.past_held) == ([], {}, [])


def test_who_is_shown_elsewhere_and_back_where_history_has_them_is_shown_there(world: BothSides) -> None:
    world.customer(1)
    world.customer(2)
    world.misjudged, world.elsewhere = {1, 2}, {1}
    assert checked(world.repairer(), 1, 2) == {"checked": 2, "in_step": 2, "shown": 1}
    assert world.shown == [Present(1, QueueType.UNSIGNED_USERS, NOW)]
    world.shown.clear()
    world.refused = {1: RowLocked("held")}
    assert checked(world.repairer(), 1)["refused"] == {"held": 1}
    world.refused = {}
    assert "shown" not in checked(world.repairer(dry_run=True), 1)
    world.lag = inf
    found = checked(world.repairer(), 1)
    assert ("shown" in found, found["left_to_recheck"]) == (False, 1)
    assert world.postponed[1][0] == f"drift was not confirmed: {STANDS_STILL}"
    assert world.shown == []


def test_where_an_applier_is_there_nothing_is_judged_before_it_has_moved_a_lane(world: BothSides) -> None:
    world.lanes = dict.fromkeys(range(LANES), LanePoint(0, 1, owner="applier"))
    world.customer(1, "f1")
    world.leads[1].judge_after = NEVER
    world.misjudged = {1}
    world.customer(2, "f1", held=None)
    told = checked(world.repairer(), 1, 2)
    assert (told["shown"], told["left_to_recheck"]) == (2, 2)
    assert world.leads[2].signature is None


def test_a_person_may_give_up_what_standing_lanes_have_yet_to_bring(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW - 1, 5))
    assert checked(world.repairer(gives_up=True), 1)["repaired"] == 1
    world.customer(2, "f1", held=None)
    assert checked(world.repairer(gives_up=True, still=99.0), 2)["left_to_recheck"] == 1, "it moves"


def test_the_call_centre_sees_at_once_what_was_given_up(world: BothSides) -> None:
    """Its lane never passes what the customer is shown by, so that nothing written later would ever be seen."""
    mate, other = mates(1)
    for user in (1, mate, other):
        world.customer(user, "f1", held=None)
    world.leads[mate].judge_after = NEVER
    world.lanes[lane_of(1, LANES)] = LanePoint(NOW - 2 * MINUTE, 5)
    world.misjudged = {mate}
    assert checked(world.repairer(gives_up=True), 1, mate, other)["repaired"] == 2
    assert world.settled == [{mate}, {1}]
    assert [outcome.leads.keys() for outcome in world.written] == [{mate}, {1, other}]


def test_whose_rows_were_held_is_seen_where_history_has_them_when_they_are_free(world: BothSides) -> None:
    world.unseen = [1, 2, 3]
    world.refused = {2: RowLocked("held")}
    repairer = world.repairer()
    with capture_logs() as lines:
        repairer.show_history()
    assert lines == [{"event": "history_not_shown", "log_level": "error", "user_id": 2, "reason": "held"}]
    assert world.loaded == [[1, 2, 3], [1], [2, 3], [2], [3]]
    assert set(world.past_held) == {True}
    assert [outcome.leads for outcome in world.written] == [{}, {}]
    assert counts(repairer.tally)["refused"] == {"held": 1}
    world.repairer(dry_run=True).show_history()
    assert len(world.loaded) == 5


def test_by_a_replica_that_stands_still_nothing_is_repaired(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.lag = inf
    assert checked(world.repairer(), 1) == {"checked": 1, "left_to_recheck": 1}
    assert world.postponed[1][0] == f"drift was not confirmed: {STANDS_STILL}"
    assert world.leads[1].signature is None


def test_by_a_replica_that_lags_a_row_newer_than_what_it_surely_holds_is_not_overruled(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.leads[1].version = NOW - MINUTE - 2 * SECOND
    world.lag = 3.0
    assert checked(world.repairer(), 1) == {"checked": 1, "left_to_recheck": 1}
    world.lag = 1.0
    assert checked(world.repairer(), 1)["repaired"] == 1


def test_a_first_sight_by_a_replica_that_lags_is_dated_by_what_it_surely_holds(world: BothSides) -> None:
    world.customer(1, held=False)
    world.lag = 3.0
    checked(world.repairer(), 1)
    assert world.leads[1].opened_at == NOW - MINUTE - 3 * SECOND


def test_a_master_lags_behind_nobody(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.lag = None
    assert checked(world.repairer(), 1)["repaired"] == 1


def test_behind_a_clock_that_was_put_back_nothing_is_repaired(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.clock = NOW - 11 * SECOND
    assert checked(world.repairer(), 1) == {"checked": 1, "left_to_recheck": 1}
    assert world.postponed[1][0] == f"drift was not confirmed: {PUT_BACK}"
    world.clock = NOW - 9 * SECOND
    assert checked(world.repairer(), 1)["repaired"] == 1


def test_a_dry_run_finds_the_same_and_writes_nothing(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    assert checked(world.repairer(dry_run=True), 1) == {
        "checked": 1, "repaired": 1, "drift": {"signature": 1}, "drift_users": [1], "repaired_users": [1],
    }  # fmt: skip
    assert (world.written, world.past_held, world.leads[1].stint) == ([], [], 1)


def test_a_lead_left_to_a_live_read_is_settled_at_once(world: BothSides) -> None:
    world.customer(1, "f1")
    world.leads[1].judge_after = NEVER
    world.misjudged = {1}
    repairer = world.repairer()
    repairer.check([1])
    assert counts(repairer.tally) == {"checked": 1, "settled": 1}
    assert (world.leads[1].judge_after, world.read, world.done) == (NOW, [[1]], [1])


def test_a_lead_left_to_a_live_read_waits_where_its_lane_lacks_what_the_read_surely_holds(world: BothSides) -> None:
    _, other = mates(1)
    for user in (1, other):
        world.customer(user, "f1")
        world.leads[user].judge_after = NEVER
    world.misjudged = {1, other}
    lane = lane_of(1, LANES)
    world.lanes[lane] = LanePoint(NOW - MINUTE - 1, 5)
    repairer = world.repairer()
    repairer.check([1, other])
    assert counts(repairer.tally) == {"checked": 2, "settled": 1, "shown": 1, "left_to_recheck": 1}
    assert (world.postponed[1][0], world.leads[1].judge_after) == (UNPASSED, NEVER)
    world.lanes[lane] = LanePoint(NOW - MINUTE, 5)
    assert checked(world.repairer(), 1)["settled"] == 1


def test_where_there_is_no_stream_nobody_waits_for_it(world: BothSides) -> None:
    world.lanes = dict.fromkeys(range(LANES), LanePoint(0, 1))
    world.customer(1, "f1")
    world.leads[1].judge_after = NEVER
    world.misjudged = {1}
    world.customer(2, "f1", held=None)
    assert checked(world.repairer(), 1, 2)["settled"] == 1
    assert world.leads[2].signature == "f1"


def test_a_stream_that_begins_while_a_sweep_repairs_is_left_its_history(
    world: BothSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.lanes = dict.fromkeys(range(LANES), LanePoint(0, 1))
    world.customer(1, "f1", held=None)
    repairer = world.repairer()
    passed = repairer._passed

    def begun(candidates: Sequence[Candidate]) -> list[Candidate]:
        world.lanes = dict.fromkeys(range(LANES), LanePoint(0, 1, owner="applier"))
        return passed(candidates)

    monkeypatch.setattr(repairer, "_passed", begun)
    told = checked(repairer, 1)
    assert (told["shown"], told["left_to_recheck"]) == (1, 1)
    assert world.leads[1].signature is None


def test_a_person_may_give_up_what_a_lead_left_to_a_live_read_waits_for(world: BothSides) -> None:
    world.customer(1, "f1")
    world.leads[1].judge_after = NEVER
    world.misjudged = {1}
    world.lanes = dict.fromkeys(range(LANES), LanePoint(LONG_AGO, 5))
    assert checked(world.repairer(), 1)["left_to_recheck"] == 1
    assert checked(world.repairer(gives_up=True), 1)["settled"] == 1


def test_a_lead_left_to_a_live_read_waits_while_replication_stands(world: BothSides) -> None:
    world.customer(1, "f1")
    world.leads[1].judge_after = NEVER
    world.misjudged = {1}
    world.lag = inf
    assert checked(world.repairer(), 1) == {"checked": 1, "left_to_recheck": 1}


def test_what_the_stream_wrote_in_the_last_minute_is_asked_for_again(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.leads[1].judge_after, world.leads[1].version = NEVER, NOW - MINUTE + 1
    world.misjudged = {1}
    checked(world.repairer(), 1)
    assert world.asked[1]
    assert world.postponed[1] == ("too fresh to be repaired", RECHECK_AGAIN_SECONDS, False)
    assert world.done == []


def test_due_rechecks_are_processed_once_and_struck_off(world: BothSides) -> None:
    world.customer(1)
    world.customer(2, "f1", held=None)
    world.customer(3)
    world.due = [1, 2]
    repairer = world.repairer()
    repairer.recheck_due()
    assert counts(repairer.tally)["rechecks"] == 2
    assert counts(repairer.tally)["checked"] == 2
    assert (sorted(world.done), world.due) == ([1, 2], [])
    world.done.clear()
    repairer.check([3], known={})
    assert world.done == [], "only a recheck is struck off"


def test_rechecks_of_whom_the_stream_has_brought_everything_are_struck_off_by_their_checksums(
    world: BothSides,
) -> None:
    for user in range(1, 6):
        world.customer(user, "f1")
    world.due = [1, 2, 3, 4, 5]
    repairer = world.repairer()
    repairer.recheck_due()
    assert counts(repairer.tally) == {"checked": 5, "in_step": 5, "rechecks": 5}
    assert (sorted(world.done), world.due, world.read) == ([1, 2, 3, 4, 5], [], [])
    assert world.asked_checksums == [[1, 2, 3, 4, 5]]


def test_a_recheck_of_whom_only_the_rows_show_to_be_in_step_is_struck_off(world: BothSides) -> None:
    world.customer(1)
    world.misjudged = {1}
    world.due = [1]
    repairer = world.repairer()
    repairer.recheck_due()
    assert counts(repairer.tally) == {"checked": 1, "in_step": 1, "rechecks": 1}
    assert (world.done, world.due, world.read) == ([1], [], [[1]])


@pytest.mark.parametrize("held", [True, False])
def test_a_recheck_of_whom_no_checksum_can_be_had_stays(world: BothSides, held: bool) -> None:
    world.customer(1, "f1", held=held)
    world.unreadable = {1: TooSlow("too slow")}
    world.due = [1]
    repairer = world.repairer()
    repairer.recheck_due()
    assert counts(repairer.tally)["failed"] == 1
    assert (world.done, list(world.postponed)) == ([], [1])


@pytest.mark.parametrize("due", [False, True])
def test_three_who_are_too_slow_stop_nobody_for_good(world: BothSides, due: bool) -> None:
    """Far apart among others, or side by side among those who are due: then one run fails, and the next gets by."""
    slow = [2, 9, 17]
    for user in range(1, 21):
        world.customer(user, "f1")
    world.unreadable = {user: TooSlow("too slow") for user in slow}
    if due:
        world.due = [*slow, 18, 19, 20]
        with pytest.raises(TooSlow):
            world.repairer().recheck_due()
        world.repairer().recheck_due()
        assert world.done == [18, 19, 20]
    else:
        assert checked(world.repairer(), *range(1, 21))["in_step"] == 17
    assert list(world.postponed) == slow


def test_a_dry_run_of_rechecks_ends_though_they_stay_due(world: BothSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "RECHECKS_AT_ONCE", 2)
    for user in range(1, 6):
        world.customer(user)
    world.due = [1, 2, 3, 4, 5]
    repairer = world.repairer(dry_run=True)
    repairer.recheck_due()
    assert counts(repairer.tally) == {"checked": 5, "in_step": 5, "rechecks": 5}
    assert world.due == [1, 2, 3, 4, 5]


def test_rechecks_that_stay_due_are_not_asked_for_twice(world: BothSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "RECHECKS_AT_ONCE", 2)
    monkeypatch.setattr(Repairer, "_done", lambda *_: None)
    for user in range(1, 6):
        world.customer(user)
    world.due = [1, 2, 3, 4, 5]
    repairer = world.repairer()
    repairer.recheck_due()
    assert counts(repairer.tally)["rechecks"] == 2, (
        "what stays due was asked for again: its time comes with another run"
    )


@pytest.fixture
def refusal() -> psycopg.Error:
    return psycopg.errors.CheckViolation("no")


def test_one_that_postgresql_refuses_holds_up_nobody(world: BothSides, refusal: psycopg.Error) -> None:
    for user in (1, 2, 3):
        world.customer(user, "f1", held=None)
    world.refused = {2: refusal}
    found = checked(world.repairer(), 1, 2, 3)
    reason = why(refusal)
    assert (found["repaired_users"], found["failed"], found["refused"]) == ([1, 3], 1, {reason: 1})
    assert world.postponed == {2: (reason, RECHECK_AGAIN_SECONDS, True)}


def test_one_that_cannot_be_shown_holds_up_nobody(world: BothSides) -> None:
    for user in (1, 2):
        world.customer(user, "f1", held=None)
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW - 1, 5))
    world.refused = {2: RowLocked("held")}
    found = checked(world.repairer(), 1, 2)
    assert (found["shown"], found["failed"], found["refused"]) == (1, 1, {"held": 1})
    assert found["left_to_recheck"] == 2


def test_one_that_cannot_be_read_holds_up_nobody(world: BothSides) -> None:
    for user in (1, 2, 3):
        world.customer(user, "f1", held=None)
    world.unreadable = {2: TooSlow("too slow")}
    found = checked(world.repairer(), 1, 2, 3)
    assert (found["repaired_users"], found["failed"]) == ([1, 3], 1), "it counts once, whatever was asked of it"
    assert world.postponed == {2: ("too slow", RECHECK_AGAIN_SECONDS, True)}


@pytest.mark.parametrize(
    "error", [ConnectionLost("away"), LoginRefused("who?"), PreconditionFailed("unfit"), NotThere("gone")]
)
def test_a_replica_that_is_away_ends_the_run(world: BothSides, error: Exception) -> None:
    world.customer(1, "f1", held=None)
    world.customer(2, "f1", held=None)
    world.unreadable = {2: error}
    with pytest.raises(type(error)):
        checked(world.repairer(), 1, 2)


def test_one_that_cannot_be_read_once_more_holds_up_nobody(world: BothSides) -> None:
    for user in (1, 2):
        world.customer(user, "f1", held=None)
    repairer = world.repairer()
    repairer.check([1, 2])
    world.unreadable = {2: TooSlow("too slow")}
    with capture_logs() as lines:
        repairer.resolve()
    assert (repairer.tally.repaired, dict(repairer.tally.refused)) == (1, {"too slow": 1})
    assert world.postponed == {2: ("too slow", RECHECK_AGAIN_SECONDS, True)}
    assert {"event": "lead_not_read", "log_level": "error", "user_id": 2, "reason": "too slow"} in lines


def test_rows_that_change_at_every_look_are_left_for_later_in_every_batch(world: BothSides) -> None:
    for user in (1, 2):
        world.customer(user, "f0", held=None)
    world.later = [{user: LiveLead(UserRow(user, f"f{n}", True), {}, {}, {}) for user in (1, 2)} for n in range(1, 9)]
    assert checked(world.repairer(batch_size=1), 1, 2) == {"checked": 2, "left_to_recheck": 2}


def test_leads_are_shown_a_batch_at_a_time_and_whoever_holds_one_is_not_waited_for(world: BothSides) -> None:
    for user in (1, 2, 3):
        world.customer(user, "f1", held=None)
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW - 1, 5))
    assert checked(world.repairer(batch_size=2), 1, 2, 3)["shown"] == 3
    assert world.past_held == [True, True, False], "the last one asks for rechecks"


def test_what_is_in_step_is_counted_over_all_that_are_condensed_at_once(
    world: BothSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "CHECKSUMS_AT_ONCE", 2)
    for user in (1, 2, 3):
        world.customer(user)
    assert checked(world.repairer(), 1, 2, 3) == {"checked": 3, "in_step": 3}


def test_a_conversion_that_a_repair_finds_is_counted_as_a_sweeps(world: BothSides) -> None:
    counted = CONVERSIONS.labels(ConversionType.SIGNATURE_OBTAINED, "sweep")._value
    before = counted.get()
    world.customer(1, "f1", held=None)
    checked(world.repairer(), 1)
    assert counted.get() == before + 1


def test_a_check_strikes_off_no_recheck_of_who_is_in_step(world: BothSides) -> None:
    world.customer(1)
    world.misjudged = {1}
    assert checked(world.repairer(), 1) == {"checked": 1, "in_step": 1}
    assert world.done == []


def test_a_run_stops_between_batches(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    repairer = world.repairer()
    repairer.check([1])
    world.stop.set()
    for step in (repairer.resolve, lambda: repairer.check([1]), repairer.recheck_due):
        world.due = [1]
        with pytest.raises(Stopped):
            step()


def test_leads_are_read_and_written_a_batch_at_a_time(world: BothSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "CANDIDATES_AT_ONCE", 4)
    monkeypatch.setattr(repair, "CHECKSUMS_AT_ONCE", 5)
    for user in range(1, 7):
        world.customer(user, "f1", held=None)
    repairer = world.repairer(batch_size=2)
    repairer.check(range(1, 7))
    assert world.asked_checksums == [[1, 2, 3, 4, 5], [6]]
    assert world.read == [[1, 2], [3, 4], [1, 2], [3, 4], [5], [6]]
    repairer.resolve()
    assert world.read[6:] == [[5, 6]]
    assert len(world.written) == 3
    repairer.resolve()
    assert len(world.read) == 7, "nothing is left"


WRONG = [EntryDrift(1, True, 0, 0), EntryDrift(2, False, 2, 1)]
KINDS = {"entry_missing": 1, "entry_stale": 1, "entry_double": 1}


def test_entries_are_put_right_and_counted(world: BothSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "ENTRIES_AT_ONCE", 2)
    world.wrong_entries = list(WRONG)
    repairer = world.repairer()
    repairer.check_entries([1, 3, 2])
    assert counts(repairer.tally) == {"entries_repaired": 2, "drift": KINDS, "drift_users": [1, 2]}
    assert (world.wrong_entries, world.past_held) == ([], [True, True])


def test_a_dry_run_counts_entries_and_leaves_them(world: BothSides) -> None:
    world.wrong_entries = list(WRONG)
    repairer = world.repairer(dry_run=True)
    repairer.check_entries([1, 2])
    assert counts(repairer.tally) == {"drift": KINDS, "drift_users": [1, 2]}
    assert (world.wrong_entries, world.past_held) == (WRONG, [])


def test_entries_that_are_refused_hold_up_nobody(world: BothSides, refusal: psycopg.Error) -> None:
    world.wrong_entries = list(WRONG)
    world.refused = {1: refusal}
    repairer = world.repairer()
    repairer.check_entries([1, 2])
    assert counts(repairer.tally) == {
        "entries_repaired": 1, "failed": 1, "refused": {why(refusal): 1},
        "drift": {"entry_stale": 1, "entry_double": 1}, "drift_users": [2],
    }  # fmt: skip


def test_entries_that_another_session_holds_are_left_for_later(world: BothSides) -> None:
    world.wrong_entries = list(WRONG)
    world.held_entries = {1}
    repairer = world.repairer()
    with capture_logs() as lines:
        repairer.check_entries([1, 2])
    assert counts(repairer.tally) == {
        "entries_repaired": 1, "left_to_recheck": 1, "drift": {"entry_stale": 1, "entry_double": 1},
        "drift_users": [2],
    }  # fmt: skip
    assert lines == [
        {
            "event": "entries_repaired",
            "log_level": "warning",
            "count": 1,
            "user_ids": [2],
            "kinds": {"entry_stale": 1, "entry_double": 1},
        },
        {
            "event": "entries_held",
            "log_level": "info",
            "count": 1,
            "user_ids": [1],
            "reason": "another session holds their rows",
        },
    ]


def test_entries_that_others_put_right_meanwhile_are_not_counted(world: BothSides) -> None:
    repairer = world.repairer()
    repairer.repair_entries(WRONG)
    assert counts(repairer.tally) == {}


def test_a_read_holds_for_certain_what_was_committed_a_minute_before() -> None:
    live = LiveRead(NOW, NOW + 2, {})
    assert reading(live, whole_seconds=False) == Reading(NOW - MINUTE, NOW + 2)
    assert reading(live, whole_seconds=True) == Reading(NOW - MINUTE, NOW + SECOND)
    assert Reading(10, 20).behind(3) == Reading(7, 20)


def test_versions_of_whole_seconds_have_passed_a_read_only_behind_its_second(world: BothSides) -> None:
    world.mariadb = True
    world.customer(1, "f1", held=None)
    assert checked(world.repairer(), 1)["left_to_recheck"] == 1
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW + SECOND, 5))
    assert checked(world.repairer(), 1)["repaired"] == 1


def test_how_far_lanes_have_come_is_asked_only_where_rules_changed(world: BothSides) -> None:
    tx: Any = FakeStore(world).transaction().__enter__()
    assert Basis.of(tx, [Lead(1)]) == Basis(world.rules, {})
    world.rules = Rules(RuleFile(), version=2, earlier={1: world.rules})
    world.lanes = {lane: LanePoint(100 + lane, 5) for lane in range(LANES)}
    tx = FakeStore(world).transaction().__enter__()
    known = Basis.of(tx, [Lead(1)])
    assert known.lane_versions == {lane: 100 + lane for lane in range(LANES)}
    assert [known.until(user) for user in range(9)] == [100 + lane_of(user, LANES) for user in range(9)]
    assert Basis.of(tx, [Lead(1, rules_version=2)]).until(1) == 0


def test_newer_rules_are_dated_by_the_lane_and_earn_nothing(world: BothSides) -> None:
    world.customer(1, "f1")
    claimed(world, 1, "waived")
    world.leads[1].requirements["70"].status = "waived"
    world.rules = Rules(
        RuleFile(settled=("approved", "waived")), version=2, adopted_at=NOW + 5, earlier={1: world.rules}
    )
    world.misjudged = {1}
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW + 1, 5))
    found = checked(world.repairer(), 1)
    assert (found["drift"], "conversions" in found) == ({"queue": 1}, False)
    lead = world.leads[1]
    assert (lead.queue_type, lead.rules_version, lead.opened_at) == (QueueType.NONE, 2, NOW + 1)


def test_whom_older_rules_put_elsewhere_is_brought_to_the_new_ones_though_no_stream_ever_lets_him_be_judged(
    world: BothSides,
) -> None:
    world.lanes = dict.fromkeys(range(LANES), LanePoint(0, 1))
    world.customer(1, "f1")
    claimed(world, 1, "waived")
    lead = world.leads[1]
    lead.requirements["70"].status = "waived"
    lead.read_floor, lead.judge_after = LONG_AGO - MINUTE, LONG_AGO
    world.rules = Rules(RuleFile(settled=("waived",)), version=2, adopted_at=NOW - 5, earlier={1: world.rules})
    world.due, world.misjudged = [1], {1}
    repairer = world.repairer()
    repairer.recheck_due()
    found = counts(repairer.tally)
    assert (found["drift"], "conversions" in found, world.done) == ({"queue": 1}, False, [1])
    lead = world.leads[1]
    assert (lead.queue_type, lead.rules_version, lead.opened_at) == (QueueType.NONE, 2, NOW - 5)


def test_a_lead_that_differs_still_is_asked_for_again() -> None:
    lead = Lead(1, exists=True, stint=1, queue_type=QueueType.UNSIGNED_USERS, version=NOW)
    outcome = Outcome()
    live = LiveLead(UserRow(1, "f1", True), {}, {}, {})
    repair_lead(lead, live, Reading(NOW - MINUTE, NOW), Basis(Rules(), {}), outcome)
    assert list(outcome.rechecks) == [1]
    outcome = Outcome()
    repair_lead(replace(lead, version=1), live, Reading(NOW - MINUTE, NOW), Basis(Rules(), {}), outcome)
    assert outcome.rechecks == {}
    assert outcome.leads[1].signature == "f1"
    outcome = Outcome()
    also_a_claim = live._replace(claims={"7": ClaimRow("7", 1, "open")})
    repair_lead(lead, also_a_claim, Reading(NOW - MINUTE, NOW), Basis(Rules(), {}), outcome)
    assert list(outcome.leads[1].claims) == ["7"]
    assert outcome.rechecks == {1: "the stream wrote a row in the minute before MySQL was read"}


def test_a_lead_of_the_same_rows_in_another_queue_is_asked_for_again_where_the_read_was_overtaken(
    world: BothSides,
) -> None:
    world.customer(1, "f1")
    claimed(world, 1, "pending")
    lead, outcome = world.leads[1], Outcome()
    lead.queue_type, lead.read_floor = QueueType.NONE, NOW
    repair_lead(lead, world.live[1], Reading(NOW - MINUTE, NOW), Basis(Rules(), {}), outcome)
    assert list(outcome.rechecks) == [1]
    assert lead.queue_type is QueueType.NONE


def test_what_a_transaction_did_is_counted_but_conversions_that_were_there() -> None:
    def change(user_id: int, *, first: bool) -> QueueChange:
        return QueueChange(user_id, QueueType.NONE, frozenset(), False, first, Reason.READ_LIVE, 1)

    def conversion(user_id: int, stint: int) -> Conversion:
        kind = ConversionType.SIGNATURE_OBTAINED
        return Conversion(user_id, stint, QueueType.UNSIGNED_USERS, kind, 1, "f", (), None)

    outcome = Outcome(queue_changes={user: change(user, first=user < 3) for user in range(1, 6)})
    outcome.conversions = [conversion(1, 1), conversion(2, 1), conversion(2, 2)]
    outcome.there = {(2, 1)}
    tally = RunTally()
    tally.take(outcome)
    tally.take(outcome)
    assert counts(tally) == {"first_seen": 4, "queue_changes": 6, "conversions": {"signature_obtained": 4}}


def test_lists_of_customers_are_bounded_and_name_each_once() -> None:
    tally = RunTally()
    tally.list_drift([3, 1, 3])
    tally.list_drift([2])
    assert tally.as_counts()["drift_users"] == [3, 1, 2]
    tally.repair(range(LISTED + 5))
    assert (tally.repaired, len(tally.repaired_users)) == (LISTED + 5, LISTED)
    tally.repair([1, 2])
    assert (tally.repaired, len(tally.repaired_users)) == (LISTED + 7, LISTED)
    tally.list_drift(range(10, LISTED + 10))
    assert len(tally.drift_users) == LISTED


def test_refusals_are_a_sentence() -> None:
    tally = RunTally(checked=3)
    assert tally.refusal() is None
    for _ in range(1200):
        tally.refuse("a")
    assert tally.refusal() == "1,200 of 1,200 leads were refused: a (1,200)"


def test_every_count_is_reported() -> None:
    tally = RunTally(
        checked=1, in_step=2, brought_by_stream=3, conversions_published=4, entries_repaired=5, repaired=6, settled=7,
        first_seen=8, queue_changes=9, shown=10, left_to_recheck=11, failed=12, unheld=13, rechecks=14,
    )  # fmt: skip
    assert counts(tally) == {
        "checked": 1, "in_step": 2, "brought_by_stream": 3, "conversions_published": 4, "entries_repaired": 5,
        "repaired": 6, "settled": 7, "first_seen": 8, "queue_changes": 9, "shown": 10, "left_to_recheck": 11,
        "failed": 12, "unheld": 13, "rechecks": 14,
    }  # fmt: skip
    assert set(tally.as_counts()) > {"conversions_waiting", "refused", "drift", "conversions", "drift_users"}


def test_work_that_is_refused_is_done_in_halves() -> None:
    tried: list[list[int]] = []
    refused: list[int] = []

    def work(items: Any) -> int:
        tried.append(list(items))
        if 3 in items:
            raise psycopg.errors.CheckViolation("no")
        return len(items)

    assert piecewise(work, [1, 2, 3, 4, 5], lambda item, _: refused.append(item)) == [2, 2]
    assert tried == [[1, 2, 3, 4, 5], [1, 2], [3, 4, 5], [3], [4, 5]]
    assert refused == [3]


def test_what_is_unreadable_is_found_in_halves() -> None:
    unread: list[tuple[int, str]] = []

    def read(items: Any) -> int:
        if 3 in items:
            raise TooSlow("slow")
        return sum(items)

    found = readable(read, [1, 2, 3, 4, 5], lambda item, error: unread.append((item, str(error))), Event())
    assert found == [([1, 2], 3), ([4, 5], 9)]
    assert unread == [(3, "slow")]
    assert readable(read, [], lambda *_: None, Event()) == []


def test_a_replica_that_is_slow_for_everybody_is_soon_asked_no_more() -> None:
    asked: list[int] = []

    def read(items: Any) -> int:
        asked.append(len(items))
        raise TooSlow("slow")

    with pytest.raises(TooSlow):
        readable(read, range(CHECKSUMS_AT_ONCE), lambda *_: None, Event())
    assert len(asked) < 20, "it is a few statements, not one for each of them"


def test_customers_too_slow_to_be_read_are_left_out_wherever_they_are_as_long_as_others_are_read() -> None:
    slow, unread = {1, 2, 50, 51, 98, 99}, set[int]()

    def read(items: Any) -> list[int]:
        if slow.intersection(items):
            raise TooSlow("slow")
        return list(items)

    found = readable(read, range(100), lambda item, _: unread.add(item), Event())
    assert [item for _, items in found for item in items] == [item for item in range(100) if item not in slow]
    assert unread == slow


def test_customers_whom_the_replica_refuses_each_are_left_out_however_many_they_are() -> None:
    unread: list[int] = []

    def read(_: Any) -> int:
        raise Refused("no")

    assert readable(read, range(10), lambda item, _: unread.append(item), Event()) == []
    assert unread == list(range(10))


def test_whoever_is_told_to_stop_reads_no_smaller_pieces() -> None:
    asked: list[int] = []
    stop = Event()

    def read(items: Any) -> int:
        asked.append(len(items))
        stop.set()
        raise TooSlow("slow")

    with pytest.raises(Stopped):
        readable(read, range(100), lambda *_: None, stop)
    assert asked == [100]


def test_a_run_whose_replica_is_too_slow_for_everybody_fails(world: BothSides) -> None:
    for user in range(1, 11):
        world.customer(user, "f1", held=None)
    world.unreadable = {user: TooSlow("too slow") for user in range(1, 11)}
    with pytest.raises(TooSlow):
        checked(world.repairer(), *range(1, 11))
    assert len(world.asked_checksums) < 10


def test_batches_are_of_one_size_but_the_last() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []


def test_rechecks_are_asked_for_at_once_or_later(world: BothSides) -> None:
    store: Any = FakeStore(world)
    ask_for_rechecks(store, {1, 2}, "said so")
    assert (world.asked, world.postponed) == ({1: "said so", 2: "said so"}, {})
    tx: Any = store.transaction().__enter__()
    ask_later(tx, [3], "later", doubled=True)
    ask_later(tx, [4], "later")
    assert world.asked[3] == world.asked[4] == "later"
    assert world.postponed == {
        3: ("later", RECHECK_AGAIN_SECONDS, True),
        4: ("later", RECHECK_AGAIN_SECONDS, False),
    }


def test_what_ended_a_run_is_said_without_a_word_of_a_row() -> None:
    assert why(ConnectionLost("replica:3306 is away")) == "replica:3306 is away"
    assert "secret" not in why(psycopg.errors.CheckViolation("secret"))


def test_a_repairer_works_by_default_on_a_hundred_and_writes() -> None:
    world = BothSides()
    given: Any = world.repairer()
    plain = Repairer(given.replica, given.store, given.postgres, given._monitor, stop=Event())
    assert (plain.dry_run, plain._batch_size, plain._gives_up) == (False, 100, False)


def test_a_lead_is_repaired_by_rows_that_its_lane_has_passed_and_no_newer_ones(world: BothSides) -> None:
    """What changed since the first look is on its way in the stream, and may be a conversion that no look shows."""
    world.customer(1, "f1", held=None)
    user, claim = UserRow(1, "f1", True), ClaimRow("7", 1, "open")
    world.later = [
        {1: LiveLead(user, {"7": claim}, {f"{n}": RequirementRow(f"{n}", "7", "id", "pending", None)}, {})}
        for n in range(1, ROUNDS + 1)
    ]  # fmt: skip
    assert checked(world.repairer(), 1) == {"checked": 1, "left_to_recheck": 1}
    assert not any(outcome.leads for outcome in world.written)


def test_a_repair_is_dated_by_the_look_that_the_lane_has_passed(world: BothSides) -> None:
    world.customer(1, "f1", held=None)
    world.lanes = dict.fromkeys(range(LANES), LanePoint(NOW + SECOND, 5))
    world.ends = [NOW + SECOND, NOW + MINUTE]
    assert checked(world.repairer(), 1)["repaired"] == 1
    assert world.leads[1].judge_after == NOW + SECOND
