"""What can go wrong while reading a binlog; each message is one sentence naming the thing, the place and a hint."""

from __future__ import annotations


class BinlogError(Exception):
    """Reading the binlog failed; `place` is the file and position of the event that cannot be read, if it is one."""

    def __init__(self, message: str, place: tuple[str, int] | None = None) -> None:
        super().__init__(message)
        self.place = place


class ConnectionLost(BinlogError):
    """The connection to the server ended or went silent; connecting again continues where we were."""


class LoginRefused(BinlogError):
    """The server does not let us in, or not with the privileges that reading a binlog takes."""


class BinlogPurged(BinlogError):
    """The server no longer has the binlog that we would have to read next."""


class WrongServer(BinlogError):
    """The server is not the one our position belongs to."""


class PreconditionFailed(BinlogError):
    """The server is set up so that its binlog does not tell all we need."""


class NotThere(PreconditionFailed):
    """A statement of ours names a table or a column that the server does not have, or not for us: they may have
    changed since we looked at them."""


class BinlogCorrupt(BinlogError):
    """An event's bytes contradict their checksum, or packets their lengths."""


class UndecodableEvent(BinlogError):
    """An event of a captured transaction holds something that we cannot read exactly."""


class IdTaken(PreconditionFailed):
    """Somebody else with our id among the server's replicas connected, and the server let us go for it."""
