"""What this process says of itself to whoever looks at the stream: its name, version, age and memory."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

NAME: Final = f"{socket.gethostname()}:{os.getpid()}"
"""Host and process id: what lanes call their owner."""
STARTED_AT: Final = datetime.now(UTC)
"""When this process began, near enough: modules are loaded first."""
_STATM: Final = Path("/proc/self/statm")


class Process(NamedTuple):
    """A process: `kind` is reader, applier or reconciler, `memory` its resident bytes, None where nobody can say."""

    kind: str
    name: str
    version: str
    started_at: datetime
    memory: int | None


def myself(kind: str) -> Process:
    """This process at this moment."""
    return Process(kind, NAME, release(), STARTED_AT, resident())


def release() -> str:
    """The version that is installed; `unknown` where this runs from a checkout."""
    try:
        return version("leadstream")
    except PackageNotFoundError:
        return "unknown"


def own_server_id(prefix: str) -> int:
    """Our id among a MySQL server's replicas: the same after a restart, another one on another host or prefix."""
    return crc32(f"{prefix}@{socket.gethostname()}".encode()) % (2**32 - 2) + 1


def resident() -> int | None:
    """The resident memory in bytes (proc(5), statm: pages); None where the kernel has no /proc."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
