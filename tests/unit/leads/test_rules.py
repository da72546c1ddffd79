"""Design, section 3: which queue a lead belongs in; first match wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

import pytest

from consumer.leads.model import Claim, Lead, QueueType, Requirement, Rule
from consumer.leads.rule_file import DEFAULT, Exclusion, Labels, RuleFile
from consumer.leads.rules import Rules, outstanding, queue_for
from consumer.leads.words import Comparison

RULES = Rules()


class ByteByByte(Comparison):
    """Words are equal where they are the same."""

    def key(self, word: str) -> str:
        """The word."""
        return word


def lead(
    *,
    exists: bool = True,
    enabled: bool = True,
    signature: str | None = "file-1",
    claims: Mapping[int, str | None] | None = None,
    requirements: list[tuple[int, str | None, str | None]] | None = None,
) -> Lead:
    """A customer with claims {id: status} and requirements (claim, type, status)."""
    return Lead(
        1,
        exists,
        enabled,
        signature,
        claims={str(id_): Claim(str(id_), status, 0) for id_, status in (claims or {}).items()},
        requirements={
            str(number): Requirement(str(number), str(claim_id), type_, status, None, 0)
            for number, (claim_id, type_, status) in enumerate(requirements or [])
        },
    )


def test_a_user_whose_row_is_gone_belongs_in_no_queue() -> None:
    assert queue_for(lead(exists=False, signature=None), RULES) == (QueueType.NONE, Rule.USER_GONE)


def test_a_disabled_user_belongs_in_no_queue() -> None:
    assert queue_for(lead(enabled=False, signature=None), RULES) == (QueueType.NONE, Rule.USER_DISABLED)


def test_a_user_who_is_gone_is_gone_before_being_disabled() -> None:
    assert queue_for(lead(exists=False, enabled=False), RULES) == (QueueType.NONE, Rule.USER_GONE)


def test_a_user_whose_claims_are_all_closed_belongs_in_no_queue_signed_or_not() -> None:
    closed = {1: "cancelled", 2: "cancelled"}
    for signature in (None, "file-1"):
        assert queue_for(lead(signature=signature, claims=closed), RULES) == (QueueType.NONE, Rule.CLAIMS_CLOSED)


def test_one_open_claim_is_enough_to_go_on() -> None:
    claims = {1: "cancelled", 2: "open"}
    assert queue_for(lead(signature=None, claims=claims), RULES) == (QueueType.UNSIGNED_USERS, Rule.NO_SIGNATURE)


def test_a_user_without_any_claim_has_not_all_claims_closed() -> None:
    assert queue_for(lead(signature=None), RULES) == (QueueType.UNSIGNED_USERS, Rule.NO_SIGNATURE)


@pytest.mark.parametrize("signature", [None, ""])
def test_without_a_signature_a_lead_is_unsigned_whatever_it_owes(signature: str | None) -> None:
    owing = lead(signature=signature, claims={1: "open"}, requirements=[(1, "passport", "pending")])
    assert queue_for(owing, RULES) == (QueueType.UNSIGNED_USERS, Rule.NO_SIGNATURE)


def test_an_outstanding_requirement_on_an_open_claim_belongs_in_requirements_outstanding() -> None:
    owing = lead(claims={1: "open"}, requirements=[(1, "passport", "pending")])
    assert queue_for(owing, RULES) == (QueueType.REQUIREMENTS_OUTSTANDING, Rule.REQUIREMENT_OUTSTANDING)


def test_an_outstanding_requirement_on_a_closed_claim_does_not_count() -> None:
    owing = lead(claims={1: "cancelled", 2: "open"}, requirements=[(1, "passport", "pending")])
    assert queue_for(owing, RULES) == (QueueType.NONE, Rule.NOTHING_OWED)


def test_an_outstanding_requirement_on_a_claim_that_we_do_not_hold_does_not_count() -> None:
    owing = lead(claims={2: "open"}, requirements=[(1, "passport", "pending")])
    assert queue_for(owing, RULES) == (QueueType.NONE, Rule.NOTHING_OWED)


def test_who_signed_and_owes_nothing_belongs_in_no_queue() -> None:
    for requirements in ([], [(1, "passport", "approved")]):
        content = lead(claims={1: "open"}, requirements=[*requirements])
        assert queue_for(content, RULES) == (QueueType.NONE, Rule.NOTHING_OWED)


def test_a_requirement_of_an_excluded_type_is_never_outstanding() -> None:
    rules = Rules(RuleFile(excluded=(Exclusion("newsletter"),)))
    owing = lead(claims={1: "open"}, requirements=[(1, "newsletter", "pending")])
    assert queue_for(owing, rules)[0] is QueueType.NONE
    assert not rules.settles(owing.requirements["0"].status)


def test_a_requirement_without_a_status_is_not_settled_and_one_without_a_type_is_not_excluded() -> None:
    rules = Rules(RuleFile(excluded=(Exclusion("newsletter"),)))
    assert rules.is_outstanding(Requirement("1", "1", None, None, None, 0))
    assert rules.is_outstanding(Requirement("1", "1", "passport", None, None, 0))


def test_a_claim_without_a_status_is_not_closed() -> None:
    assert not RULES.closes(None)


@pytest.mark.parametrize("spelling", ["cancelled", "CANCELLED", "Cancelled ", "cancelled   "])
def test_statuses_compare_without_case_and_without_trailing_blanks(spelling: str) -> None:
    for word in ("cancelled", "Cancelled", "CANCELLED  "):
        rules = Rules(RuleFile(closed=(word,), settled=(word,), excluded=(Exclusion(word),)))
        assert rules.closes(spelling)
        assert rules.settles(spelling)
        assert not rules.is_outstanding(Requirement("1", "1", spelling, None, None, 0))


@pytest.mark.parametrize("other", [" cancelled", "cancelled\t", "cancelled.", "", "canceled"])
def test_nothing_else_about_a_status_is_forgiven(other: str) -> None:
    assert not RULES.closes(other)


def test_a_status_is_judged_the_same_the_second_time_and_after_many_others() -> None:
    for _ in range(2):
        assert all(not RULES.closes(f"free text {number}") for number in range(11_000))
        assert RULES.closes("Cancelled")


def test_what_is_remembered_of_free_text_is_bounded() -> None:
    rules = Rules()
    for number in range(12_000):
        assert not rules.settles(f"free text {number}")
        assert rules.is_outstanding(Requirement("1", "1", f"free text {number}", None, f"free text {number}", 0))
    assert max(len(rules._settled), len(rules._excluded)) <= 10_000


def test_rules_are_equal_when_their_words_are_and_do_not_change() -> None:
    used = Rules()
    used.closes("whatever")
    used.is_outstanding(Requirement("1", "1", "whatever", "whatever", None, 0))
    assert used == Rules()
    assert used != Rules(RuleFile(closed=("lost",)))
    with pytest.raises(AttributeError):
        used.version = 2  # type: ignore[misc]


def test_with_outstanding_words_every_other_word_is_settled_and_null_is_neither() -> None:
    rules = Rules(RuleFile(settled=None, outstanding=("pending",)))
    pending, approved, unknown = (
        Requirement("1", "1", "passport", status, None, 0) for status in ("PENDING ", "x", None)
    )
    assert (rules.is_outstanding(pending), rules.settles(pending.status)) == (True, False)
    assert (rules.is_outstanding(approved), rules.settles(approved.status)) == (False, True)
    assert (rules.is_outstanding(unknown), rules.settles(unknown.status)) == (False, False)


@pytest.mark.parametrize(
    ("type_", "reason", "counts"),
    [
        ("signature", None, False),
        ("Signature ", "anything", False),
        ("id_document", None, True),
        ("id_document", "lost", True),
        ("id_document", "Base ", False),
        ("passport", "base", True),
        ("passport", "Ours", False),
        (None, "ours", False),
        (None, "base", True),
        (None, None, True),
    ],
)
def test_an_exclusion_matches_when_every_key_of_it_does(type_: str | None, reason: str | None, counts: bool) -> None:
    exclusions = (Exclusion("signature"), Exclusion("id_document", "base"), Exclusion(None, "ours"))
    rules = Rules(RuleFile(excluded=exclusions))
    assert rules.mentions_reasons
    for _ in range(2):
        assert rules.is_outstanding(Requirement("1", "1", type_, "pending", reason, 0)) is counts
        assert rules.owes("pending", type_, reason) is counts
    held = lead(claims={1: "open"})
    held.requirements["7"] = Requirement("7", "1", type_, "pending", reason, 0)
    assert (queue_for(held, rules)[0] is QueueType.REQUIREMENTS_OUTSTANDING) is counts
    assert outstanding(held, rules) == (["7"] if counts else [])


def test_each_column_compares_words_in_its_own_way() -> None:
    exact = ByteByByte("utf8mb4_bin")
    rules = Rules(comparisons={"claims.status": exact})
    assert not rules.closes("Cancelled")
    assert rules.closes("cancelled")
    assert rules.settles("APPROVED")


def test_statuses_types_and_reasons_of_requirements_compare_each_in_their_columns_way() -> None:
    exact = ByteByByte("utf8mb4_bin")
    file = RuleFile(excluded=(Exclusion("signature"), Exclusion(None, "ours")))
    columns = ("status", "type", "claim_requirement_reason")
    by_column = [Rules(file, {f"claim_requirements.{column}": exact}) for column in columns]
    assert [rules.settles("Approved") for rules in by_column] == [False, True, True]
    assert [rules.owes("pending", "Signature", None) for rules in by_column] == [False, True, False]
    assert [rules.owes("pending", None, "Ours") for rules in by_column] == [False, False, True]
    assert [rules.owes("Approved", None, None) for rules in by_column] == [True, False, False]


def test_queues_are_known_by_their_labels_and_by_the_plans_names() -> None:
    old = Rules()
    rules = Rules(RuleFile(Labels(unsigned="new", outstanding="open_requests", none=None)), version=2, earlier={1: old})
    assert [rules.label(queue) for queue in QueueType] == ["new", "open_requests", None]
    assert rules.queue_labelled("open_requests") is QueueType.REQUIREMENTS_OUTSTANDING
    assert rules.queue_labelled("none") is QueueType.NONE
    assert rules.queue_labelled("elsewhere") is None
    assert rules.labels_ever(QueueType.UNSIGNED_USERS) == ["new", "unsigned_users"]
    assert rules.labels_ever(QueueType.NONE) == ["none"]
    assert (rules.by(1), rules.by(2)) == (old, rules)


def test_words_for_never_are_trimmed_and_in_every_spelling_that_postgresql_may_meet() -> None:
    assert Rules(RuleFile(never=("Never_Again ", "gone"))).never == (
        "GONE", "NEVER_AGAIN", "Never_Again", "gone", "never_again",
    )  # fmt: skip


CLAIMS, STATUSES, TYPES, REASONS = (
    ("open", "word"),
    ("pending", "approved", "word"),
    ("passport", "word"),
    (None, "word"),
)


def with_one_more_word() -> Iterator[RuleFile]:
    """The plan's rules, each time with one of its lists changed."""
    yield from (RuleFile(excluded=(Exclusion("word"),)), RuleFile(excluded=(Exclusion(None, "word"),)))
    yield RuleFile(settled=None, outstanding=("word",))
    for one in fields(RuleFile):
        if one.name not in ("excluded", "outstanding") and isinstance(getattr(DEFAULT, one.name), tuple):
            changed: dict[str, Any] = {one.name: ("word",)}
            yield replace(DEFAULT, **changed)


@pytest.mark.parametrize("file", tuple(with_one_more_word()))
def test_whoever_moves_by_new_rules_holds_words_that_these_see_otherwise(file: RuleFile) -> None:
    new, moved = Rules(file), 0
    for claim, *words in product(CLAIMS, STATUSES, TYPES, REASONS):
        status, kind, reason = words
        holder = lead(claims={1: claim})
        holder.requirements["1"] = Requirement("1", "1", kind, status, reason, 0)
        sees = [(rules.sees_in_claim(claim), rules.sees_in_requirement(status, kind, reason)) for rules in (RULES, new)]
        if queue_for(holder, RULES) != queue_for(holder, new):
            assert sees[0] != sees[1]
            moved += 1
    assert moved or file.never == ("word",)
