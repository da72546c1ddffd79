"""Rows into a lead, one by one: what is newer counts, what goes takes its own along, and what was altered is named."""

from __future__ import annotations

from copy import deepcopy

import pytest

from consumer.leads.merge_row import holds, merge, put, remove, version_held
from consumer.leads.model import (
    Change,
    Claim,
    ClaimRow,
    Lead,
    Requirement,
    RequirementRow,
    Row,
    Table,
    Ties,
    UserRow,
)
from consumer.leads.outcome import Outcome

USER = UserRow(1, "f", True)
CLAIM = ClaimRow("7", 1, "open")
ASKED = RequirementRow("70", "7", "passport", "pending", "blurred")
TABLES = {UserRow: Table.USERS, ClaimRow: Table.CLAIMS, RequirementRow: Table.CLAIM_REQUIREMENTS}


def held() -> Lead:
    """A customer with two claims and a document on each, all of version 10."""
    lead = Lead(1, True, True, "f", version=10)
    lead.claims = {"7": Claim("7", "open", 10), "8": Claim("8", "open", 10)}
    lead.requirements = {
        "70": Requirement("70", "7", "passport", "pending", "blurred", 10),
        "80": Requirement("80", "8", "passport", "pending", None, 10),
    }
    return lead


def change(before: Row | None, after: Row | None, version: int = 20, ties: Ties | None = None) -> Change:
    row = after or before
    assert row is not None
    return Change(1, TABLES[type(row)], before, after, version, version + 5, True, ties=ties)


@pytest.mark.parametrize("row", [USER, CLAIM, ASKED])
def test_a_row_that_comes_is_held_with_its_version(row: Row) -> None:
    lead, outcome = Lead(1), Outcome()
    assert holds(lead, row) is False
    assert put(lead, row, 5, outcome) is True
    assert holds(lead, row) is True
    assert version_held(lead, row) == 5
    assert outcome.claims == ({(1, "7")} if row is CLAIM else set())
    assert outcome.requirements == ({(1, "70")} if row is ASKED else set())


OTHERS: list[Row] = [
    USER._replace(signature="g"),
    USER._replace(enabled=False),
    CLAIM._replace(status="paused"),
    ASKED._replace(status="approved"),
    ASKED._replace(type="payslip"),
    ASKED._replace(reason=None),
    ASKED._replace(claim_id="8"),
]


@pytest.mark.parametrize("row", OTHERS)
def test_a_row_that_differs_is_written_unless_ours_is_newer(row: Row) -> None:
    lead, outcome = held(), Outcome()
    assert put(lead, row, 9, outcome) is None
    assert (lead, outcome) == (held(), Outcome())
    assert holds(lead, row) is False
    assert put(lead, row, 10, outcome) is True
    assert holds(lead, row) is True
    assert put(lead, row, 30, outcome) is False, "it is there already"
    assert version_held(lead, row) == 10
    assert put(lead, OTHERS[OTHERS.index(row)], 9, outcome) is None
    named = outcome.claims | outcome.requirements
    assert named == ({(1, row.id)} if not isinstance(row, UserRow) else set())


def test_of_a_row_that_we_do_not_hold_any_version_is_newer() -> None:
    lead = held()
    assert version_held(lead, CLAIM._replace(id="9")) == version_held(lead, ASKED._replace(id="90")) == -1
    assert [version_held(lead, row) for row in (USER, CLAIM, ASKED)] == [10, 10, 10]
    assert holds(Lead(1, False, True, "f"), USER) is False


@pytest.mark.parametrize("row", [USER, CLAIM, ASKED])
def test_a_row_newer_than_its_removal_stays(row: Row) -> None:
    lead, outcome = held(), Outcome()
    assert remove(lead, row, 9, outcome) is None
    assert (lead, outcome) == (held(), Outcome())
    assert remove(lead, row, 10, outcome) is True


def test_a_claim_takes_its_own_requirements_along() -> None:
    lead, outcome = held(), Outcome()
    assert remove(lead, CLAIM, 20, outcome) is True
    assert (list(lead.claims), list(lead.requirements)) == (["8"], ["80"])
    assert (outcome.claims, outcome.requirements) == ({(1, "7")}, {(1, "70")})
    assert remove(lead, CLAIM, 20, outcome) is False


def test_a_claim_that_we_do_not_hold_takes_along_what_we_hold_of_it() -> None:
    lead, outcome = held(), Outcome()
    del lead.claims["7"]
    assert remove(lead, CLAIM, 20, outcome) is True
    assert (list(lead.requirements), outcome.claims) == (["80"], {(1, "7")})


def test_a_requirement_goes_alone() -> None:
    lead, outcome = held(), Outcome()
    assert remove(lead, ASKED, 20, outcome) is True
    assert (list(lead.claims), list(lead.requirements)) == (["7", "8"], ["80"])
    assert (outcome.claims, outcome.requirements) == (set(), {(1, "70")})
    assert remove(lead, ASKED, 20, Outcome()) is False


def test_a_user_takes_everything_along_but_who_leaves_it_behind() -> None:
    lead, outcome = held(), Outcome()
    lead.requirements["90"] = Requirement("90", "9", None, None, None, 10)
    lead.enabled = False
    assert remove(lead, USER, 20, outcome) is True
    assert lead == Lead(1, version=20)
    assert (outcome.claims, outcome.requirements) == ({(1, "7"), (1, "8")}, {(1, "70"), (1, "80"), (1, "90")})
    lead, outcome = held(), Outcome()
    assert remove(lead, USER, 20, outcome, user_alone=True) is True
    assert (lead.exists, lead.signature, lead.version) == (False, None, 20)
    assert (lead.claims, lead.requirements) == (held().claims, held().requirements)
    assert remove(lead, USER, 20, outcome, user_alone=True) is False


def test_a_user_of_whom_we_hold_only_rows_takes_these_along() -> None:
    claims = Lead(1, claims={"7": Claim("7", "open", 1)})
    asked = Lead(1, requirements={"70": Requirement("70", "7", None, None, None, 1)})
    assert [remove(lead, USER, 20, Outcome()) for lead in (claims, asked, Lead(1))] == [True, True, False]


def test_a_change_that_matters_dates_the_lead_and_has_it_written() -> None:
    lead, outcome = held(), Outcome()
    assert merge(change(CLAIM, CLAIM._replace(status="paused")), lead, outcome) is True
    assert (lead.changed_at, outcome.leads, lead.read_floor) == (25, {1: lead}, 0)


def test_a_change_that_changes_nothing_is_passed_over_in_silence() -> None:
    lead, outcome = held(), Outcome()
    assert merge(change(CLAIM, CLAIM), lead, outcome) is False
    assert (lead, outcome) == (held(), Outcome())


def test_a_change_to_what_we_hold_already_dates_the_lead() -> None:
    lead, outcome = held(), Outcome()
    assert merge(change(CLAIM._replace(status="paused"), CLAIM), lead, outcome) is False
    assert (lead.changed_at, outcome.leads) == (25, {1: lead})


@pytest.mark.parametrize("version", [19, 20])
def test_what_was_read_live_already_is_skipped_and_counted(version: int) -> None:
    lead, outcome = held(), Outcome()
    lead.read_floor = 20
    as_it_was = deepcopy(lead)
    assert merge(change(None, CLAIM._replace(status="paused"), version), lead, outcome) is False
    assert (lead, outcome.skipped) == (as_it_was, {"read live already": 1})
    assert merge(change(None, CLAIM._replace(status="paused"), 21), lead, outcome) is True


def test_what_is_older_than_what_we_hold_is_skipped_and_counted() -> None:
    lead, outcome = held(), Outcome()
    for before, after in ((CLAIM, None), (None, CLAIM._replace(status="paused"))):
        assert merge(change(before, after, 9), lead, outcome) is False
    assert (lead, outcome.skipped, outcome.leads) == (held(), {"older than what we hold": 2}, {})


def test_a_removal_raises_the_floor_to_just_below_it_and_never_lowers_it() -> None:
    lead, outcome = held(), Outcome()
    assert merge(change(ASKED, None), lead, outcome) is True
    assert lead.read_floor == 19
    lead.read_floor = 30
    assert merge(change(CLAIM, None, 31), lead, outcome) is True
    assert lead.read_floor == 30


def test_a_user_whose_claims_stay_goes_alone() -> None:
    lead = held()
    assert merge(change(USER, None, ties=Ties(stays=True)), lead, Outcome()) is True
    assert list(lead.claims) == ["7", "8"]
    assert merge(change(USER, None, 21, Ties(leaves=True)), lead, Outcome()) is True
    assert list(lead.claims) == []


def test_a_change_without_a_row_changes_nothing() -> None:
    lead, outcome = held(), Outcome()
    assert merge(Change(1, Table.USERS, None, None, 20, 20, True), lead, outcome) is False
    assert (lead, outcome) == (held(), Outcome())
