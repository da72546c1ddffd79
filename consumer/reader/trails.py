"""Where the stream last spoke of what claims and users left behind: whoever takes it over comes after that number."""

from __future__ import annotations

from typing import Final, NamedTuple

from consumer.binlog.events import Id

KEPT: Final = 20_000
"""Trails remembered; of an older one the appliers have long passed the end."""


class Trail(NamedTuple):
    """The last message that concerned what a claim or user left.

    `key` is what put it into `lane`. `sure`: the stream has brought everything that was left, from the moment when the
    claim was somebody's or did not exist. `open`: it is nobody's still; else it was taken over by that message.
    """

    key: Id
    lane: int
    seq: int
    sure: bool
    open: bool = True


class Trails:
    """The newest trails by claim or user; None: there is one, but nobody can say where it ends."""

    def __init__(self) -> None:
        self._trails: dict[tuple[str, Id], Trail | None] = {}

    def __contains__(self, of: tuple[str, Id | None]) -> bool:
        return of in self._trails

    def get(self, table: str, id_: Id) -> Trail | None:
        """Where what was left is spoken of."""
        return self._trails.get((table, id_))

    def put(self, table: str, id_: Id, trail: Trail | None) -> None:
        """The trail of a claim or user goes on here."""
        trails = self._trails
        trails.pop((table, id_), None)
        trails[table, id_] = trail
        if len(trails) > KEPT:
            del trails[next(iter(trails))]

    def clear(self) -> None:
        """Forgets all trails, where the stream is taken up again at an earlier point."""
        self._trails.clear()
