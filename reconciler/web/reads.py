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


class Busy(Exception):
    """Others are asked already, as many as are at once, and their answers take long."""


class Turns:
    """Reads of which a few are made at once, each in a thread with a session of its own; the others wait for a turn."""

    def __init__(self, name: str, at_once: int, seconds: float) -> None:
        """Nobody waits for longer than so many `seconds`."""
        self._free = asyncio.Semaphore(at_once)
        self._pool = ThreadPoolExecutor(at_once, name)
        self._seconds = seconds

    async def read(self, work: Callable[[], A]) -> A:
        """What `work` returns. Raises Busy, and what `work` raises."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Busy(f"others have been asking for {self._seconds:g} s; ask again in a moment") from None
        reading = asyncio.get_running_loop().run_in_executor(self._pool, work)
        reading.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(reading)  # who asked may be gone before the session is free


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
