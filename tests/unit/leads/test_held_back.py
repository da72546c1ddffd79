"""Changes that could not be read, or were missed in the midst of a transaction: nobody is judged on half of one."""

from __future__ import annotations

import pytest

from consumer.leads.ledger import replay
from consumer.leads.live_read import repair
from consumer.leads.model import (
    NEVER,
    Change,
    ClaimRow,
    Lead,
    LiveState,
    RequirementRow,
    Row,
    Table,
    UserRow,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules

MINUTE = 60_000_000
TABLES = {UserRow: Table.USERS, ClaimRow: Table.CLAIMS, RequirementRow: Table.CLAIM_REQUIREMENTS}
ASKED = RequirementRow("100", "10", "payslip", "pending", None)
APPROVED = ASKED._replace(status="approved")


def change(at: int, before: Row | None, after: Row | None, *, last: bool = True) -> Change:
    return Change(1, TABLES[type(after or before)], before, after, at, at, last)


def owing() -> tuple[dict[int, Lead], int]:
    """A customer who signed and owes one document, and where the lane stands."""
    leads: dict[int, Lead] = {}
    rows: list[Row] = [UserRow(1, "s", True), ClaimRow("10", 1, "open"), ASKED]
    version = replay([change(at, None, row) for at, row in enumerate(rows, 1)], leads, 0, Rules(), Outcome())
    return leads, version


def test_a_customer_is_not_judged_where_a_change_of_the_transaction_could_not_be_read() -> None:
    leads, version = owing()
    outcome = Outcome()
    unread = Change(1, Table.CLAIM_REQUIREMENTS, None, None, 9, 9, True, False, "no such column")
    replay([change(9, ASKED, APPROVED, last=False), unread], leads, version, Rules(), outcome)
    assert not outcome.conversions
    assert leads[1].judge_after == NEVER
    assert leads[1].requirements["100"].status == "approved"
    assert outcome.rechecks == {1: "no such column"}


def test_a_customer_met_by_an_unreadable_change_waits_for_a_live_read_even_when_inserted() -> None:
    leads: dict[int, Lead] = {}
    outcome = Outcome()
    unread = Change(1, Table.USERS, None, None, 9, 9, True, False, "no such column")
    replay([unread], leads, 0, Rules(), outcome)
    assert leads[1].judge_after == NEVER
    replay([change(10, None, UserRow(1, "s", True))], leads, 9, Rules(), outcome)
    assert leads[1].judge_after == NEVER


def test_half_a_transaction_is_not_judged_where_the_other_half_was_purged() -> None:
    leads, version = owing()
    version = replay([change(MINUTE, ASKED, APPROVED, last=False)], leads, version, Rules(), Outcome())
    assert leads[1].judge_after == MINUTE
    outcome = Outcome()
    purged = Change(-1, None, None, None, 2 * MINUTE, 2 * MINUTE, True, False, "binlogs were purged")
    replay([purged], leads, version, Rules(), outcome)
    assert not outcome.conversions
    assert leads[1].judge_after == NEVER
    assert outcome.rechecks == {1: "binlogs were purged"}


def test_neither_is_it_where_both_come_in_one_batch() -> None:
    leads, version = owing()
    outcome = Outcome()
    purged = Change(-1, None, None, None, 2 * MINUTE, 2 * MINUTE, True, False, "binlogs were purged")
    replay([change(MINUTE, ASKED, APPROVED, last=False), purged], leads, version, Rules(), outcome)
    assert not outcome.conversions
    assert leads[1].judge_after == NEVER


def test_who_changes_in_the_rest_of_a_transaction_of_which_a_row_could_not_be_read_waits_for_a_live_read() -> None:
    leads, version = owing()
    outcome = Outcome()
    missed = Change(-1, None, None, None, MINUTE, MINUTE, False, False, "columns without names")
    version = replay([missed, change(MINUTE, ASKED, APPROVED)], leads, version, Rules(), outcome)
    assert not outcome.conversions
    assert leads[1].judge_after == NEVER
    assert outcome.rechecks == {1: "columns without names"}


def test_neither_is_who_changes_there_in_another_batch() -> None:
    leads, version = owing()
    missed = Change(-1, None, None, None, MINUTE, MINUTE, False, False, "columns without names")
    version = replay([missed], leads, version, Rules(), Outcome())
    outcome = Outcome()
    replay([change(MINUTE, ASKED, APPROVED)], leads, version, Rules(), outcome)
    assert not outcome.conversions
    assert leads[1].judge_after == NEVER


def test_where_changes_are_lost_nobody_is_judged_who_was_known_by_then() -> None:
    leads, version = owing()
    outcome = Outcome()
    lost = Change(-1, None, None, None, MINUTE - 1, MINUTE, True, True, "changes are lost")
    newcomer = Change(2, Table.USERS, None, UserRow(2, None, True), 2 * MINUTE, 2 * MINUTE, True)
    signs = newcomer._replace(before=newcomer.after, after=UserRow(2, "s", True), version=3 * MINUTE, at=3 * MINUTE)
    replay([lost, change(MINUTE, ASKED, APPROVED), newcomer, signs], leads, version, Rules(), outcome)
    assert {conversion.user_id for conversion in outcome.conversions} == {2}
    assert (leads[1].judge_after, leads[2].judge_after) == (NEVER, None)
    assert outcome.rechecks == {1: "changes are lost"}


def test_who_was_judged_before_a_column_was_altered_is_judged_on() -> None:
    leads, version = owing()
    outcome = Outcome()
    altered = Change(-1, None, None, None, MINUTE, MINUTE, True, False, "MODIFY of users")
    replay([altered, change(2 * MINUTE, ASKED, APPROVED)], leads, version, Rules(), outcome)
    assert len(outcome.conversions) == 1


NOTICE = 60 * MINUTE
SAW = Change(-1, None, None, None, NOTICE, NOTICE, True, True, "rows not in the binlog")
UNREAD = Change(1, Table.CLAIM_REQUIREMENTS, None, None, NOTICE, NOTICE, True, False, "no such column")
LIVE = LiveState(UserRow(1, "s", True), [ClaimRow("10", 1, "open")], [APPROVED])


@pytest.mark.parametrize("missed", [SAW, UNREAD])
def test_what_was_missed_is_dated_by_what_tells_of_it(missed: Change) -> None:
    """Not by the last change before, which may be months old."""
    leads, version = owing()
    replay([missed], leads, version, Rules(), Outcome())
    outcome = Outcome()
    repair(leads[1], LIVE, 2 * NOTICE, 3 * NOTICE, Rules(), outcome)
    assert [conversion.converted_at for conversion in outcome.conversions] == [NOTICE]


@pytest.mark.parametrize("missed", [SAW, UNREAD])
def test_a_live_read_from_before_what_was_missed_settles_nothing(missed: Change) -> None:
    """It saw the document approved, and not the one that was asked for unseen afterwards."""
    leads, version = owing()
    replay([missed], leads, version, Rules(), Outcome())
    outcome = Outcome()
    repair(leads[1], LIVE, NOTICE - 2, NOTICE - 1, Rules(), outcome)
    assert not outcome.conversions
    assert leads[1].judge_after == NEVER
    assert set(outcome.rechecks) == {1}


def test_changes_of_the_same_transaction_still_count_behind_what_was_missed() -> None:
    leads, version = owing()
    replay([SAW._replace(last=False), change(NOTICE, ASKED, APPROVED)], leads, version, Rules(), Outcome())
    assert leads[1].requirements["100"].status == "approved"
