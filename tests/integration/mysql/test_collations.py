"""Words and keys against the servers' own comparisons, in every collation that a column can have."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing

import pytest

from consumer.leads.words import EXACT, Comparison
from consumer.mysql import charsets
from consumer.mysql.collations import comparisons
from consumer.mysql.key_folding import CollatedKeys, folding_of
from consumer.mysql.session import Replica
from consumer.mysql.weights import Collation, Query, UnsupportedCollation
from consumer.settings import MySQLAddress
from tests.integration.binlog.source import Source
from tests.integration.mysql.nasty import EMOJI_WORD, KEYS, NASTY, RULE_WORDS, WITH_LONG_KANA
from tests.servers import ensure

WITHOUT_CODEC = frozenset({"armscii8", "dec8", "geostd8", "keybcs2", "swe7"})
"""Character sets that Python cannot read: a captured column in one is refused, whatever its collation."""
TWINS = ("ucs2", "utf16", "utf32", "utf8mb3")
"""Character sets that have the collations of utf8mb4 again, by the same tables of the server: of these one in four."""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]


@pytest.fixture(params=["mysql", "mariadb"])
def replica(request: pytest.FixtureRequest) -> Iterator[Replica]:
    servers = ensure([request.param])
    url = servers.mysql_url if request.param == "mysql" else servers.mariadb_url
    with closing(Replica(MySQLAddress(url))) as session:
        yield session


@pytest.fixture(params=["mysql", "mariadb"])
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    servers = ensure([request.param])
    with Source(servers.mysql_url if request.param == "mysql" else servers.mariadb_url) as source:
        yield source


def every_collation(replica: Replica) -> list[tuple[str, str]]:
    """Names and character sets of the collations that a text column can have; of twins one in four, by turns."""
    name = "full_collation_name" if replica.is_mariadb() else "collation_name"
    rows = replica.query(
        f"SELECT {name}, character_set_name FROM information_schema.collation_character_set_applicability"
        " WHERE character_set_name <> 'binary' ORDER BY 1"
    )
    tables = {str(name).removeprefix("utf8mb4") for name, charset in rows if charset == "utf8mb4"}
    twins = [name for name, charset in rows if charset in TWINS and str(name).removeprefix(charset) in tables]
    left_out = {name for n, name in enumerate(twins) if n % 4}
    return [
        (str(name), str(charset)) for name, charset in rows if charset not in WITHOUT_CODEC and name not in left_out
    ]


def asked(session: Query, collation: str, charset: str) -> Query:
    """A session in which the only column is `claims.status`, of a collation."""

    def query(statement: str, arguments: tuple[object, ...]) -> list[tuple[object, ...]]:
        if "information_schema.columns" in statement:
            return [("claims", "status", "varchar", "varchar(80)", charset, collation, "YES", None, "")]
        return session(statement, arguments)

    return query


def differing(
    collation: Collation, keys: Mapping[str, Hashable], texts: Sequence[str], others: Sequence[str]
) -> set[tuple[str, str]]:
    """Pairs that we and the server do not both call equal, of texts that the character set can hold."""
    everything = sorted({*texts, *others})
    weights = zip(everything, collation.weights(everything), strict=True)
    held = {text for text, weight in weights if weight is not None}
    texts = [text for text in texts if text in held]
    others = [other for other in others if other in held]
    ours = {(text, other) for text in texts for other in others if keys[text] == keys[other]}
    return ours ^ collation.equal(texts, others)


def test_every_character_set_of_the_server_has_a_codec_or_is_refused(replica: Replica) -> None:
    names = {str(name) for (name,) in replica.query("SELECT character_set_name FROM information_schema.character_sets")}
    assert {name for name in names if charsets.decoder(name) is None} == {*WITHOUT_CODEC, "binary"}
    assert all(charsets.encoder(name) is not None for name in names - WITHOUT_CODEC - {"binary"})
    with pytest.raises(UnsupportedCollation, match=r"claims\.status.*dec8.*convert the column to utf8mb4"):
        comparisons(asked(replica.query, "dec8_swedish_ci", "dec8"), "company", {("claims", "status"): ["approved"]})


def test_words_compare_as_the_server_compares_them_in_every_collation(replica: Replica) -> None:
    wrong: dict[str, object] = {}
    for name, charset in every_collation(replica):
        words = [word for word in RULE_WORDS if word not in WITH_LONG_KANA or not name.startswith("utf8mb4_ja_")]
        session = asked(replica.query, name, charset)
        comparison = comparisons(session, "company", {("claims", "status"): words})["claims.status"]
        stored = Comparison.from_json(json.loads(json.dumps(comparison.as_json())))
        assert stored == comparison
        keys = {text: stored.key(text) for text in NASTY}
        collation = Collation(replica.query, name, charset)
        difference = differing(collation, keys, NASTY, words)
        if difference:
            wrong[name] = difference
    assert wrong == {}


@pytest.mark.parametrize("name", ["unicode_ci", "general_ci", "unicode_520_ci", "bin", "turkish_ci", "czech_ci"])
def test_all_emoji_are_equal_where_the_server_calls_them_equal(replica: Replica, name: str) -> None:
    session = asked(replica.query, f"utf8mb4_{name}", "utf8mb4")
    comparison = comparisons(session, "company", {("claims", "status"): [EMOJI_WORD]})["claims.status"]
    collation = Collation(replica.query, f"utf8mb4_{name}", "utf8mb4")
    keys = {text: comparison.key(text) for text in NASTY}
    assert differing(collation, keys, NASTY, [EMOJI_WORD]) == set()
    assert len(json.dumps(comparison.as_json())) < 10_000


def test_a_word_that_cannot_be_compared_without_the_server_is_refused_by_name() -> None:
    with closing(Replica(MySQLAddress(ensure(["mysql"]).mysql_url))) as replica:
        session = asked(replica.query, "utf8mb4_ja_0900_as_cs", "utf8mb4")
        with pytest.raises(UnsupportedCollation, match=r"claims\.status in database company: .*utf8mb4_ja_0900_as_cs"):
            comparisons(session, "company", {("claims", "status"): WITH_LONG_KANA})


def test_keys_fold_together_where_the_server_calls_them_equal_in_every_collation(replica: Replica) -> None:
    wrong: dict[str, object] = {}
    for name, charset in every_collation(replica):
        fold = folding_of(replica.query, name, charset)
        collation = Collation(replica.query, name, charset)
        folded = {key: fold(key) for key in KEYS}
        difference = differing(collation, folded, KEYS, KEYS)
        if difference:
            wrong[name] = difference
    assert wrong == {}


def test_columns_are_found_with_their_types_and_collations(source: Source) -> None:
    unicode_ci = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
    source.run(
        "CREATE TABLE claims (id BIGINT PRIMARY KEY, user_id INT, status ENUM('Approved', 'open')"
        f" {unicode_ci}, lender VARCHAR(20) {unicode_ci})",
        "CREATE TABLE claim_requirements (id CHAR(36) CHARACTER SET latin1 COLLATE latin1_bin PRIMARY KEY,"
        " claim_id BINARY(16), type TEXT CHARACTER SET latin1 COLLATE latin1_german1_ci, status INT)",
    )
    with closing(Replica(source.address)) as replica:
        words = {
            ("claims", "status"): ["approved"],
            ("claims", "nothing"): ["approved"],
            ("claim_requirements", "type"): ["maß"],
            ("claim_requirements", "status"): ["7"],
        }
        found = comparisons(replica.query, source.name, words)
        assert set(found) == {"claims.status", "claim_requirements.type", "claim_requirements.status"}
        assert found["claim_requirements.status"] is EXACT
        assert found["claims.status"].key("ÀPPROVED  ") == found["claims.status"].key("approved")


def test_a_folded_key_is_the_small_letter_without_blanks_and_a_key_compared_by_code_keeps_its_letters(
    replica: Replica,
) -> None:
    folded = folding_of(replica.query, "utf8mb4_general_ci", "utf8mb4")
    assert isinstance(folded, CollatedKeys)
    assert {folded(key) for key in ("Ab-1", "aB-1 ", "ÁB-1")} == {"ab-1"}
    assert folding_of(replica.query, "utf8mb4_bin", "utf8mb4")("AB-1  ") == "AB-1"
