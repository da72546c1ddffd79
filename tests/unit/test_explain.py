"""Explanations: every rule in words, and what does not fit together said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.explain import Live, explain, lead_of, verdict
from consumer.leads.model import (
    NEVER,
    Claim,
    ClaimRow,
    Lead,
    LiveState,
    QueueType,
    Requirement,
    RequirementRow,
    Rule,
    UserRow,
)
from consumer.leads.rules import Rules
from consumer.store.lookups import CallCentreRow, LeadRecord, PastStint, PendingRecheck, RecordedConversion

RULES = Rules()
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000


def lead(**fields: object) -> Lead:
    return Lead(8911, **{"exists": True, "stint": 1, "opened_at": NOON_US, **fields})  # type: ignore[arg-type]


def dossier(held: Lead | None, **fields: object) -> LeadRecord:
    return replace(LeadRecord(8911, held, [], [], None, None, NOON_US), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "rule", "because"),
    [
        (lead(exists=False), Rule.USER_GONE, "there is no such customer in MySQL"),
        (lead(enabled=False), Rule.USER_DISABLED, "the customer is disabled (is_enabled is 0)"),
        (
            lead(claims={"7": Claim("7", "Cancelled", 0), "5": Claim("5", "cancelled", 0)}),
            Rule.CLAIMS_CLOSED,
            "every claim is closed (claims 5, 7: Cancelled, cancelled)",
        ),
        (lead(), Rule.NO_SIGNATURE, "the customer has not signed (current_signature_file_id is empty)"),
        (
            lead(
                signature="9",
                claims={"7": Claim("7", "open", 0)},
                requirements={str(n): Requirement(str(n), "7", "id", None, None, 0) for n in range(1, 8)},
            ),
            Rule.REQUIREMENT_OUTSTANDING,
            "the customer signed and still owes requirements 1, 2, 3, 4, 5 and 2 more",
        ),
        (lead(signature="9"), Rule.NOTHING_OWED, "the customer signed and owes no document on an open claim"),
    ],
)
def test_every_rule_has_its_words(state: Lead, rule: Rule, because: str) -> None:
    told = verdict(state, RULES)
    assert (told.rule, told.because) == (rule, because)


def test_a_live_state_is_judged_as_the_ledger_would() -> None:
    live = LiveState(
        UserRow(1, "9", True),
        [ClaimRow("5", 1, "open")],
        [RequirementRow("6", "5", "id", "pending", None)],
    )
    assert verdict(lead_of(1, live), RULES).queue_type is QueueType.REQUIREMENTS_OUTSTANDING
    assert verdict(lead_of(1, LiveState(None, (), ())), RULES).rule is Rule.USER_GONE


def test_a_life_is_told_stint_by_stint() -> None:
    later = NOON.replace(hour=14)
    held = dossier(
        lead(
            signature="9",
            stint=2,
            queue_type=QueueType.NONE,
            version=NOON_US + 60_000_000,
            claims={"5": Claim("5", "open", NOON_US)},
        ),
        stints=[
            PastStint(
                1, "unsigned_users", NOON, "first_seen", later, "signature_obtained", "signature_obtained", "stream"
            ),
            PastStint(2, "none", later, "signature_obtained", None, None, None, "stream"),
        ],
        conversions=[RecordedConversion("signature_obtained", "unsigned_users", later, 12, 3)],
        call_centre=CallCentreRow("none", False, 0, 3, None, None, []),
    )
    live = Live(True, verdict(lead(signature="9"), RULES), later)
    told = explain(held, live, RULES)
    assert told.agrees is True
    assert told.sentences == [
        "User 8911 is in no queue since 2026-03-01 12:00:00 UTC, because the customer signed and owes no document on an"
        " open claim.",
        "Stint 1: in unsigned_users from 2026-03-01 12:00:00 UTC, because this is where we first saw them, until"
        " 2026-03-01 14:00:00 UTC, when the customer signed: a conversion, signature_obtained.",
        "Stint 2: in no queue from 2026-03-01 14:00:00 UTC, because the customer signed, until now.",
        "The last changes seen of the rows we hold, of each its newest: user 8911 at 2026-03-01 12:01:00 UTC,"
        " claim 5 (open) at 2026-03-01 12:00:00 UTC.",
        "MySQL, read at 2026-03-01 14:00:00 UTC, says the same.",
    ]


def test_the_last_changes_seen_are_the_newest_five_of_all_rows_newest_first() -> None:
    held = lead(
        version=NOON_US + 3,
        claims={"5": Claim("5", "open", NOON_US + 9), "6": Claim("6", None, 0)},
        requirements={str(n): Requirement(str(n), "5", "id", "pending", None, NOON_US + n) for n in range(1, 9)},
    )
    changes = explain(dossier(held), None, RULES).changes
    assert [(change.row, change.id, change.at.microsecond) for change in changes] == [
        ("claim", "5", 9),
        ("requirement", "8", 8),
        ("requirement", "7", 7),
        ("requirement", "6", 6),
        ("requirement", "5", 5),
    ]


def test_what_does_not_fit_together_is_said() -> None:
    held = dossier(
        lead(queue_type=QueueType.UNSIGNED_USERS, judge_after=NEVER),
        call_centre=CallCentreRow("requirements_outstanding", True, 0, 0, None, None, []),
        recheck=PendingRecheck("its claim moved", NOON, 2, "the stream lags"),
        conversions=[RecordedConversion("signature_obtained", None, NOON, None, None)],
    )
    live = Live(True, verdict(lead(signature="9"), RULES), NOON, ["signature"])
    told = explain(held, live, RULES)
    assert told.agrees is False
    text = " ".join(told.sentences)
    for part in (
        "wait to be read live from MySQL",
        "A recheck is queued since 2026-03-01 12:00:00 UTC, after 2 tries, because its claim moved.",
        "The stints hold 0 conversions and the call centre's table 1",
        "The call centre's table says requirements_outstanding instead",
        "because the customer signed and owes no document on an open claim: that is not what we hold.",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("live_at", "behind", "said", "drift"),
    [
        (NOON.replace(minute=1), 60.0, "is 60.0 s older than that read, so the difference may still be on its way", []),
        (NOON, 0.0, "as new as that read, so the stream missed it", []),
        (NOON.replace(hour=11), 0.0, "as new as that read, so the stream missed it", ["signature"]),
    ],
)
def test_a_difference_is_told_apart_from_a_stream_that_merely_lags(
    live_at: datetime, behind: float, said: str, drift: list[str]
) -> None:
    state = lead(signature="9") if not drift else lead()
    told = explain(
        dossier(lead(queue_type=QueueType.UNSIGNED_USERS)), Live(True, verdict(state, RULES), live_at, drift), RULES
    )
    assert told.behind_seconds == behind
    assert said in told.sentences[-1]


def test_a_lag_is_no_matter_where_mysql_says_the_same_or_was_not_read() -> None:
    held = dossier(lead(queue_type=QueueType.UNSIGNED_USERS))
    same = explain(held, Live(True, verdict(lead(), RULES), NOON.replace(minute=1)), RULES)
    assert (same.agrees, same.behind_seconds, "on its way" in " ".join(same.sentences)) == (True, 60.0, False)
    assert explain(held, None, RULES).behind_seconds is None


def test_of_a_stranger_we_say_that_we_know_nothing_and_why_mysql_was_not_read() -> None:
    told = explain(dossier(None), None, RULES, without_live="MySQL was not read: the replica does not answer.")
    assert told.agrees is None
    assert told.sentences == [
        "We know nothing of user 8911 yet.",
        "MySQL was not read: the replica does not answer.",
    ]


def test_of_a_stranger_it_is_told_what_mysql_has_and_no_disagreement_is_claimed() -> None:
    nobody = Live(False, verdict(lead_of(8911, LiveState(None, (), ())), RULES), NOON)
    assert explain(dossier(None), nobody, RULES).sentences[1:] == [
        "MySQL, read at 2026-03-01 12:00:00 UTC, has no such customer."
    ]
    somebody = Live(True, verdict(lead(), RULES), NOON)
    told = explain(dossier(None), somebody, RULES)
    assert told.agrees is None
    assert told.sentences[1:] == [
        "MySQL, read at 2026-03-01 12:00:00 UTC, puts them in unsigned_users, because the customer has not signed"
        " (current_signature_file_id is empty)."
    ]
