"""What can go wrong with the company's server; each message is one sentence naming the thing, the place and a hint."""

from __future__ import annotations


class SourceError(Exception):
    """Asking the server failed, or reading its binlog; `place` is the file and position of the event that cannot be
    read, if it is one."""

    def __init__(self, message: str, place: tuple[str, int] | None = None) -> None:
        super().__init__(message)
        self.place = place


class ConnectionLost(SourceError):
    """The connection to the server ended or went silent; connecting again continues where we were."""


class LoginRefused(SourceError):
    """The server does not let us in, or not with the privileges that reading a binlog takes."""


class PreconditionFailed(SourceError):
    """The server is set up so that its binlog does not tell all we need."""


class NotThere(PreconditionFailed):
    """A statement of ours names a table or a column that the server does not have, or not for us: they may have
    changed since we looked at them."""
