"""How the words of a file of rules compare in the company's columns, by what the server answers."""

from __future__ import annotations

import pytest

from consumer.leads.words import EXACT
from consumer.mysql.collations import comparisons
from consumer.mysql.weights import UnsupportedCollation
from tests.unit.mysql.toy_server import ToyServer, column

COLUMNS = (
    column("claims", "id", text=False),
    column("CLAIMS", "Status", text=True),
    column("claim_requirements", "type", text=True),
)


def test_words_compare_as_their_column_does() -> None:
    words = {("claims", "status"): ["Cancelled", "chosen"], ("claim_requirements", "type"): ["id"]}
    found = comparisons(ToyServer(*COLUMNS).query, "company", words)
    assert list(found) == ["claims.status", "claim_requirements.type"]
    status = found["claims.status"]
    assert status.key("CANCELLED  ") == status.key("Cancelled")
    assert status.key("CHosen") == status.key("chosen")
    assert status.key("cancelle\u0301d") != status.key("Cancelled")
    assert status.key(" cancelled") != status.key("Cancelled")


def test_numbers_compare_digit_by_digit_and_columns_that_are_not_there_are_left_out() -> None:
    words = {("claims", "id"): ["7"], ("claims", "gone"): ["x"]}
    assert comparisons(ToyServer(*COLUMNS).query, "company", words) == {"claims.id": EXACT}


def test_a_server_that_contradicts_its_weights_is_not_believed() -> None:
    with pytest.raises(
        UnsupportedCollation, match=r"^claims\.status in database company: .*otherwise than their weights"
    ):
        comparisons(ToyServer(*COLUMNS, lies=True).query, "company", {("claims", "status"): ["open"]})
