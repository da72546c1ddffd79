"""What can go wrong while reading a binlog; each message is one sentence naming the thing, the place and a hint."""

from __future__ import annotations

from typing import Final, NamedTuple, NoReturn

from consumer.mysql.errors import ConnectionLost, PreconditionFailed, SourceError

_FATAL: Final = 1236
"""ER_SOURCE_FATAL_ERROR_READING_BINLOG; the text alone says which."""
BEGIN_ANEW: Final = "run consumer setup --repair --from now, which has every lead read live and goes on at the present"
"""The way on from any position that means nothing any more."""


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


class _Refusal(NamedTuple):
    """Words of which a refusal holds one, in lower case; what it is then, and the hint."""

    words: tuple[str, ...]
    error: type[SourceError]
    hint: str


_REFUSALS: Final = (
    _Refusal(
        (
            "purged",
            "could not find first log file",
            "could not find next log",
            "could not open log file",
            "binary log state",
            "needed to find the requested",
        ),
        BinlogPurged,
        "restart at the present and verify everything (ON_PURGED=reconcile)",
    ),
    _Refusal(
        (
            "start replication from position",
            "impossible position",
            "not in the master's binlog",
            "which is not in the",
            "is missing the gtid",
            "has more gtids than",
        ),
        WrongServer,
        f"it is not the server that our position is from, or it was reset: {BEGIN_ANEW}",
    ),
    _Refusal(("same server",), IdTaken, "give this reader an id of its own (REPLICA_SERVER_ID)"),
    # What we asked by GTID before gtid_mode was changed; the next try asks by file and position.
    _Refusal(("in auto_position mode",), ConnectionLost, "the reader asks by file and position next"),
    _Refusal(("gtid_mode",), PreconditionFailed, "set gtid_mode to a permissive one until the reader has passed it"),
    # Where gtid_mode is no longer ON, the next try asks by file and position, and gets what is refused here.
    _Refusal(("auto_position",), ConnectionLost, "set gtid_mode to a permissive one until the reader has passed it"),
    _Refusal(
        ("memory allocation", "out of memory", "i/o error"),
        ConnectionLost,
        "look at the server's memory and disk where it says so again and again",
    ),
    _Refusal(
        ("binary log is not open",),
        PreconditionFailed,
        "start it with --log-bin, or again where it closed its binlog after an error; what it did not write there,"
        " `reconciler verify --repair` finds",
    ),
    _Refusal(("server_id is 0",), PreconditionFailed, "set server_id on the server"),
    _Refusal(
        ("with the checksum that",),
        PreconditionFailed,
        "something between us and the server, as a proxy, forgets our settings; connect to the server itself",
    ),
    _Refusal(
        ("max_allowed_packet", "event too big"),
        PreconditionFailed,
        f"raise max_allowed_packet on the server; where it is 1 GB already, that file of it is damaged: {BEGIN_ANEW}",
    ),
    _Refusal(
        ("truncated in the middle",),
        BinlogCorrupt,
        "its disk was full, or it crashed while it wrote, and the rest is in no file of it; where it says so again"
        f" once its disk has room, {BEGIN_ANEW}",
    ),
    _Refusal(
        (
            "checksum",
            "crc check",
            "corrupt",
            "bogus",
            "invalid",
            "bad magic",
            "format_description",
            "format description",
            "format descriptor",
        ),
        BinlogCorrupt,
        BEGIN_ANEW,
    ),
    _Refusal(
        ("crypt", "keyring"), PreconditionFailed, "give the server the keyring back that it wrote its binlog with"
    ),
)
"""What MySQL (`sql/rpl_binlog_sender.cc`, `binlog_istream.cc`, `messages_to_clients.txt`) and MariaDB
(`sql/sql_repl.cc`) send under that one number; the first that fits holds. What fits none is tried again."""


def refused(packet: bytes, where: str) -> NoReturn:
    """Raises what an error packet (behind its first byte) means: the server does not send its binlog, or not on."""
    code = int.from_bytes(packet[:2], "little")
    message = packet[2:].decode("utf-8", "replace")
    if message.startswith("#"):
        message = message[6:]
    said = f"the server refuses to send its binlog from {where}: {message} (error {code})"
    lower = message.lower()
    for words, error, hint in _REFUSALS if code == _FATAL else ():
        if any(word in lower for word in words):
            raise error(f"{said}; {hint}")
    raise ConnectionLost(said)
