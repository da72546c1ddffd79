"""Keys that a column calls equal, in one form."""

from __future__ import annotations

import pytest

from consumer.mysql.key_folding import OPAQUE, Foldings, folding_of, unchanged
from consumer.store.arrays import stored
from tests.unit.mysql.toy_server import CHARSET, COLLATION, ToyServer


@pytest.mark.parametrize("key", ["ab-1", "AB-1", "aB-1  "])
def test_spellings_that_are_equal_have_one_form(key: str) -> None:
    assert folding_of(ToyServer().query, COLLATION, CHARSET)(key) == "ab-1"


def test_keys_of_plain_letters_are_folded_without_asking() -> None:
    server = ToyServer()
    fold = folding_of(server.query, COLLATION, CHARSET)
    asked = len(server.asked)
    assert {fold(f"A{number}") for number in range(100)} == {f"a{number}" for number in range(100)}
    assert len(server.asked) == asked


def test_a_key_that_weighs_like_no_plain_text_is_its_weight_in_digits() -> None:
    fold = folding_of(ToyServer().query, COLLATION, CHARSET)
    assert fold("chx") == fold("CHX ") == f"{OPAQUE}FF.58"
    assert fold("\u00e9") == f"{OPAQUE}E9"
    assert fold("Ω") == f"{OPAQUE}Ω"


def test_keys_that_compare_by_their_codes_lose_blanks_at_the_end_where_these_do_not_count() -> None:
    fold = folding_of(ToyServer().query, "latin1_bin", CHARSET)
    assert (fold("Ab  "), fold("ab")) == ("Ab", "ab")
    assert unchanged("Ab ") == "Ab "


def test_a_collation_is_learnt_once_for_all_sessions_and_each_knows_the_spellings_it_met() -> None:
    learnt: dict[str, object] = {}
    first, second = ToyServer(), ToyServer()
    one = Foldings(first.query, learnt)  # type: ignore[arg-type]
    other = Foldings(second.query, learnt)  # type: ignore[arg-type]
    form = one.of(COLLATION, CHARSET)("Gr\u00fcn")
    assert other.of(COLLATION, CHARSET)("gr\u00fcn") == form
    assert not any("VERSION()" in statement for statement in second.asked)
    assert (one.spelled(form), other.spelled(form)) == ("Gr\u00fcn", "gr\u00fcn")
    assert other.spelled("plain") == "plain"


@pytest.mark.parametrize("collation", ["latin1_bin", COLLATION])
def test_a_key_with_nul_is_one_that_postgresql_holds_and_no_other_key_becomes(collation: str) -> None:
    """As it is, PostgreSQL would have another text than the stream: whatever comes next would not find its row."""
    foldings = Foldings(ToyServer().query)
    fold = foldings.of(collation, CHARSET)
    keys = ["a\0b", "ab", "a\ufffdb", "a\0", "a", "\0", "\0\0", f"{OPAQUE}:61"]
    forms = [fold(key) for key in keys]
    assert [stored(form) for form in forms] == forms
    assert len(set(forms)) == len(keys)
    for form in forms:
        assert fold(foldings.spelled(form)) == form
    assert foldings.spelled(fold("a\0b")) == "a\0b", "the server is asked for the key itself"


def test_a_key_of_a_column_without_a_collation_is_held_the_same_way() -> None:
    assert (unchanged("7"), stored(unchanged("a\0"))) == ("7", unchanged("a\0"))
