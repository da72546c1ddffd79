"""mysql-replication: the library that a Python program would take, decoding only."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.history import DATABASE, History
from tests.bench.measure import Command


def command(history: History, rows: int, folder: Path) -> Command:
    """Decodes the first `rows` rows in a process of its own, into nothing, and ends."""
    program = (
        "import sys\n"
        "from pymysqlreplication import BinLogStreamReader\n"
        "from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent\n"
        f"settings = dict(host={history.host!r}, port={history.port}, user={history.user!r}, "
        f"passwd={history.password!r})\n"
        f"stream = BinLogStreamReader(connection_settings=settings, server_id=434343, "
        f"log_file={history.binlogs[0][0]!r}, log_pos=4, resume_stream=True, blocking=False, "
        f"only_schemas=[{DATABASE!r}], only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent])\n"
        "rows = 0\n"
        "for event in stream:\n"
        "    rows += len(event.rows)\n"
        f"    if rows >= {rows}:\n"
        "        break\n"
        f"sys.exit(rows < {rows})\n"
    )
    return Command([sys.executable, "-c", program], folder / "mysql-replication.log")
