"""A file of rules: read, refused with every fault at once, and written again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.leads.model import QueueType
from consumer.leads.rule_file import DEFAULT, Attribution, Exclusion, Labels, RuleFile, RuleFileError, from_json, parse

WHOLE = """
[queues]
unsigned = "unsigned_users"
outstanding = "outstanding_requests"
none = false
[claims]
closed = ["cancelled"]
[requirements]
outstanding = ["pending"]
[[requirements.excluded]]
type = "signature"
[[requirements.excluded]]
type = "id_document"
reason = "base requirement for claim."
[[requirements.excluded]]
reason = "withdrawn by us"
[calls]
never = ["do_not_contact", "Deceased"]
"""


def problems(text: str) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(RuleFileError) as refused:
        parse(text)
    return refused.value.problems


def test_a_whole_file_says_what_the_business_means() -> None:
    assert parse(WHOLE) == RuleFile(
        Labels(outstanding="outstanding_requests", none=None),
        ("cancelled",),
        None,
        ("pending",),
        (
            Exclusion("signature"),
            Exclusion("id_document", "base requirement for claim."),
            Exclusion(None, "withdrawn by us"),
        ),
        ("do_not_contact", "Deceased"),
    )


def test_what_a_file_leaves_out_is_the_plans() -> None:
    assert parse("") == parse("[claims]\n[requirements]\n[queues]\n[calls]") == DEFAULT
    assert parse('[claims]\nclosed = ["lost"]') == RuleFile(closed=("lost",))
    assert [DEFAULT.labels.of(queue_type) for queue_type in QueueType] == [queue_type.value for queue_type in QueueType]


def test_a_file_is_written_as_people_write_it() -> None:
    file = RuleFile(
        Labels(outstanding="outstanding_requests", none=None),
        ("cancelled", "gelöscht"),
        None,
        ("pending",),
        (Exclusion("signature"), Exclusion("id_document", "withdrawn\x7f"), Exclusion(None, "by us")),
        (),
        Attribution(45, 7),
    )
    assert (
        file.as_toml()
        == """\
[queues]
unsigned = "unsigned_users"
outstanding = "outstanding_requests"
none = false

[claims]
closed = ["cancelled", "gelöscht"]

[requirements]
outstanding = ["pending"]

[[requirements.excluded]]
type = "signature"

[[requirements.excluded]]
type = "id_document"
reason = "withdrawn\\u007f"

[[requirements.excluded]]
reason = "by us"

[calls]
never = []

[attribution]
talk_seconds = 45
days = 7
"""
    )
    assert from_json(file.as_json()) == parse(file.as_toml()) == file
    assert file.labels.every() == tuple(file.labels.of(queue_type) for queue_type in QueueType)
    assert set(file.labels.every()) == {"unsigned_users", "outstanding_requests", None}
    assert DEFAULT.as_json() == {
        "queues": {
            "unsigned": DEFAULT.labels.unsigned, "outstanding": DEFAULT.labels.outstanding, "none": DEFAULT.labels.none
        },
        "claims": {"closed": ["cancelled"]},
        "requirements": {"settled": ["approved"], "excluded": []},
        "calls": {"never": ["do_not_contact"]},
    }  # fmt: skip


def test_a_file_without_exclusions_does_not_speak_of_them() -> None:
    assert "excluded" not in DEFAULT.as_toml()


def test_each_sentence_says_what_would_come_of_it() -> None:
    assert problems("[requirements]\nsettled = []") == [
        "requirements.settled is empty, so no document could ever complete anything; name at least one word, or leave"
        " the key out"
    ]
    assert problems("[requirements]\noutstanding = []") == [
        "requirements.outstanding is empty, so nobody could ever owe a document; name at least one word, or leave the"
        " key out"
    ]
    assert problems("[calls]\nnever = [' ']") == [
        "calls.never has a blank word, so nobody whose last call has no outcome could be called; remove it"
    ]
    assert problems("[claims]\nclosed = ['ä', 'ä']\n[queues]\nnone = 1\noutstanding = false\nnobody = 'x'") == [
        'claims.closed names "ä" twice; remove one of them',
        "queues.nobody is not a key of a rules file; the keys of [queues] are unsigned, outstanding, none",
        'queues.outstanding should be a text (only queues.none may be false); write outstanding = "…"',
        'queues.none should be a text, or false for SQL NULL; write none = "…"',
    ]
    assert problems("[attribution]\ndays = -1") == [
        "attribution.days should be a whole number from 0 to 3650; write days = 30"
    ]
    nul = '[queues]\nunsigned = "a\\u0000"\n[[requirements.excluded]]\ntype = "a\\u0000"\n'
    assert problems(nul) == [
        'queues.unsigned is blank or holds a NUL character; write unsigned = "…"',
        'requirements.excluded, entry 1, has a type that is not a text; write type = "…"',
    ]
    two = [1, {"type": 2}]
    with pytest.raises(
        RuleFileError, match=r"write .* below; requirements\.excluded, entry 2, has a type that"
    ) as both:
        from_json({"requirements": {"excluded": two}})
    assert len(both.value.problems) == 2


def test_a_label_of_none_is_what_the_file_says() -> None:
    assert parse('[queues]\nnone = "nobody"').labels == Labels(none="nobody")


def test_a_list_may_be_empty_where_that_means_something() -> None:
    file = parse("[claims]\nclosed = []\n[requirements]\nexcluded = []\n[calls]\nnever = []")
    assert file == RuleFile(closed=(), never=())
    assert parse(file.as_toml()) == file


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("closed = 1", "closed is not a section", "[queues], [claims], [requirements], [calls]"),
        ("claims = 1", "claims should be a section", "write [claims]"),
        ("[claim]\nclosed = []", "claim is not a section", "[claims]"),
        ("[claims]\nclosde = []", "claims.closde is not a key", "the keys of [claims] are closed"),
        ("[claims]\nclosed = 'cancelled'", "claims.closed should be a list of texts", 'closed = ["…"]'),
        ("[claims]\nclosed = ['a', 1]", "claims.closed should be a list of texts", 'closed = ["…"]'),
        ("[claims]\nclosed = ['a', 'b', 'a']", 'claims.closed names "a" twice', "remove one"),
        ('[claims]\nclosed = ["a\\u0000"]', "claims.closed has a word with a NUL", "remove it"),
        ("[requirements]\nsettled = []", "requirements.settled is empty", "at least one word"),
        ("[requirements]\noutstanding = []", "requirements.outstanding is empty", "at least one word"),
        ("[requirements]\nsettled = ['a']\noutstanding = ['b']", "requirements.outstanding excludes", "remove one"),
        ("[requirements]\nexcluded = 'a'", "requirements.excluded should be a list", "[[requirements.excluded]]"),
        ("[requirements]\nexcluded = ['a']", "requirements.excluded, entry 1, should be a table", "[[requirements."),
        ("[[requirements.excluded]]", "requirements.excluded, entry 1, names nothing", "give type, reason or both"),
        ("[[requirements.excluded]]\nkind = 'a'", "entry 1, has the key kind", "type and reason"),
        ("[[requirements.excluded]]\ntype = 1", "entry 1, has a type that is not a text", 'type = "…"'),
        (
            "[[requirements.excluded]]\ntype = 'a'\n[[requirements.excluded]]\ntype = 'a'",
            "requirements.excluded, entry 2, is there twice",
            "remove one",
        ),
        ("[queues]\nunsigned = false", "queues.unsigned should be a text", "only queues.none may be false"),
        ("[queues]\nnone = true", "queues.none should be a text, or false", 'none = "…"'),
        ("[queues]\nnone = ' '", "queues.none is blank", 'none = "…"'),
        (
            "[queues]\noutstanding = 'unsigned_users'",
            "queues.outstanding is the same label as queues.unsigned",
            "change",
        ),
        ("[queues]\nunsigned = 'none'", "queues.none is the same label as queues.unsigned", "change one"),
        ("[calls]\nnever = [' ']", "calls.never has a blank word", "remove it"),
        ("[claims", "the file is not TOML", "write texts in quotes"),
    ],
)
def test_a_fault_is_one_sentence_that_names_the_key_and_a_hint(text: str, key: str, hint: str) -> None:
    (problem,) = problems(text)
    assert key in problem
    assert hint in problem


def test_all_faults_are_reported_at_once() -> None:
    found = problems("[claims]\nclosed = 1\n[calls]\nnever = 2\nalways = []\n[more]\n")
    assert [problem.split(" ")[0] for problem in found] == ["claims.closed", "calls.always", "calls.never", "more"]


def test_the_words_are_named_by_the_columns_they_are_compared_with() -> None:
    assert parse(WHOLE).words() == {
        ("claims", "status"): {"cancelled"},
        ("claim_requirements", "status"): {"pending"},
        ("claim_requirements", "type"): {"signature", "id_document"},
        ("claim_requirements", "claim_requirement_reason"): {"base requirement for claim.", "withdrawn by us"},
    }


def test_a_fingerprint_is_the_contents_not_the_layouts() -> None:
    laid_out = parse('[queues]\nnone = "none"\n\n[claims]\nclosed = [ "cancelled" ]  # as the plan says')
    assert laid_out.fingerprint == DEFAULT.fingerprint
    assert len(DEFAULT.fingerprint) == 64
    assert parse('[claims]\nclosed = ["Cancelled"]').fingerprint != DEFAULT.fingerprint


def test_neither_or_both_of_settled_and_outstanding_are_no_rules() -> None:
    for settled, outstanding in ((None, None), (("a",), ("b",))):
        with pytest.raises(ValueError, match="either settled or outstanding"):
            RuleFile(settled=settled, outstanding=outstanding)


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_words = st.lists(_texts, unique=True, max_size=4).map(tuple)
_some_words = st.lists(_texts, unique=True, min_size=1, max_size=4).map(tuple)
_labels = st.lists(_texts.filter(str.strip), unique=True, min_size=3, max_size=3)
_exclusions = st.tuples(st.none() | _texts, st.none() | _texts).filter(lambda pair: pair != (None, None))
files = st.builds(
    lambda labels, is_null, closed, status, settles, excluded, never: RuleFile(
        Labels(unsigned=labels[0], outstanding=labels[1], none=None if is_null else labels[2]),
        closed,
        status if settles else None,
        None if settles else status,
        tuple(Exclusion(*pair) for pair in excluded),
        never,
    ),
    _labels,
    st.booleans(),
    _words,
    _some_words,
    st.booleans(),
    st.lists(_exclusions, unique=True, max_size=3),
    st.lists(_texts.filter(str.strip), unique=True, max_size=3).map(tuple),
)


@given(files)
def test_every_file_comes_back_from_its_text_and_from_what_the_database_holds(file: RuleFile) -> None:
    assert parse(file.as_toml()) == file
    assert from_json(file.as_json()) == file


@pytest.mark.parametrize("text", ["true", "-1", "86401", '"30"', "1.5"])
def test_seconds_of_talk_are_a_whole_number_in_a_day(text: str) -> None:
    with pytest.raises(RuleFileError) as caught:
        parse(f"[attribution]\ntalk_seconds = {text}")
    (problem,) = caught.value.problems
    assert "attribution" in problem
    assert "should be a whole number from 0 to 86400; write talk_seconds = 30" in problem


def test_attribution_may_be_given_in_part_and_up_to_its_limits() -> None:
    plan = parse("").attribution
    assert parse("[attribution]\ntalk_seconds = 86400").attribution == Attribution(86_400, plan.days)
    assert parse("[attribution]\ndays = 3650").attribution == Attribution(plan.talk_seconds, 3_650)
    assert parse("[attribution]\ntalk_seconds = 0\ndays = 0").attribution == Attribution(0, 0)
    with pytest.raises(RuleFileError, match="from 0 to 3650"):
        parse("[attribution]\ndays = 3651")
