"""`mysqlbinlog --raw`: the binlog's bytes through a socket to files, nothing decoded."""

from __future__ import annotations

from pathlib import Path

from tests.bench.history import History
from tests.bench.measure import Command
from tests.servers import mysqlbinlog_command


def command(history: History, folder: Path) -> Command:
    """Fetches every binlog and ends."""
    names = [name for name, _ in history.binlogs]
    return Command(
        [
            *mysqlbinlog_command(),
            "--read-from-remote-server",
            "--raw",
            "--result-file=/tmp/leadstream-pipe-",
            f"--host={history.host}",
            f"--port={history.port}",
            f"--user={history.user}",
            f"--password={history.password}",
            *names,
        ],
        folder / "mysqlbinlog.log",
    )
