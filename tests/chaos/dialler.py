"""A simulated dialler that writes the call centre's tables at speed, and the judge of who wrote what in them.

Triggers note every row that anybody writes, so that the judge sees each single write of ours and what it found.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import psycopg

from tests.demo.compare import micros

_SHOWN: Final = 10
_OURS: Final = ("leadstream stream", "leadstream sweep", "leadstream reconciler")
_NAME: Final = "dialler"
_PAUSE: Final = 0.2  # while PostgreSQL is away
_LEADS_AT_ONCE: Final = (1, 1, 1, 2, 3)

AUDIT: Final = """
CREATE SCHEMA audit;
CREATE TABLE audit.writes (n bigserial PRIMARY KEY, who text, tab text, op text, before jsonb, after jsonb);
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.writes (who, tab, op, before, after) VALUES (
        current_setting('application_name'), TG_TABLE_NAME, TG_OP,
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON user_call_scores FOR EACH ROW EXECUTE FUNCTION audit.note();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON call_queue FOR EACH ROW EXECUTE FUNCTION audit.note();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON conversions FOR EACH ROW EXECUTE FUNCTION audit.note();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON leadstream.shown FOR EACH ROW EXECUTE FUNCTION audit.note();
"""
"""To be run after `consumer setup` and before the first row."""

_SOME: Final = """
SELECT user_id FROM user_call_scores
WHERE user_id >= (SELECT (min(user_id) + random() * (max(user_id) - min(user_id)))::bigint FROM user_call_scores)
ORDER BY user_id LIMIT 200
"""
"""Some in a row from anywhere: sorting all of them by chance would take a processor from what is tried."""
_SCORE: Final = "SELECT 1 FROM user_call_scores WHERE user_id = %(user)s FOR UPDATE"
_CALL: Final = """
UPDATE user_call_scores
SET current_score = current_score + 7, outcome_penalty_score = coalesce(outcome_penalty_score, 0) + 7,
    total_attempts = coalesce(total_attempts, 0) + 1, last_call_at = now() AT TIME ZONE 'utc',
    last_outcome = 'no_answer', next_call_after = now() AT TIME ZONE 'utc' + interval '1 hour',
    updated_at = now() AT TIME ZONE 'utc'
WHERE user_id = %(user)s
"""
_CLEAR: Final = "UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = %(user)s"
_ASSIGN: Final = """
UPDATE call_queue SET status = 'assigned', assigned_to_agent_id = 7, assigned_at = now() AT TIME ZONE 'utc'
WHERE user_id = %(user)s AND status = 'pending'
"""
_COMPLETE: Final = "UPDATE call_queue SET status = 'completed' WHERE user_id = %(user)s AND status = 'assigned'"
_DROP_ENTRIES: Final = (
    "DELETE FROM call_queue WHERE user_id = %(user)s AND status IN ('pending', 'closed', 'completed')"
)
_DROP_ALL: Final = "DELETE FROM call_queue WHERE user_id = %(user)s"
_DROP_SCORE: Final = "DELETE FROM user_call_scores WHERE user_id = %(user)s"

_ACTIONS: Final[dict[tuple[str, ...], float]] = {
    (_CALL,): 10,
    (_SCORE, _ASSIGN, _CALL): 4,
    (_ASSIGN,): 2,
    (_COMPLETE,): 2,
    (_CLEAR,): 4,
    (_DROP_ENTRIES,): 1,
    (_SCORE, _DROP_ALL, _DROP_SCORE): 1,
}


class Dialler(threading.Thread):
    """Writes about whom it finds in the table of scores, until `finish`; it survives restarts of PostgreSQL.

    Some of its transactions are about several leads, one after the other in ascending order, as the leads' writers are:
    a deadlock is of our making.
    """

    def __init__(self, conninfo: str, seed: int, number: int) -> None:
        super().__init__(name=f"{_NAME} {number}", daemon=True)
        self.writes = 0
        self.deadlocks = 0
        self.failure: psycopg.Error | None = None
        self._conninfo = conninfo
        self._random = Random(f"{_NAME} {seed}/{number}")
        self._over = threading.Event()

    def finish(self) -> None:
        """Asks it to stop and waits."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Works until `finish`; an error that is not PostgreSQL's being away is in `failure`."""
        while not self._over.is_set():
            try:
                with psycopg.connect(self._conninfo, application_name=_NAME) as connection:
                    self._work(connection)
            except psycopg.errors.DeadlockDetected:
                self.deadlocks += 1
            except psycopg.errors.ForeignKeyViolation:
                continue  # its score was not there a moment ago, and now it is
            except psycopg.OperationalError:
                self._over.wait(_PAUSE)
            except psycopg.Error as error:
                self.failure = error
                return

    def _work(self, connection: psycopg.Connection[Any]) -> None:
        users: list[int] = []
        while not self._over.is_set():
            if len(users) < max(_LEADS_AT_ONCE):
                users = [user for (user,) in connection.execute(_SOME).fetchall()]
                self._random.shuffle(users)
                connection.commit()
            if not users:
                self._over.wait(_PAUSE)
                continue
            (action,) = self._random.choices(list(_ACTIONS), list(_ACTIONS.values()))
            together = [users.pop() for _ in range(min(len(users), self._random.choice(_LEADS_AT_ONCE)))]
            for user in sorted(together):
                for statement in action:
                    connection.execute(statement.encode(), {"user": user})
            connection.commit()
            self.writes += 1
            self._over.wait(0.002)


@dataclass(slots=True)
class _Place:
    """What a user has in the call centre's tables at one moment of the audit."""

    score: dict[str, Any] | None = None
    shown: dict[str, Any] | None = None
    """Since when agents are shown a queue ahead of the stream, and the score at that time, as long as they are."""
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def pending(self, queue: str) -> int:
        return sum(entry["status"] == "pending" and entry["queue_type"] == queue for entry in self.entries.values())


def check_writes(conninfo: str, label: str | None) -> list[str]:
    """Sentences on what we wrote to the call centre's tables beyond design section 3; empty where we did not.

    `label` is what these hold for people in no queue.
    """
    judge = Judge(label)
    with psycopg.connect(conninfo) as connection, connection.cursor(name="writes") as cursor:
        cursor.itersize = 10_000
        cursor.execute("SELECT who, tab, op, before, after FROM audit.writes ORDER BY n")
        for who, table, op, before, after in cursor:
            if who in _OURS and table != "shown":  # ours alone; it tells which score a late conversion has
                judge.look(f"{table} {op}", before, after)
            elif who not in (_NAME, *_OURS):
                judge.problems.append(f"{table} {op} by a stranger, {who!r}")
            judge.take(table, before, after)
    return judge.problems[:_SHOWN]


class Judge:
    """Looks at the writes of the audit one after the other; `problems` are sentences on ours."""

    def __init__(self, label: str | None) -> None:
        self.problems: list[str] = []
        self._none = label
        self._places: dict[int, _Place] = defaultdict(_Place)
        self._rules: dict[str, Callable[[Any, Any], Iterator[str]]] = {
            "user_call_scores INSERT": self._score_added,
            "user_call_scores UPDATE": self._score_changed,
            "call_queue INSERT": self._entry_added,
            "call_queue UPDATE": self._entry_changed,
            "conversions INSERT": self._converted,
        }

    def look(self, what: str, before: Any, after: Any) -> None:
        """Judges one write of ours."""
        rule = self._rules.get(what)
        if rule is None:
            self.problems.append(f"{what} is none of our business: {before} → {after}")
            return
        user = (after or before)["user_id"]
        self.problems += [f"user {user}: {what}: {problem}" for problem in rule(before, after)]

    def take(self, table: str, before: Any, after: Any) -> None:
        """Remembers what anybody wrote."""
        place = self._places[(after or before)["user_id"]]
        if table == "user_call_scores":
            place.score = after
        elif table == "shown":
            place.shown = after
        elif table == "call_queue" and after is None:
            del place.entries[before["id"]]
        elif table == "call_queue":
            place.entries[after["id"]] = after

    def _score_added(self, _: Any, after: Any) -> Iterator[str]:
        if after["current_score"] != 0 or after["is_active"] != (after["current_queue_type"] != self._none):
            yield f"{after}"

    def _score_changed(self, before: Any, after: Any) -> Iterator[str]:
        changed = _changed(before, after)
        allowed = {"current_queue_type", "is_active", "updated_at", "last_reset_date", "last_conversion_check_at"}
        if "last_reset_date" in changed:
            allowed.add("current_score")
            if after["current_score"] != 0:
                yield f"the score began again at {after['current_score']}"
        if changed - allowed:
            yield f"overwrote {sorted(changed - allowed)}"
        if "current_queue_type" in changed and after["is_active"] != (after["current_queue_type"] != self._none):
            yield f"is_active is {after['is_active']} in {after['current_queue_type']}"

    def _entry_added(self, _: Any, after: Any) -> Iterator[str]:
        if after["status"] != "pending" or after["assigned_to_agent_id"] is not None:
            yield f"{after}"
        if self._places[after["user_id"]].pending(after["queue_type"]):
            yield "there was a pending entry already"

    def _entry_changed(self, before: Any, after: Any) -> Iterator[str]:
        if (before["status"], after["status"]) != ("pending", "closed"):
            yield f"status {before['status']} → {after['status']}"
        if _changed(before, after) - {"status", "updated_at"}:
            yield f"overwrote {sorted(_changed(before, after))}"

    def _converted(self, _: Any, after: Any) -> Iterator[str]:
        place = self._places[after["user_id"]]
        score = place.score or {"current_score": 0, "total_attempts": 0, "last_call_at": None}
        known = score["current_score"]
        if place.shown is not None and place.shown["score"] is not None:
            read_at = place.shown["until_version"]
            known = known if 0 < read_at < _micros(after["converted_at"]) else place.shown["score"]
        if after["final_score"] not in (0, known):  # 0: another queue was entered in the same batch
            yield f"final_score is {after['final_score']}, the score was {known}"
        if after["total_call_attempts"] != (score["total_attempts"] or 0):
            yield f"total_call_attempts is {after['total_call_attempts']}, there were {score['total_attempts']}"
        if after["last_call_at"] != score["last_call_at"]:
            yield f"last_call_at is {after['last_call_at']}, it was {score['last_call_at']}"


def _micros(utc: str) -> int:
    """A time of the call centre's tables, which say no zone, as µs since 1970."""
    return micros(datetime.fromisoformat(utc).replace(tzinfo=UTC)) or 0


def _changed(before: Any, after: Any) -> set[str]:
    return {column for column in after if before[column] != after[column]}
