"""What the company's foreign keys do to claims and requirements when users and claims go or get other ids.

InnoDB does it by itself, and the binlog of most servers does not show it. Where the server leaves a table's foreign
keys out (foreign_key_checks off) or logs what they do (MySQL from 9.6 on), the rows event's flags say so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from consumer.binlog.connection import Replica


class Action(StrEnum):
    """What happens to the rows that refer to one that goes; NONE: they stay as they are, or the row may not go."""

    CASCADE = "CASCADE"
    SET_NULL = "SET NULL"
    NONE = "NO ACTION"


class ForeignKeys(NamedTuple):
    """What happens to a user's claims, and to a claim's requirements, where the id is deleted or changes."""

    user_deleted: Action = Action.CASCADE
    user_renumbered: Action = Action.CASCADE
    claim_deleted: Action = Action.CASCADE
    claim_renumbered: Action = Action.CASCADE


_RULES: Final = """
SELECT used.table_name, rule.delete_rule, rule.update_rule
FROM information_schema.referential_constraints AS rule
JOIN information_schema.key_column_usage AS used
  ON used.constraint_schema = rule.constraint_schema AND used.constraint_name = rule.constraint_name
 AND used.table_name = rule.table_name
WHERE rule.constraint_schema = DATABASE()
  AND (used.table_name, used.column_name, used.referenced_table_name, used.referenced_column_name)
   IN (('claims', 'user_id', 'users', 'id'), ('claim_requirements', 'claim_id', 'claims', 'id'))
"""


def foreign_keys(replica: Replica) -> ForeignKeys:
    """The foreign keys that the server has now. Raises what `Replica.query` raises."""
    found: dict[str, tuple[Action, Action]] = {}
    for table, deleted, renumbered in replica.query(_RULES):
        strongest = found.get(str(table).lower(), (Action.NONE, Action.NONE))
        found[str(table).lower()] = _stronger(strongest[0], str(deleted)), _stronger(strongest[1], str(renumbered))
    nothing = Action.NONE, Action.NONE
    return ForeignKeys(*found.get("claims", nothing), *found.get("claim_requirements", nothing))


def _stronger(action: Action, rule: str) -> Action:
    """Of several keys on one column, the one that takes rows away."""
    actions = {one.value: one for one in Action}
    order = (Action.NONE, Action.SET_NULL, Action.CASCADE)
    return max(action, actions.get(rule.upper(), Action.NONE), key=order.index)
