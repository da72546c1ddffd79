"""How a command ends that failed: one sentence on stderr, and an exit code that means something."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

import typer

FAILED: Final = 1
WRONG_SETTINGS: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT


def fail(error: Exception, code: int) -> int:
    """Says on a terminal plainly, and elsewhere in a line of the log, what went wrong; returns the exit code."""
    if sys.stderr.isatty():
        plain = str(error)
        typer.echo(plain if os.environ.get("NO_COLOR") else typer.style(plain, fg=typer.colors.RED), err=True)
    else:
        import structlog  # only who fails needs it, and `--help` is to be quick

        structlog.get_logger(__name__).error("failed", kind=type(error).__name__, reason=str(error))
    return code
