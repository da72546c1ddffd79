"""What the company's foreign keys do to claims and what belongs to them when users and claims go or get other ids.

InnoDB does it by itself, and the binlog of most servers does not show it. Where the server leaves a table's foreign
keys out (foreign_key_checks off) or logs what they do (MySQL from 9.6 on), the rows event's flags say so. MariaDB shows
them only to accounts with a privilege on whole tables, such as REFERENCES, and then in the tables' definitions.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from consumer.capture import CAPTURED, OF_CLAIMS
from consumer.mysql.errors import LoginRefused, PreconditionFailed
from consumer.mysql.session import Replica


class Action(StrEnum):
    """What happens to the rows that refer to one that goes; NONE: they stay as they are, or the row may not go.

    UNKNOWN: the account may not see it, so that nobody can say what is left and whatever returns has to be read live.
    """

    CASCADE = "CASCADE"
    SET_NULL = "SET NULL"
    NONE = "NO ACTION"
    UNKNOWN = "UNKNOWN"


class ForeignKeys(NamedTuple):
    """What happens to a user's claims, and to what belongs to a claim, where the id is deleted or changes."""

    user_deleted: Action = Action.CASCADE
    user_renumbered: Action = Action.CASCADE
    claim_deleted: Action = Action.CASCADE
    claim_renumbered: Action = Action.CASCADE


_PARENTS: Final = {"claims": ("user_id", "users"), **dict.fromkeys(OF_CLAIMS, ("claim_id", "claims"))}
"""Tables with a foreign key: its column, and the table that it refers to by `id`."""

_RULES: Final = f"""
SELECT used.table_name, rule.delete_rule, rule.update_rule
FROM information_schema.referential_constraints AS rule
JOIN information_schema.key_column_usage AS used
  ON used.constraint_schema = rule.constraint_schema AND used.constraint_name = rule.constraint_name
 AND used.table_name = rule.table_name
WHERE rule.constraint_schema = DATABASE()
  AND (used.table_name, used.column_name, used.referenced_table_name, used.referenced_column_name)
   IN ({", ".join(f"('{table}', '{column}', '{parent}', 'id')" for table, (column, parent) in _PARENTS.items())})
"""  # noqa: S608 (names of ours)


_DEFINED: Final = re.compile(
    r"FOREIGN KEY \(`(?P<column>\w+)`\) REFERENCES `(?P<table>\w+)` \(`id`\)"
    r"(?: ON DELETE (?P<deleted>CASCADE|SET NULL|NO ACTION|RESTRICT|SET DEFAULT))?"
    r"(?: ON UPDATE (?P<renumbered>CASCADE|SET NULL|NO ACTION|RESTRICT|SET DEFAULT))?",
    re.IGNORECASE,
)


def foreign_keys(replica: Replica) -> ForeignKeys:
    """The foreign keys that the server has now, as far as the account may see them. Raises Passing."""
    try:
        rules = _defined(replica) if replica.is_mariadb() else replica.query(_RULES)
    except (LoginRefused, PreconditionFailed):
        return ForeignKeys(*[Action.UNKNOWN] * 4)
    found: dict[str, tuple[Action, Action]] = {}
    for table, deleted, renumbered in rules:
        strongest = found.get(str(table).lower(), (Action.NONE, Action.NONE))
        found[str(table).lower()] = _stronger(strongest[0], str(deleted)), _stronger(strongest[1], str(renumbered))
    nothing = Action.NONE, Action.NONE
    of_claims = zip(*(found.get(table, nothing) for table in OF_CLAIMS), strict=True)
    return ForeignKeys(*found.get("claims", nothing), *map(_common, of_claims))


def _common(actions: tuple[Action, ...]) -> Action:
    """What happens in all tables alike; UNKNOWN where it is not the same in each, as nothing is said of one alone."""
    return actions[0] if len(set(actions)) == 1 else Action.UNKNOWN


def _defined(replica: Replica) -> list[tuple[str, str | None, str | None]]:
    """Table and rules, from the tables' definitions."""
    found = []
    for table, parent in _PARENTS.items():
        definition = str(replica.query(f"SHOW CREATE TABLE {table}")[0][1])
        for key in _DEFINED.finditer(definition):
            if (key["column"].lower(), key["table"].lower()) == parent:
                found.append((table, key["deleted"], key["renumbered"]))
    return found


def _stronger(action: Action, rule: str) -> Action:
    """Of several keys on one column, the one that takes rows away."""
    actions = {one.value: one for one in Action}
    order = (Action.NONE, Action.SET_NULL, Action.CASCADE)
    return max(action, actions.get(rule.upper(), Action.NONE), key=order.index)


class Reference(NamedTuple):
    """A foreign key of a captured table; `column` is empty where the account may not see it."""

    table: str
    column: str
    parent: str
    deleted: str
    renumbered: str

    @property
    def acts_unseen(self) -> bool:
        """Whether rows of the captured table go or change with rows of the other one, unknown to the stream.

        It knows what users do to claims and claims to requirements; other columns than the captured ones matter to
        nobody.
        """
        if _PARENTS.get(self.table) == (self.column, self.parent):
            return False
        captured = not self.column or self.column in CAPTURED[self.table].columns
        rules = {self.deleted, self.renumbered}
        return self.deleted == "CASCADE" or (captured and not rules.isdisjoint(("CASCADE", "SET NULL", "SET DEFAULT")))


_NAMES: Final = ", ".join(f"'{table}'" for table in CAPTURED)
_REFERENCES: Final = f"""
SELECT rule.table_name, used.column_name, rule.referenced_table_name, rule.delete_rule, rule.update_rule
FROM information_schema.referential_constraints AS rule
LEFT JOIN information_schema.key_column_usage AS used
  ON used.constraint_schema = rule.constraint_schema AND used.constraint_name = rule.constraint_name
 AND used.table_name = rule.table_name
WHERE rule.constraint_schema = DATABASE() AND rule.table_name IN ({_NAMES})
"""  # noqa: S608 (names of ours)
_REFERENCE: Final = re.compile(
    r"FOREIGN KEY \(`(?P<column>[^`]+)`[^)]*\) REFERENCES (?:`[^`]+`\.)?`(?P<table>[^`]+)` \([^)]*\)"
    r"(?: ON DELETE (?P<deleted>CASCADE|SET NULL|NO ACTION|RESTRICT|SET DEFAULT))?"
    r"(?: ON UPDATE (?P<renumbered>CASCADE|SET NULL|NO ACTION|RESTRICT|SET DEFAULT))?",
    re.IGNORECASE,
)


def references(replica: Replica) -> list[Reference]:
    """The foreign keys of the captured tables, as far as the account may see them. Raises Passing, LoginRefused."""
    if not replica.is_mariadb():
        return [_reference(*row) for row in replica.query(_REFERENCES)]
    found: list[Reference] = []
    for table in CAPTURED:
        try:
            definition = str(replica.query(f"SHOW CREATE TABLE {table}")[0][1])
        except PreconditionFailed:
            continue
        found += [_reference(table, *key.groups()) for key in _REFERENCE.finditer(definition)]
    return found


def _reference(
    table: str, column: str | None, parent: str | None, deleted: str | None, renumbered: str | None
) -> Reference:
    lower = [str(name or "").lower() for name in (table, column, parent)]
    rules = [str(rule or "NO ACTION").upper() for rule in (deleted, renumbered)]
    return Reference(lower[0], lower[1], lower[2], rules[0], rules[1])
