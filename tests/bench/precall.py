"""How long a pre-call check takes at a steady rate of requests, as the dialler sees it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

from tests.bench import results
from tests.bench.measure import BenchFailed

CONNECTIONS = 32
TOKEN = "a-token-of-the-bench"


class _Connection:
    """One kept-alive connection, without the weight of an HTTP library: the client must not be what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, user_id: int) -> str:
        """One check; returns where its answer came from, or the status that was no success."""
        request = (
            f"GET /v1/leads/{user_id}/precall?expected=unsigned_users HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        )
        self.writer.write(request.encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        status = head.split(b" ", 2)[1].decode()
        if status != "200":
            return status
        return "replica" if b'"source":"replica"' in body else "state"


async def _steady(host: str, port: int, users: int, rate: float, seconds: float) -> tuple[list[float], Counter[str]]:
    """Milliseconds of every answer, from when its request was due, and where the answers came from."""
    taken: list[float] = []
    sources: Counter[str] = Counter()
    idle: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(_Connection(*await asyncio.open_connection(host, port)))

    async def ask(due: float) -> None:
        connection = await idle.get()
        user = random.randint(1, users)
        try:
            source = await connection.ask(user)
        except (asyncio.IncompleteReadError, ConnectionError):  # closed while it was idle: any client opens another
            connection = _Connection(*await asyncio.open_connection(host, port))
            source = await connection.ask(user)
        sources[source] += 1
        taken.append((time.perf_counter() - due) * 1000)
        idle.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        due = time.perf_counter()
        end = due + seconds
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(ask(due))
            due += 1 / rate
    while not idle.empty():
        idle.get_nowait().writer.close()
    return taken, sources


def figures(name: str, host: str, port: int, users: int, rate: float, seconds: float) -> results.Entry:
    """One line of the table: latencies in ms, and how many answers did not come from the replica.

    Raises BenchFailed where none did: then what was measured is something else.
    """
    taken, sources = asyncio.run(_steady(host, port, users, rate, seconds))
    if not sources["replica"]:
        raise BenchFailed(f"no pre-call check was answered by a live read, but {dict(sources)}")
    ordered = sorted(taken)
    return {
        "name": name,
        "requests": len(ordered),
        "p50_ms": round(_at(ordered, 0.5), 1),
        "p99_ms": round(_at(ordered, 0.99), 1),
        "max_ms": round(ordered[-1], 1),
        "not_live": sources.total() - sources["replica"],
        "answers": [f"{source} {count}" for source, count in sorted(sources.items())],
    }


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]
