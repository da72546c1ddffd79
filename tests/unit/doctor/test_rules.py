"""What the doctor says of the rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from consumer.doctor.rules import judge
from consumer.leads.rule_file import DEFAULT, Exclusion
from consumer.leads.words import Comparison
from consumer.store.rules import Adopted

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATUS = {name: Comparison("utf8mb4_unicode_ci") for name in ("claims.status", "claim_requirements.status")}
WELL = Adopted(3, DEFAULT.fingerprint, DEFAULT, STATUS, "Ada", NOON, NOON)


def test_rules_in_force_that_were_brought_to_everybody_are_well() -> None:
    checks = judge(WELL, STATUS)
    assert [check.state for check in checks] == ["ok", "ok", "ok"]
    assert checks[0].sentence == "version 3 is in force since 2026-03-01 12:00:00 UTC"


def test_no_rules_at_all_are_a_matter_of_setup() -> None:
    (check,) = judge("leadstream.rules holds no rules yet; run `consumer setup`", None)
    assert (check.state, check.hint) == ("failed", "consumer setup")


def test_an_adoption_that_was_interrupted_is_to_be_resumed() -> None:
    checks = judge(replace(WELL, rejudged_at=None), STATUS)
    assert [check.state for check in checks] == ["ok", "warning", "ok"]
    assert (checks[1].sentence, checks[1].hint) == (
        "not every lead was brought to version 3",
        "consumer rules adopt --resume",
    )


def test_a_column_that_compares_otherwise_today_is_named() -> None:
    check = judge(WELL, {**STATUS, "claims.status": Comparison("utf8mb4_bin")})[2]
    assert check.state == "failed"
    assert check.sentence == "words of claims.status compare otherwise than when the rules were adopted"
    assert check.hint == "consumer rules show > rules.toml; consumer rules adopt rules.toml"


def test_a_column_that_the_rules_look_at_and_is_not_there_is_named() -> None:
    lost = replace(WELL, file=replace(DEFAULT, excluded=(Exclusion("id_document", "Base"),)))
    check = judge(lost, {**STATUS, "claim_requirements.type": Comparison("utf8mb4_bin")})[2]
    assert check.state == "failed"
    assert "claim_requirements.claim_requirement_reason, which is not there" in check.sentence
    assert "rules.toml; ${EDITOR:-vi} rules.toml; consumer" in check.hint  # as they are, they would look at it again


def test_where_mysql_cannot_be_asked_nothing_is_said_of_how_words_compare() -> None:
    assert len(judge(WELL, None)) == 2
