"""How much of the binlog the reader has still before it, for metrics: in bytes, and by experience in rows."""

from __future__ import annotations

from consumer import metrics
from consumer.mysql.session import Replica


class Backlog:
    """Measured from one start of the stream to its end."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._file_bytes = 0
        self._start: tuple[int, int] | None = None

    def measure(self, file: str, pos: int, sent: int, *, drained: bool) -> None:
        """Measures how far `pos` in `file` is from the server's end, `sent` messages having come of what was read.

        A stream that is `drained` has nothing before it, and the server is not asked where it ends.
        Raises Passing, LoginRefused, PreconditionFailed.
        """
        self._file_bytes = self._file_bytes or int(self._replica.value("SELECT @@global.max_binlog_size"))
        here = self._offset(file, pos)
        self._start = self._start or (here, sent)
        missing = 0 if drained else max(0, self._offset(*self._replica.binlog_position()) - here)
        start, sent_then = self._start
        metrics.BACKLOG_BYTES.set(missing)
        metrics.BACKLOG_ROWS.set(rows_in(missing, here - start, sent - sent_then))

    def _offset(self, file: str, pos: int) -> int:
        """Bytes since the beginning of all files, if each before this one was full."""
        return int(file.rpartition(".")[2]) * self._file_bytes + pos


def rows_in(missing: int, read: int, rows: int) -> int:
    """How many rows so many bytes hold, if they are as the bytes `read` before, which held `rows`."""
    return round(missing * rows / read) if read > 0 else 0
