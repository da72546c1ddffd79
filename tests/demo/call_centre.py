"""The simulated call centre: its tables as they are in production, a few agents, and calls to whoever waits for one."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, Final, LiteralString

import psycopg

TABLES: Final = Path(__file__).parents[2] / "deploy" / "postgres" / "05-callcentre.sql"

_AGENTS: Final = 10
_CALLS_AT_ONCE: Final = 3
_NEVER: Final = "do_not_contact"
_OUTCOMES: Final = ("no_answer", "no_answer", "no_answer", "voicemail", "interested", _NEVER)
_TALK_SECONDS: Final = {"no_answer": 0, "voicemail": 8, "interested": 240, _NEVER: 35}

_HIRE: Final[LiteralString] = """
INSERT INTO agents (email, first_name, last_name, updated_at)
SELECT 'agent' || n || '@example.invalid', 'Agent', n::text, now() AT TIME ZONE 'utc' FROM generate_series(1, %s) AS n
"""
_WAITING: Final[LiteralString] = """
SELECT user_id FROM call_queue WHERE status = 'pending' ORDER BY random() LIMIT %s
"""
_LOCK: Final[LiteralString] = "SELECT 1 FROM user_call_scores WHERE user_id = %(user)s FOR UPDATE"
_ENTRY: Final[LiteralString] = """
SELECT id FROM call_queue WHERE user_id = %(user)s AND status = 'pending' ORDER BY created_at LIMIT 1
"""
_SESSION: Final[LiteralString] = """
INSERT INTO call_sessions (id, user_id, agent_id, call_queue_id, status, started_at, connected_at, ended_at,
    duration_seconds, talk_time_seconds, last_outcome_type, last_outcome_agent_id, updated_at)
SELECT gen_random_uuid(), %(user)s, %(agent)s, %(entry)s, 'completed', began, began, began + talk, 20 + %(seconds)s,
    %(seconds)s, %(outcome)s, %(agent)s, began + talk
FROM (SELECT now() AT TIME ZONE 'utc' AS began, make_interval(secs => %(seconds)s) AS talk) AS moments
"""
_SCORE: Final[LiteralString] = """
UPDATE user_call_scores SET current_score = current_score + 5, total_attempts = total_attempts + 1,
    last_outcome = %(outcome)s, last_call_at = now() AT TIME ZONE 'utc', updated_at = now() AT TIME ZONE 'utc'
WHERE user_id = %(user)s
"""
_OUT: Final[LiteralString] = """
UPDATE user_call_scores SET current_score = 200, is_active = false, current_queue_type = %(label)s
WHERE user_id = %(user)s
"""
_CLOSE: Final[LiteralString] = """
UPDATE call_queue SET status = 'closed', updated_at = now() AT TIME ZONE 'utc'
WHERE user_id = %(user)s AND status = 'pending'
"""


def create_tables(connection: psycopg.Connection[Any]) -> None:
    """Creates the call centre's tables and agents in an empty database. Raises psycopg.Error."""
    connection.execute(TABLES.read_bytes())
    connection.execute(_HIRE, [_AGENTS])


class CallCentre:
    """Calls a few of those who wait at each `work`; `label` is what its tables hold for people in no queue.

    An entry of the queue stays pending after a call, to be called again, but of those who said never.
    """

    def __init__(self, conninfo: str, seed: int, label: str | None) -> None:
        self.calls = 0
        self.never = 0
        """Calls that ended with never again."""
        self._conninfo = conninfo
        self._random = Random(f"call centre {seed}")
        self._label = label
        self._connection: psycopg.Connection[Any] | None = None

    def work(self) -> None:
        """Some calls. Raises psycopg.Error."""
        if self._connection is None:
            self._connection = psycopg.connect(self._conninfo, application_name="call centre")
            self._connection.execute("SET TIME ZONE 'UTC'")
        waiting = self._connection.execute(_WAITING, [_CALLS_AT_ONCE]).fetchall()
        self._connection.commit()
        for (user,) in waiting:
            self._call(self._connection, user)
            self._connection.commit()

    def close(self) -> None:
        """Ends its session."""
        if self._connection is not None:
            self._connection.close()

    def _call(self, connection: psycopg.Connection[Any], user: int) -> None:
        connection.execute(_LOCK, {"user": user})  # who takes somebody out of a queue takes this row first, as we do
        entry = connection.execute(_ENTRY, {"user": user}).fetchone()
        if entry is None:
            return  # has left the queue meanwhile
        outcome = self._random.choice(_OUTCOMES)
        values = {
            "user": user,
            "agent": self._random.randint(1, _AGENTS),
            "entry": entry[0],
            "seconds": _TALK_SECONDS[outcome],
            "outcome": outcome,
            "label": self._label,
        }
        statements = [_SESSION, _SCORE] + ([_OUT, _CLOSE] if outcome == _NEVER else [])
        for statement in statements:
            connection.execute(statement, values)
        self.calls += 1
        self.never += outcome == _NEVER
