"""Why a server refuses to send its binlog, or goes on no longer."""

from __future__ import annotations

from typing import Final, NoReturn

from consumer.binlog.errors import BinlogCorrupt, BinlogPurged, IdTaken, WrongServer
from consumer.mysql.errors import ConnectionLost, PreconditionFailed

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
    "has more gtids than",
)


def refused(packet: bytes, where: str) -> NoReturn:
    """Raises what an error packet of the server (behind its first byte) means to a reader of its binlog."""
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
            raise WrongServer(f"{said}; it is not the server that our position is from, or it was reset")
        if "same server" in lower:
            raise IdTaken(f"{said}; give this reader an id of its own (REPLICA_SERVER_ID)")
        if "gtid_mode" in lower:
            raise PreconditionFailed(f"{said}; set gtid_mode to a permissive one until the reader has passed it")
        if "checksum" in lower or "corrupt" in lower or "bogus" in lower:
            raise BinlogCorrupt(said)
    raise ConnectionLost(said)
