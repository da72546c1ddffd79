"""The reads of requests: a few sessions, each with a thread; whatever waits for one is read in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, Protocol, TypeVar

AT_ONCE: Final = 100
"""Users in one statement."""


class Session(Protocol):
    """What a read goes through; used by one thread at a time."""

    def close(self) -> None:
        """Ends it."""


S = TypeVar("S", bound=Session)
A = TypeVar("A")


class Reads(Generic[S, A]):
    """A pool of sessions for the event loop. A read that finds all of them busy joins those that wait already."""

    def __init__(self, name: str, sessions: Iterable[S], read: Callable[[S, list[int]], A]) -> None:
        self._sessions = list(sessions)
        self._idle = list(self._sessions)
        self._read = read
        self._waiting: list[tuple[int, asyncio.Future[A]]] = []
        self._pool = ThreadPoolExecutor(len(self._sessions), name)

    async def read(self, user_id: int) -> A:
        """The answer of the read that held this user, perhaps among others. Raises what the read raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((user_id, future))
        self._dispatch()
        return await future

    async def warm(self, seconds: float) -> None:
        """Opens every session by a read of nobody, so that the first requests need not; those that fail stay closed."""
        sessions, self._idle = self._idle, []
        loop = asyncio.get_running_loop()
        reads = [loop.run_in_executor(self._pool, self._read, session, [0]) for session in sessions]
        for session, read in zip(sessions, reads, strict=True):
            read.add_done_callback(lambda done, session=session: self._hand_out(done, session, []))  # type: ignore[misc]
        await asyncio.wait(reads, timeout=seconds)

    def close(self) -> None:
        """Ends the sessions, when the reads under way have ended."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for session in self._sessions:
            session.close()

    def _dispatch(self) -> None:
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]
        while self._idle and self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            session = self._idle.pop()
            users = sorted({user_id for user_id, _ in batch})
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._read, session, users)
            work.add_done_callback(lambda done, session=session, batch=batch: self._hand_out(done, session, batch))  # type: ignore[misc]

    def _hand_out(self, done: asyncio.Future[A], session: S, batch: list[tuple[int, asyncio.Future[A]]]) -> None:
        self._idle.append(session)
        error = None if done.cancelled() else done.exception()
        for _, future in batch:
            if future.done():
                continue
            if done.cancelled():
                future.cancel()
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())
        self._dispatch()
