"""Words by the weights of a collation: small tables, recorded from MySQL 8, and properties that hold for any."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.leads.words import EXACT, PLAIN, CharacterRun, Comparison


def one(*elements: str) -> tuple[tuple[str, ...], ...]:
    """A weight of one level."""
    return (elements,)


UNICODE_CI: Final = Comparison(
    "utf8mb4_unicode_ci",
    ("0209",),
    (
        CharacterRun(0x00, 0x08, one()),
        CharacterRun(0x20, 0x20, one("0209")),
        CharacterRun(0x41, 0x41, one("0E33")),
        CharacterRun(0x53, 0x53, one("0FEA")),
        CharacterRun(0x61, 0x61, one("0E33")),
        CharacterRun(0x73, 0x73, one("0FEA")),
        CharacterRun(0xA0, 0xA0, one("0209")),
        CharacterRun(0xDF, 0xDF, one("0FEA", "0FEA")),
        CharacterRun(0xE1, 0xE1, one("0E33")),
        CharacterRun(0x300, 0x362, one()),
        CharacterRun(0x10000, 0x10FFFF, one("FFFD")),
    ),
)
CZECH: Final = Comparison(
    "utf8mb4_czech_ci",
    ("0209",),
    (CharacterRun(0x63, 0x63, one("0E60")), CharacterRun(0x68, 0x68, one("0EE1")), CharacterRun(0x200D, 0x200D, one())),
    (("ch", one("0EE2")),),
)
AS_CS: Final = Comparison(
    "utf8mb4_uca1400_as_cs",
    ("0209", "0020", "0002"),
    (
        CharacterRun(0x20, 0x20, (("0209",), ("0020",), ("0002",))),
        CharacterRun(0x41, 0x41, (("2075",), ("0020",), ("0008",))),
        CharacterRun(0x61, 0x61, (("2075",), ("0020",), ("0002",))),
        CharacterRun(0xE1, 0xE1, (("2075",), ("0020", "0024"), ("0002", "0002"))),
        CharacterRun(0x301, 0x301, ((), ("0024",), ("0002",))),
    ),
)


@pytest.mark.parametrize("word", ["aß", "ASS  ", "a\u0301ss", "\0as\x01s", "ass\u00a0 ", "ass \x01"])
def test_words_of_one_weight_are_equal(word: str) -> None:
    assert UNICODE_CI.key(word) == UNICODE_CI.key("ass")


@pytest.mark.parametrize("word", ["as", "asss", " ass", "a ss", "ass!", "Ðß", ""])
def test_words_of_other_weights_are_not(word: str) -> None:
    assert UNICODE_CI.key(word) != UNICODE_CI.key("ass")


def test_a_word_with_a_character_that_cannot_matter_equals_nothing_but_itself() -> None:
    assert UNICODE_CI.key("axa") == UNICODE_CI.key("axa")
    assert UNICODE_CI.key("axa") != UNICODE_CI.key("AXA")


def test_a_million_characters_of_one_weight_are_one_run() -> None:
    assert UNICODE_CI.key("🙂") == UNICODE_CI.key("🎉") != UNICODE_CI.key("\uffff")


def test_characters_that_weigh_otherwise_together_are_taken_together() -> None:
    assert CZECH.key("ch") != CZECH.key("c\u200dh")
    assert CZECH.key("cch") == CZECH.key("c\u200dch") != CZECH.key("chc")


def test_of_sequences_that_begin_alike_the_longest_counts() -> None:
    two = Comparison("two", ("0209",), CZECH.runs, (("ch", one("0EE2")), ("chh", one("0EE3"))))
    assert two.key("chh") == (("0EE3",),)
    assert two.key("cchch") == (("0E60", "0EE2", "0EE2"),)


def test_a_line_end_is_a_character_like_any() -> None:
    lines = Comparison(
        "lines", ("0209",), (CharacterRun(0x0A, 0x0A, one("0201")), CharacterRun(0x61, 0x61, one("0E33")))
    )
    assert lines.key("a\na") == (("0E33", "0201", "0E33"),)


def test_every_level_counts_and_every_level_is_padded() -> None:
    assert AS_CS.key("a\u0301") == AS_CS.key("á") == AS_CS.key("á  ")
    assert len({AS_CS.key(word) for word in ("a", "A", "á", " a", "aa")}) == 5


def test_without_padding_blanks_at_the_end_count() -> None:
    no_pad = Comparison("utf8mb4_0900_ai_ci", ("",), UNICODE_CI.runs)
    assert no_pad.key("a ") != no_pad.key("a")


def test_what_is_no_text_compares_exactly() -> None:
    assert EXACT.key("7 ") != EXACT.key("7")
    assert EXACT.key("A") != EXACT.key("a")


def test_where_nobody_has_asked_case_and_blanks_at_the_end_do_not_count() -> None:
    assert PLAIN.key("Approved  ") == PLAIN.key("APPROVED")
    assert len({PLAIN.key(word) for word in ("appro", "approX", " appro", "appro\t")}) == 4


@pytest.mark.parametrize("comparison", [UNICODE_CI, CZECH, AS_CS, EXACT, PLAIN])
def test_a_comparison_comes_back_from_json_as_it_was(comparison: Comparison) -> None:
    text = json.dumps(comparison.as_json())
    assert Comparison.from_json(json.loads(text)) == comparison
    assert json.dumps(Comparison.from_json(json.loads(text)).as_json()) == text
    assert "\\u0000" not in text, "PostgreSQL's jsonb refuses it"


def test_in_json_characters_stand_by_their_weight_as_numbers_and_from_one_to_another() -> None:
    assert UNICODE_CI.as_json()["characters"] == {
        "": "0-8 300-362",
        "0209": "20 a0",
        "0E33": "41 61 e1",
        "0FEA": "53 73",
        "0FEA.0FEA": "df",
        "FFFD": "10000-10ffff",
    }


LETTERS: Final = "aAsSßá \0\u0301\u00a0x"


@given(st.text(LETTERS), st.text(LETTERS))
def test_what_is_equal_stays_equal_with_blanks_and_ignorable_characters(word: str, other: str) -> None:
    same = UNICODE_CI.key(word) == UNICODE_CI.key(other)
    if "x" not in word + other:
        assert same == (UNICODE_CI.key(word + " ") == UNICODE_CI.key("\0" + other + "\u0301"))


@given(st.lists(st.text(LETTERS.replace("x", "").replace(" ", "").replace("\u00a0", "")), max_size=4))
def test_the_key_of_a_text_follows_from_its_parts(parts: list[str]) -> None:
    spelled = [part.replace("ß", "ss").upper() for part in parts]
    assert UNICODE_CI.key("".join(parts).replace("á", "a")) == UNICODE_CI.key("".join(spelled).replace("Á", "A"))
