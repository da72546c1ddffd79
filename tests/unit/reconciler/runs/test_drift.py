"""What counts as drift, and what confirms it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.leads.drift import Drift, differences, same_text
from consumer.leads.model import (
    NEVER,
    Claim,
    ClaimRow,
    Lead,
    QueueType,
    Requirement,
    RequirementRow,
    Rule,
    Table,
    UserRow,
)
from consumer.leads.rule_file import RuleFile
from consumer.leads.rules import Rules
from consumer.mysql.live_read import LiveLead
from consumer.store.call_centre.entries import EntryDrift
from reconciler.runs.drift import EntryKind, confirmed, entry_kinds, written

RULES = Rules()
USER = UserRow(1, "5", True)
CLAIM = ClaimRow("10", 1, "open")
DOCUMENT = RequirementRow("100", "10", "id", "pending", "blurred")
LIVE = LiveLead(USER, {"10": CLAIM}, {"100": DOCUMENT}, {})


def held() -> Lead:
    return Lead(
        1,
        exists=True,
        signature="5",
        stint=1,
        queue_type=QueueType.REQUIREMENTS_OUTSTANDING,
        rule=Rule.REQUIREMENT_OUTSTANDING,
        claims={"10": Claim("10", "open", 1)},
        requirements={"100": Requirement("100", "10", "id", "pending", "blurred", 1)},
    )


def kinds(lead: Lead | None, live: LiveLead) -> list[Drift]:
    return [difference.kind for difference in differences(lead, live.state, RULES)]


def test_a_lead_like_mysqls_rows_is_in_step() -> None:
    assert kinds(held(), LIVE) == []


def test_a_user_nobody_knows_is_unknown_and_one_that_is_nowhere_is_nothing() -> None:
    assert kinds(None, LIVE) == [Drift.UNKNOWN]
    assert kinds(None, LiveLead(None, {}, {}, {})) == []
    assert kinds(Lead(1), LIVE) == [Drift.UNKNOWN]


def test_a_lead_waiting_for_a_live_read_is_unsettled_whatever_it_holds() -> None:
    assert kinds(replace(held(), judge_after=NEVER), LIVE) == [Drift.UNSETTLED]
    assert kinds(Lead(1, judge_after=NEVER), LIVE) == [Drift.UNSETTLED]


@pytest.mark.parametrize(
    ("live", "kind"),
    [
        (LIVE._replace(user=None), Drift.USER_GONE),
        (LIVE._replace(user=UserRow(1, None, True)), Drift.SIGNATURE),
        (LIVE._replace(user=UserRow(1, "5", False)), Drift.ENABLED),
        (LIVE._replace(claims={"10": CLAIM, "11": ClaimRow("11", 1, None)}), Drift.CLAIM_MISSING),
        (LIVE._replace(claims={"10": ClaimRow("10", 1, "cancelled")}), Drift.CLAIM_STATUS),
        (LIVE._replace(requirements={}), Drift.REQUIREMENT_GONE),
        (LIVE._replace(requirements={"100": DOCUMENT._replace(status=None)}), Drift.REQUIREMENT_STATUS),
        (LIVE._replace(requirements={"100": DOCUMENT._replace(type="x")}), Drift.REQUIREMENT_OTHER),
        (LIVE._replace(requirements={"100": DOCUMENT._replace(reason="x")}), Drift.REQUIREMENT_OTHER),
        (LIVE._replace(requirements={"100": DOCUMENT._replace(claim_id="11")}), Drift.REQUIREMENT_OTHER),
        (LIVE._replace(requirements={"100": DOCUMENT, "101": DOCUMENT._replace(id="101")}), Drift.REQUIREMENT_MISSING),
    ],
)
def test_each_difference_has_its_name(live: LiveLead, kind: Drift) -> None:
    assert kinds(held(), live) == [kind]


def test_a_difference_names_the_row_that_it_is_about() -> None:
    live = LiveLead(
        UserRow(1, "6", False),
        {"11": ClaimRow("11", 1, None)},
        {"101": DOCUMENT._replace(id="101")},
        {},
    )
    assert differences(held(), live.state, RULES) == [
        (Drift.SIGNATURE, Table.USERS, ""),
        (Drift.ENABLED, Table.USERS, ""),
        (Drift.CLAIM_GONE, Table.CLAIMS, "10"),
        (Drift.CLAIM_MISSING, Table.CLAIMS, "11"),
        (Drift.REQUIREMENT_GONE, Table.CLAIM_REQUIREMENTS, "100"),
        (Drift.REQUIREMENT_MISSING, Table.CLAIM_REQUIREMENTS, "101"),
    ]
    changed = LIVE._replace(
        claims={"10": CLAIM._replace(status="paused")}, requirements={"100": DOCUMENT._replace(status="x", type="y")}
    )
    assert differences(held(), changed.state, RULES) == [
        (Drift.CLAIM_STATUS, Table.CLAIMS, "10"),
        (Drift.REQUIREMENT_STATUS, Table.CLAIM_REQUIREMENTS, "100"),
    ]
    other = LIVE._replace(requirements={"100": DOCUMENT._replace(type="y")})
    assert differences(held(), other.state, RULES) == [
        (Drift.REQUIREMENT_OTHER, Table.CLAIM_REQUIREMENTS, "100"),
    ]
    assert differences(held(), LIVE._replace(user=None).state, RULES) == [(Drift.USER_GONE, Table.USERS, "")]
    gone = Lead(1, stint=1, queue_type=QueueType.NONE)
    assert differences(gone, LIVE.state, RULES)[0] == (Drift.USER_MISSING, Table.USERS, "")


def test_an_absent_text_is_no_empty_one() -> None:
    assert same_text(None, None)
    assert not same_text("", None)
    assert not same_text("a\0b", "a\ufffdb")


def test_a_claim_that_is_gone_takes_its_requirements_along() -> None:
    assert kinds(held(), LIVE._replace(claims={}, requirements={})) == [Drift.CLAIM_GONE, Drift.REQUIREMENT_GONE]


def test_claims_left_behind_by_a_deleted_user_are_nothing() -> None:
    gone = Lead(1, stint=2, queue_type=QueueType.NONE, rule=Rule.USER_GONE)
    assert kinds(gone, LIVE._replace(user=None)) == []
    assert kinds(gone, LIVE) == [Drift.USER_MISSING, Drift.CLAIM_MISSING, Drift.REQUIREMENT_MISSING]


def test_a_lead_in_another_queue_than_the_rules_say_is_drift_unless_it_waits_to_be_judged() -> None:
    assert kinds(replace(held(), queue_type=QueueType.NONE), LIVE) == [Drift.QUEUE]
    assert kinds(replace(held(), queue_type=QueueType.NONE, judge_after=5), LIVE) == []


def test_a_lead_that_older_rules_put_elsewhere_is_drift_whether_or_not_it_waits_to_be_judged() -> None:
    waived = Rules(RuleFile(settled=("pending",)), {}, 2, earlier={1: Rules()})
    for judge_after in (None, 5):
        found = differences(replace(held(), judge_after=judge_after), LIVE.state, waived)
        assert found == [(Drift.QUEUE, None, "")]
        brought = replace(held(), judge_after=judge_after, queue_type=QueueType.NONE, rules_version=2)
        assert differences(brought, LIVE.state, waived) == []


def test_a_lead_that_waits_to_be_judged_is_no_drift_where_newer_rules_change_nothing_for_it() -> None:
    newer = Rules(RuleFile(never=("gone",)), {}, 2, earlier={1: Rules()})
    waiting = replace(held(), judge_after=5, queue_type=QueueType.NONE)
    assert differences(waiting, LIVE.state, newer) == []
    assert differences(replace(waiting, judge_after=None), LIVE.state, newer) == [(Drift.QUEUE, None, "")]


@pytest.mark.parametrize(
    ("live", "newer"),
    [
        (LIVE._replace(user=UserRow(1, "6", True)), replace(held(), version=6)),
        (LIVE._replace(user=None), replace(held(), version=6)),
        (
            LIVE._replace(claims={"10": ClaimRow("10", 1, "paused")}),
            replace(held(), claims={"10": Claim("10", "open", 6)}),
        ),
        (LIVE, replace(held(), claims={}, read_floor=6)),
        (
            LIVE._replace(requirements={}),
            replace(held(), requirements={"100": Requirement("100", "10", "id", "pending", None, 6)}),
        ),
        (LIVE, replace(held(), requirements={}, read_floor=6)),
    ],
)
def test_a_row_that_the_stream_wrote_after_the_first_read_may_have_changed_there_and_back(
    live: LiveLead, newer: Lead
) -> None:
    found = differences(newer, live.state, RULES)
    assert found
    assert confirmed(found, newer, floor=5) == []
    assert confirmed(found, newer, floor=6) == found


def test_of_whom_we_hold_nothing_no_row_is_newer_than_a_read() -> None:
    tables = (Table.USERS, Table.CLAIMS, Table.CLAIM_REQUIREMENTS)
    assert [written(None, table, "10") for table in tables] == [0, 0, 0]
    lead = replace(held(), version=4, read_floor=7)
    assert [written(lead, Table.USERS, ""), written(lead, Table.CLAIMS, "10")] == [4, 1]
    assert [written(lead, Table.CLAIM_REQUIREMENTS, id_) for id_ in ("100", "101")] == [1, 7]


def test_what_is_wrong_with_entries_is_named() -> None:
    assert entry_kinds(EntryDrift(1, False, 0, 0)) == []
    assert entry_kinds(EntryDrift(1, True, 0, 2)) == [EntryKind.MISSING, EntryKind.DOUBLE]
    assert entry_kinds(EntryDrift(1, False, 1, 0)) == [EntryKind.STALE]


def test_a_lead_that_differs_as_a_whole_is_confirmed_however_fresh_it_is() -> None:
    waiting = Lead(1, judge_after=NEVER, read_floor=6)
    found = differences(waiting, LIVE.state, RULES)
    assert confirmed(found, waiting, floor=5) == found


def test_a_text_that_postgresql_cannot_hold_is_no_drift() -> None:
    assert same_text("a\ufffdb", "a\0b")
    assert not same_text("a", "b")
    assert not same_text(None, "")
