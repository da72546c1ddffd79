"""What a server's foreign keys do, as it tells of them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from consumer.mysql.errors import PreconditionFailed
from consumer.mysql.foreign_keys import Action, ForeignKeys, Reference, foreign_keys, references
from consumer.mysql.session import Replica


class Server:
    """One that answers with rows, or with the definitions of its tables."""

    def __init__(self, rows: list[tuple[Any, ...]] | None = None, definitions: dict[str, str] | None = None) -> None:
        self.rows, self.definitions = rows, definitions

    def is_mariadb(self) -> bool:
        return self.definitions is not None

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        if self.definitions is not None:
            table = statement.removeprefix("SHOW CREATE TABLE ")
            return [(table, self.definitions[table])]
        if self.rows is None:
            raise PreconditionFailed("the account may not see it")
        return self.rows


def found(**server: Any) -> ForeignKeys:
    return foreign_keys(cast(Replica, Server(**server)))


def test_of_several_keys_on_a_column_the_one_that_takes_rows_away_counts() -> None:
    rows = [("claims", "SET NULL", "NO ACTION"), ("CLAIMS", "cascade", "RESTRICT")]
    assert found(rows=rows) == ForeignKeys(Action.CASCADE, Action.NONE, Action.NONE, Action.NONE)


def test_without_foreign_keys_everything_stays() -> None:
    assert found(rows=[]) == ForeignKeys(*[Action.NONE] * 4)


def test_what_the_account_may_not_see_nobody_knows() -> None:
    assert found() == ForeignKeys(*[Action.UNKNOWN] * 4)


def test_mariadb_says_it_in_its_tables_definitions() -> None:
    definitions = {
        "claims": "KEY a, CONSTRAINT x FOREIGN KEY (`user_id`) REFERENCES `users` (`id`) ON DELETE CASCADE",
        "claim_requirements": "CONSTRAINT y FOREIGN KEY (`claim_id`) REFERENCES `claims` (`id`)"
        " ON DELETE SET NULL ON UPDATE CASCADE, CONSTRAINT z FOREIGN KEY (`file_id`) REFERENCES `files` (`id`)",
    }
    keys = found(definitions=definitions)
    assert keys == ForeignKeys(Action.CASCADE, Action.NONE, Action.SET_NULL, Action.CASCADE)


def test_every_key_of_the_captured_tables_is_found_in_the_words_of_either_server() -> None:
    definitions = {
        "users": "FOREIGN KEY (`current_signature_file_id`) REFERENCES `files` (`id`) ON DELETE SET NULL",
        "claims": "FOREIGN KEY (`user_id`) REFERENCES `users` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,"
        " FOREIGN KEY (`a`,`b`) REFERENCES `other`.`Lenders` (`c`,`d`)",
        "claim_requirements": "PRIMARY KEY (`id`)",
    }
    mariadb = references(cast(Replica, Server(definitions=definitions)))
    assert mariadb == [
        Reference("users", "current_signature_file_id", "files", "SET NULL", "NO ACTION"),
        Reference("claims", "user_id", "users", "CASCADE", "CASCADE"),
        Reference("claims", "a", "lenders", "NO ACTION", "NO ACTION"),
    ]
    rows = [(key.table.upper(), key.column or None, key.parent, key.deleted, key.renumbered) for key in mariadb]
    assert references(cast(Replica, Server(rows=rows))) == mariadb


def test_where_what_belongs_to_a_claim_does_not_all_fare_alike_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.mysql.foreign_keys.OF_CLAIMS", ("claim_requirements", "claim_notes"))
    rows = [("claim_requirements", "CASCADE", "CASCADE"), ("claim_notes", "SET NULL", "CASCADE")]
    assert found(rows=rows) == ForeignKeys(Action.NONE, Action.NONE, Action.UNKNOWN, Action.CASCADE)
