"""What is judged of the rules: whether some are in force, are every lead's, and compare words as when adopted.

Reading is done by `collect`, judging by `judge`, which is pure.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import Final

import psycopg

from consumer.doctor.check import Check, State, judged
from consumer.doctor.postgres_facts import asked
from consumer.leads.rule_file import RuleFile
from consumer.store import rules
from consumer.store.connection import Connection
from consumer.store.errors import NotPrepared
from consumer.store.rules import Adopted, Comparisons

SERVER: Final = "rules"
REASON: Final = "claim_requirement_reason"
EDIT: Final = "consumer rules show > rules.toml; ${EDITOR:-vi} rules.toml; consumer rules adopt rules.toml"
ADOPT: Final = "consumer rules show > rules.toml; consumer rules adopt rules.toml"
_NO_TABLE: Final = psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName

_check = partial(judged, SERVER)


def collect(connection: Connection) -> Adopted | str:
    """The rules in force, or why there are none. Raises psycopg.Error."""
    try:
        return rules.newest(connection)
    except NotPrepared as error:
        return str(error)
    except _NO_TABLE:
        return "there is no table leadstream.rules, so no rules are in force"
    except psycopg.errors.InsufficientPrivilege as error:
        return str(error.diag.message_primary)


def judge(held: Adopted | str, present: Comparisons | None) -> list[Check]:
    """Every check; `present` is how the columns compare today, None where MySQL could not be asked."""
    if isinstance(held, str):
        return [_check("rules", True, held, "consumer setup")]
    adopted = f"{held.adopted_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    checks = [_check("rules", False, f"version {held.version} is in force since {adopted}", "")]
    waits = State.WARNING if held.rejudged_at is None else State.OK
    sentence = f"{'not every lead' if waits is State.WARNING else 'every lead'} was brought to version {held.version}"
    checks.append(_check("rules applied", waits, sentence, "consumer rules adopt --resume"))
    if present is not None:
        missing = sorted({".".join(column) for column, words in held.file.words().items() if words} - present.keys())
        if missing:
            sentence = f"the rules look at {', '.join(missing)}, which is not there; what they say of it never matches"
            checks.append(
                _check("columns", True, sentence, f"put it back, or take it out of the file of rules: {EDIT}")
            )
        before, now = rules.held_as(held.comparisons), rules.held_as(present)
        others = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        sentence = "words compare as they did when the rules were adopted"
        if others:
            sentence = f"words of {', '.join(others)} compare otherwise than when the rules were adopted"
        checks.append(_check("collations", bool(others), sentence, ADOPT))
    return checks


def mentioned(conninfo: str, seconds: float) -> frozenset[str]:
    """The columns that only the rules in force look at; none where PostgreSQL cannot be asked."""
    held = asked(conninfo, seconds, collect)
    looks = isinstance(held, Adopted) and any(exclusion.reason is not None for exclusion in held.file.excluded)
    return frozenset({REASON}) if looks else frozenset()


def examine(conninfo: str, seconds: float, ask: Callable[[RuleFile], Comparisons | None]) -> list[Check]:
    """Reads and judges. Nothing where PostgreSQL cannot be asked: its own checks report that."""
    held = asked(conninfo, seconds, collect)
    return [] if held is None else judge(held, ask(held.file) if isinstance(held, Adopted) else None)
