"""What is judged of PostgreSQL. Pure: facts in, checks out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from consumer.doctor.check import Check, State, judged, offset
from consumer.doctor.postgres_facts import PostgresFacts
from consumer.store.call_centre import attribution, fit
from consumer.store.call_centre.needs import LABELS, TABLES, Labels
from consumer.store.pooler import HINT

SERVER: Final = "postgres"
OLDEST: Final = 130000
OURS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
CLOCK_SECONDS: Final = 5.0
SETUP: Final = "consumer setup"
WHOLE: Final = "lanes change their epoch together: restore table leadstream.lanes as a whole"


def judge(facts: PostgresFacts, lanes: int, *, shadow: bool) -> list[Check]:
    """Every precondition; `lanes` is LANES.

    With `shadow` the call centre's tables are none of our business.
    """
    return [*judge_quick(facts, lanes, shadow=shadow), _version(facts), _encoding(facts), _clock(facts),
            *(() if shadow else _extras(facts))]  # fmt: skip


def judge_quick(facts: PostgresFacts, lanes: int, *, shadow: bool) -> list[Check]:
    """What an applier cannot do without."""
    return [_pooler(facts), _writable(facts), _migrations(facts), *_our_privileges(facts), *_lanes(facts, lanes),
            *(() if shadow else _call_centre(facts, _labels(facts)))]  # fmt: skip


_check = partial(judged, SERVER)


def _pooler(facts: PostgresFacts) -> Check:
    sentence = f"{facts.place} {facts.pooling.value}"
    return _check("pooler", not facts.pooling.keeps_sessions, sentence, HINT)


def _labels(facts: PostgresFacts) -> Labels:
    """What the call centre's tables have to hold: the names of queues by the rules in force."""
    return LABELS if facts.rules is None else facts.rules.file.labels.every()


def _writable(facts: PostgresFacts) -> Check:
    sentence = f"{facts.place} {'is read-only' if facts.read_only else 'takes writes'}"
    return _check("writable", facts.read_only, sentence, "set DATABASE_URL to the primary server")


def _version(facts: PostgresFacts) -> Check:
    sentence = f"{facts.place} is PostgreSQL {facts.version // 10_000}"
    return _check("version", facts.version < OLDEST, sentence, "upgrade the server to PostgreSQL 13 or later")


def _encoding(facts: PostgresFacts) -> Check:
    wrong = facts.encoding not in ("UTF8", "SQL_ASCII")
    database = f'{facts.database[:-1]}_utf8"' if facts.database.endswith('"') else f"{facts.database}_utf8"
    hint = f"CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0"
    return _check("encoding", wrong, f"the encoding of {facts.place} is {facts.encoding}", hint)


def _clock(facts: PostgresFacts) -> Check:
    off = State.WARNING if abs(facts.clock_seconds) > CLOCK_SECONDS else State.OK
    sentence = f"the clock of {facts.place} is {offset(facts.clock_seconds)} from ours"
    return _check("clock", off, sentence, "chronyc makestep")


def _migrations(facts: PostgresFacts) -> Check:
    name, newest = "migrations", facts.newest_revision
    if not facts.has_schema:
        hint = SETUP if facts.may_create_schema else f"GRANT CREATE ON DATABASE {facts.database} TO {facts.role}"
        return _check(name, True, f"{facts.place} has no schema leadstream", hint)
    if facts.revision is None and not facts.may_use_schema:
        return _check(name, True, f"{facts.role} may not look into schema leadstream", _grant_schema(facts))
    if facts.revision is None or facts.revision < newest:
        return _check(name, True, f"schema leadstream is at revision {facts.revision} and we need {newest}", SETUP)
    sentence = f"schema leadstream is at revision {facts.revision}"
    if facts.revision == newest:
        return _check(name, False, sentence, "")
    hint = "start the release that the schema was made for"
    return _check(name, State.WARNING, f"{sentence}, newer than our {newest}", hint)


def _grant_schema(facts: PostgresFacts) -> str:
    return (
        f"GRANT USAGE ON SCHEMA leadstream TO {facts.role};"
        f" GRANT {', '.join(OURS)} ON ALL TABLES IN SCHEMA leadstream TO {facts.role}"
    )


def _our_privileges(facts: PostgresFacts) -> Iterator[Check]:
    if not facts.has_schema:
        return
    wanting = sorted(name for name, may in facts.ours.items() if not may.issuperset(OURS))
    denied = bool(wanting) or not facts.may_use_schema
    sentence = f"{facts.role} {'may not' if denied else 'may'} read and write every table of schema leadstream"
    yield _check("our tables", denied, sentence, _grant_schema(facts))


def _lanes(facts: PostgresFacts, lanes: int) -> Iterator[Check]:
    if facts.lanes is None:
        return
    count, epochs = facts.lanes
    sentence = f"leadstream.lanes has {count} lanes and LANES is {lanes}"
    yield _check("lanes", count != lanes, sentence, f"export LANES={count}" if count else SETUP)
    if len(epochs) > 1:
        sentence = f"the lanes are at epochs {', '.join(map(str, sorted(epochs)))}"
        yield _check("epochs", State.WARNING, sentence, WHOLE)


def _call_centre(facts: PostgresFacts, labels: Labels) -> Iterator[Check]:
    astray = fit.elsewhere(facts.place, facts.role, facts.elsewhere, facts.closed)
    if astray is not None:
        yield _of(astray)
    for table, needs in TABLES.items():
        if table not in facts.theirs:
            if astray is None:
                yield _check(table, True, f"there is no table {table} in {facts.place}", SETUP)
            continue
        theirs = facts.theirs[table]
        yield from map(_of, fit.judge(table, theirs, labels))
        missing = [word for word in needs.privileges if word not in facts.privileges[table]]
        sentence = f"{facts.role} {'lacks ' + ', '.join(missing) if missing else 'has what it needs'} on {table}"
        grant = f"GRANT {', '.join(missing)} ON {theirs.name} TO {facts.role}"
        yield _check(f"privileges on {table}", bool(missing), sentence, grant)


def _extras(facts: PostgresFacts) -> Iterator[Check]:
    for table, theirs in facts.theirs.items():
        yield from map(_of, fit.additions(table, theirs))
    found = None if facts.attribution is None else attribution.judge(facts.attribution)
    if found is not None:
        yield _of(found)


def _of(finding: fit.Finding) -> Check:
    wrong = State.OK if finding.fits else State.WARNING if finding.works else State.FAILED
    return _check(finding.aspect, wrong, finding.sentence, finding.hint)
