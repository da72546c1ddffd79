"""A call centre's program that touches several leads in one transaction, in ascending order of user."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import psycopg

from tests.support.waiting import PATIENCE, until

T = TypeVar("T")

CALLED: Final = "UPDATE user_call_scores SET last_outcome = 'busy' WHERE user_id = %s"
ASSIGNED: Final = "UPDATE call_queue SET assigned_to_agent_id = 7 WHERE user_id = %s AND status = 'pending'"

_BLOCKED: Final = "SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"


def meanwhile(url: str, statement: str, users: list[int], job: Callable[[], T]) -> T:
    """Runs `statement` for each of these users, in order, in one transaction; `job` begins after the first of them,
    and the others follow once it waits for the agent. Returns what `job` does.

    Raises DeadlockDetected where the agent waits for what `job` took out of order: it is always the agent that is
    stopped, because it looks for deadlocks earlier than others do.
    """
    first, *others = sorted(users)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as agent:
        agent.execute("SET deadlock_timeout = '100ms'")
        agent.execute(statement.encode(), [first])
        running = pool.submit(job)
        _await_blocked(url, agent.info.backend_pid)
        for user in others:
            agent.execute(statement.encode(), [user])
        agent.commit()
        return running.result(PATIENCE)


def _await_blocked(url: str, pid: int) -> None:
    with psycopg.connect(url, autocommit=True) as watcher:
        until(lambda: watcher.execute(_BLOCKED, [pid]).fetchone(), "somebody waited for the agent", pause=0.02)
