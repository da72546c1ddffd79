"""The shared Kafka broker from outside: what CPU it spends, and what disk topics take."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.servers import state


def cpu_seconds() -> float | None:
    """CPU seconds it has spent since it started; None where its process is not seen from here, as in a container."""
    record = state.load("kafka")
    if record is None or record.process is None:
        return None
    try:
        times = psutil.Process(record.process.pid).cpu_times()
    except psutil.NoSuchProcess:
        return None
    return float(times.user + times.system)


def disk_bytes(prefix: str, server: str = "kafka") -> int | None:
    """What the topics of a prefix take on the disk of a server of ours; None where its folder is not seen from here."""
    record = state.load(server)
    if record is None or not record.folder:
        return None
    segments = (Path(record.folder) / "data").glob(f"{prefix}.*/*.log")
    return sum(_allocated(path) for path in segments)


def _allocated(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # Kafka deletes segments when it likes
        return 0
