"""What can go wrong while reading a binlog; each message is one sentence naming the thing, the place and a hint."""

from __future__ import annotations

from consumer.mysql.errors import PreconditionFailed, SourceError


class BinlogPurged(SourceError):
    """The server no longer has the binlog that we would have to read next."""


class WrongServer(SourceError):
    """The server is not the one our position belongs to."""


class BinlogCorrupt(SourceError):
    """An event's bytes contradict their checksum, or packets their lengths."""


class UndecodableEvent(SourceError):
    """An event of a captured transaction holds something that we cannot read exactly."""


class IdTaken(PreconditionFailed):
    """Somebody else with our id among the server's replicas connected, and the server let us go for it."""
