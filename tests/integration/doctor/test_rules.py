"""What the doctor says of the rules of a database that `consumer setup` has not been in."""

from __future__ import annotations

import pytest

from consumer.doctor import rules
from tests.integration.store.databases import new_database
from tests.servers import ensure

pytestmark = pytest.mark.servers


def test_before_setup_it_says_in_its_own_words_that_no_rules_are_in_force() -> None:
    with new_database(ensure(("postgres",)).postgres_url) as database:
        (check,) = rules.examine(database, 10, lambda _file: None)
    assert check.sentence == "there is no table leadstream.rules, so no rules are in force"
    assert check.hint == "consumer setup"
