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
from consumer.store.lookups import (
    CallCentreRow,
    LeadRecord,
    PastStint,
    PendingRecheck,
    RecordedConversion,
    ShownAhead,
)

RULES = Rules()
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000


def lead(**fields: object) -> Lead:
    return Lead(8911, **{"exists": True, "stint": 1, "opened_at": NOON_US, **fields})  # type: ignore[arg-type]


def record(held: Lead | None, **fields: object) -> LeadRecord:
    return replace(LeadRecord(8911, held, [], [], None, None, None, NOON_US), **fields)  # type: ignore[arg-type]


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
    found = verdict(state, RULES)
    assert (found.rule, found.because) == (rule, because)


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
    held = record(
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
    found = explain(held, live, RULES)
    assert found.agrees is True
    assert found.sentences == [
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
    changes = explain(record(held), None, RULES).changes
    assert [(change.row, change.id, change.at.microsecond) for change in changes] == [
        ("claim", "5", 9),
        ("requirement", "8", 8),
        ("requirement", "7", 7),
        ("requirement", "6", 6),
        ("requirement", "5", 5),
    ]


def test_what_does_not_fit_together_is_said() -> None:
    held = record(
        lead(queue_type=QueueType.UNSIGNED_USERS, judge_after=NEVER),
        call_centre=CallCentreRow("requirements_outstanding", True, 0, 0, None, None, []),
        recheck=PendingRecheck("its claim moved", NOON, 2, "the stream lags"),
        conversions=[RecordedConversion("signature_obtained", None, NOON, None, None)],
    )
    live = Live(True, verdict(lead(signature="9"), RULES), NOON, ["signature"])
    found = explain(held, live, RULES)
    assert found.agrees is False
    text = " ".join(found.sentences)
    for part in (
        "wait to be read live from MySQL",
        "A recheck is queued since 2026-03-01 12:00:00 UTC, after 2 tries, because its claim moved.",
        "The stints hold 0 conversions and the call centre's table 1",
        "The call centre's table says requirements_outstanding instead",
        "because the customer signed and owes no document on an open claim: that is not what we hold.",
    ):
        assert part in text


def shown_ahead(until: datetime | None, seen: str, **fields: object) -> list[str]:
    """What is said of a customer who signed, where agents see `seen` and our history says unsigned_users."""
    centre = CallCentreRow(seen, False, 0, 0, None, None, [])
    ahead = ShownAhead("none", NOON, until)
    held = record(lead(queue_type=QueueType.UNSIGNED_USERS, **fields), call_centre=centre, shown=ahead)
    return explain(held, None, RULES).sentences[1:]


AHEAD = (
    "Agents see them in no queue since 2026-03-01 12:00:00 UTC, ahead of their history, because MySQL, read live, had"
    " them there; what we hold is shown"
)


def test_a_customer_shown_ahead_of_history_is_nobody_elses_doing_and_needs_no_repair() -> None:
    later = NOON.replace(minute=1)
    sentence = f"{AHEAD} when the stream has passed 2026-03-01 12:01:00 UTC."
    assert shown_ahead(later, "none") == [sentence]
    assert shown_ahead(later, "requirements_outstanding") == [
        sentence,
        "The call centre's table says requirements_outstanding instead, until then: another program wrote it, or held"
        " the row.",
    ]


def test_history_that_has_come_is_shown_when_the_customers_rows_are_free() -> None:
    assert shown_ahead(NOON, "none") == [
        f"{AHEAD} as soon as an applier gets the rows of the call centre: the stream has passed that read."
    ]
    assert f"{AHEAD} when they have been read live again: the stream has passed that read." in shown_ahead(
        NOON, "none", judge_after=NEVER
    )


def test_rows_that_somebody_held_are_written_when_they_are_free() -> None:
    assert shown_ahead(None, "requirements_outstanding") == [
        "Another session held their rows of the call centre at 2026-03-01 12:00:00 UTC; an applier puts them right as"
        " soon as they are free. The call centre's table says requirements_outstanding until then."
    ]
    assert shown_ahead(None, "unsigned_users")[-1].endswith("as soon as they are free.")


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
    found = explain(
        record(lead(queue_type=QueueType.UNSIGNED_USERS)), Live(True, verdict(state, RULES), live_at, drift), RULES
    )
    assert found.behind_seconds == behind
    assert said in found.sentences[-1]


def test_a_lag_is_no_matter_where_mysql_says_the_same_or_was_not_read() -> None:
    held = record(lead(queue_type=QueueType.UNSIGNED_USERS))
    same = explain(held, Live(True, verdict(lead(), RULES), NOON.replace(minute=1)), RULES)
    assert (same.agrees, same.behind_seconds, "on its way" in " ".join(same.sentences)) == (True, 60.0, False)
    assert explain(held, None, RULES).behind_seconds is None


def test_of_a_stranger_we_say_that_we_know_nothing_and_why_mysql_was_not_read() -> None:
    found = explain(record(None), None, RULES, without_live="MySQL was not read: the replica does not answer.")
    assert found.agrees is None
    assert found.sentences == [
        "We know nothing of user 8911 yet.",
        "MySQL was not read: the replica does not answer.",
    ]


def test_of_a_stranger_it_is_told_what_mysql_has_and_no_disagreement_is_claimed() -> None:
    nobody = Live(False, verdict(lead_of(8911, LiveState(None, (), ())), RULES), NOON)
    assert explain(record(None), nobody, RULES).sentences[1:] == [
        "MySQL, read at 2026-03-01 12:00:00 UTC, has no such customer."
    ]
    somebody = Live(True, verdict(lead(), RULES), NOON)
    found = explain(record(None), somebody, RULES)
    assert found.agrees is None
    assert found.sentences[1:] == [
        "MySQL, read at 2026-03-01 12:00:00 UTC, puts them in unsigned_users, because the customer has not signed"
        " (current_signature_file_id is empty)."
    ]
