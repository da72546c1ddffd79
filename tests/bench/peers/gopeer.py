"""Go: go-mysql's BinlogSyncer with franz-go, the fastest thing that an engineer would write instead of our reader."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.bench.history import CAPTURED, DATABASE, History
from tests.bench.measure import BenchFailed, Command

SOURCE = Path(__file__).parent / "go"
BUILT = Path(__file__).parents[3] / "dist" / "bench" / "gopeer"
INSTALLED = Path("/usr/local/go/bin/go")
"""Where Go's own archive is unpacked, which need not be in PATH."""


def build() -> Path | None:
    """The program, built by the modules of go.sum; None where Go is not installed. Raises BenchFailed."""
    go = shutil.which("go") or (str(INSTALLED) if INSTALLED.exists() else None)
    if go is None:
        return None
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run([go, "build", "-o", BUILT, "."], cwd=SOURCE, capture_output=True, text=True, check=False)
    if made.returncode:
        raise BenchFailed(f"the peer in Go does not build:\n{made.stderr[-2000:]}")
    return BUILT


def command(
    program: Path, history: History, kafka: str, prefix: str, folder: Path, *, skip_unchanged: bool = False
) -> Command:
    """Reads to the history's end, and ends; its topics are there already."""
    captured = ";".join(f"{table}:{','.join(columns)}" for table, columns in CAPTURED.items())
    return Command(
        [
            str(program),
            f"-host={history.host}",
            f"-port={history.port}",
            f"-user={history.user}",
            f"-database={DATABASE}",
            f"-first={history.binlogs[0][0]}",
            f"-last-file={history.file}",
            f"-last-pos={history.pos}",
            f"-kafka={kafka}",
            f"-prefix={prefix}",
            f"-captured={captured}",
            *["-skip-unchanged"] * skip_unchanged,
        ],
        folder / "go.log",
        {**os.environ, "MYSQL_PWD": history.password},
    )
