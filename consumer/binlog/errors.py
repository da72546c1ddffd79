"""What can go wrong while reading a binlog; each message is one sentence naming the thing, the place and a hint."""

from __future__ import annotations

from typing import Final, NoReturn

from consumer.mysql.errors import ConnectionLost, PreconditionFailed, SourceError

_FATAL: Final = 1236
"""ER_SOURCE_FATAL_ERROR_READING_BINLOG; the text alone says which."""
_PURGED: Final = (
    "purged",
    "could not find first log file",
    "could not find next log",
    "could not open log file",
    "binary log state",
    "needed to find the requested",
)
_OTHER_HISTORY: Final = (
    "position > file size",
    "impossible position",
    "not in the master's binlog",
    "which is not in the",
    "is missing the gtid",
    "has more gtids than",
)
BEGIN_ANEW: Final = "run consumer setup --repair --from now, which has every lead read live and goes on at the present"
"""The way on from any position that means nothing any more."""
_DAMAGED: Final = ("checksum", "crc check", "corrupt", "bogus")


class BinlogPurged(SourceError):
    """A binlog that the server no longer has, and that we would have to read next."""


class WrongServer(SourceError):
    """A server that is not the one our position belongs to."""


class BinlogCorrupt(SourceError):
    """An event whose bytes contradict their checksum, or packets that contradict their lengths."""


class UndecodableEvent(SourceError):
    """An event of a captured transaction with something that we cannot read exactly."""


class IdTaken(PreconditionFailed):
    """Somebody else with our id among the server's replicas connected, and the server let us go for it."""


def refused(packet: bytes, where: str) -> NoReturn:
    """Raises what an error packet (behind its first byte) means: the server does not send its binlog, or not on."""
    code = int.from_bytes(packet[:2], "little")
    message = packet[2:].decode("utf-8", "replace")
    if message.startswith("#"):
        message = message[6:]
    said = f"the server refuses to send its binlog from {where}: {message} (error {code})"
    lower = message.lower()
    if code == _FATAL:
        if any(words in lower for words in _PURGED):
            raise BinlogPurged(f"{said}; restart at the present and verify everything (ON_PURGED=reconcile)")
        if any(words in lower for words in _OTHER_HISTORY):
            raise WrongServer(f"{said}; it is not the server that our position is from, or it was reset: {BEGIN_ANEW}")
        if "same server" in lower:
            raise IdTaken(f"{said}; give this reader an id of its own (REPLICA_SERVER_ID)")
        if "gtid_mode" in lower:
            raise PreconditionFailed(f"{said}; set gtid_mode to a permissive one until the reader has passed it")
        if any(words in lower for words in _DAMAGED):
            raise BinlogCorrupt(f"{said}; {BEGIN_ANEW}")
    raise ConnectionLost(said)
