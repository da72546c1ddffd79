"""What a collation makes of texts, by what its server answers."""

from __future__ import annotations

import pytest

from consumer.leads.words import CharacterRun
from consumer.mysql.weights import Collation, Parts, UnsupportedCollation
from tests.unit.mysql.toy_server import CHARSET, COLLATION, ToyServer


def collation() -> Collation:
    return Collation(ToyServer().query, COLLATION, CHARSET)


def test_a_weight_has_an_element_for_each_letter() -> None:
    assert collation().weight("Ab ") == (("41", "42", "20"),)
    assert collation().weights(["chA", ""]) == [(("FF", "41"),), ((),)]


def test_a_text_that_the_character_set_cannot_hold_has_no_weight() -> None:
    assert collation().weights(["a", "Ω", "b"]) == [(("41",),), None, (("42",),)]
    assert not collation().holds("Ω")


def test_blanks_that_do_not_count_at_the_end_are_its_padding() -> None:
    assert collation().padding == ("20",)


def test_letters_that_weigh_otherwise_together_are_found_in_every_case() -> None:
    found = collation().contractions([*"abchABCH"], [*"abchABCH"])
    assert found == dict.fromkeys(("ch", "cH", "Ch", "CH"), (("FF",),))


def test_equal_is_what_the_server_calls_equal() -> None:
    assert collation().equal(["OPEN", "open ", "opens"], ["open"]) == {("OPEN", "open"), ("open ", "open")}
    assert collation().equal([], ["open"]) == set()


def test_the_alphabet_is_what_can_be_part_of_the_words() -> None:
    wanted = Parts([(("41", "42"),)], 1)
    (upper, lower) = collation().alphabet(wanted)[:1], collation().alphabet(wanted)[-1:]
    assert upper == [CharacterRun(ord("A"), ord("A"), (("41",),))]
    assert lower == [CharacterRun(ord("b"), ord("b"), (("42",),))]


def test_parts_are_whole_elements_one_after_the_other() -> None:
    parts = Parts([(("41", "42", "43"), ("20",))], 2)
    assert (("41", "42"), ("20",)) in parts
    assert ((), ()) in parts
    assert (("41", "43"), ("20",)) not in parts
    assert (("1",), ()) not in parts


def test_another_session_of_the_server_is_asked_without_learning_anew() -> None:
    known, other = collation(), ToyServer()
    assert known.asking(other.query).weight("a") == (("41",),)
    assert len(other.asked) == 1


@pytest.mark.parametrize(
    ("name", "charset", "sentence"),
    [
        ("geostd8_general_ci", "geostd8", "which we cannot read exactly"),
        ("latin1_x; DROP TABLE users", CHARSET, "not the name of a collation"),
    ],
)
def test_what_cannot_be_asked_for_exactly_is_refused(name: str, charset: str, sentence: str) -> None:
    server = ToyServer()
    with pytest.raises(UnsupportedCollation, match=sentence):
        Collation(server.query, name, charset)
    assert server.asked == []
