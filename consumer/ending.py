"""How commands begin, where tables go, and how one ends: a sentence on stderr, an exit code that means something."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from consumer.stopping import Stop

if TYPE_CHECKING:
    from rich.console import Console

FAILED: Final = 1
WRONG_SETTINGS: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT


def _version(wanted: bool) -> None:
    if wanted:
        from consumer.process import release

        typer.echo(f"leadstream {release()}")
        raise typer.Exit


def begin(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Sets the logs up for a command."""
    from consumer import logs
    from consumer.settings import run_settings

    logs.configure(run_settings())


def paper(width: int = 160) -> Console:
    """Where tables go: standard output, with so many characters in a line where that is no terminal.

    Brackets are printed as they are: addresses, paths and what others say may hold them.
    """
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, markup=False)


def wrong(sentence: str) -> NoReturn:
    """Ends a command that was used wrongly."""
    typer.echo(sentence, err=True)
    raise typer.Exit(WRONG_SETTINGS)


def leave(stop: Stop, *, failed: bool = False) -> None:
    """Ends a command with the exit code of one that Ctrl-C stopped, or that failed; returns where neither is so."""
    if stop.by == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(FAILED)


def fail(error: Exception, code: int) -> int:
    """Reports what a command ends with; returns the exit code."""
    report(error)
    return code


def report(error: Exception) -> None:
    """Says on a terminal plainly, and elsewhere in a line of the log, what went wrong."""
    if sys.stderr.isatty():
        plain = str(error)
        typer.echo(plain if os.environ.get("NO_COLOR") else typer.style(plain, fg=typer.colors.RED), err=True)
    else:
        import structlog  # only who fails needs it, and `--help` is to be quick

        structlog.get_logger(__name__).error("command_failed", kind=type(error).__name__, reason=str(error))


def run(command: Callable[[], object], code_of: Callable[[Exception], int | None]) -> int:
    """Runs a typer app and returns the exit code; 130 for whatever ended one after Ctrl-C.

    `code_of` reports an error and returns its exit code; None for one of our own making, which is raised.
    """
    interrupted = Event()

    def interrupt(_: int, __: FrameType | None) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    # Noted as well as raised: raised inside a destructor it is swallowed, and what it hit goes on until it fails.
    signal.signal(signal.SIGINT, interrupt)
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if interrupted.is_set():
            return INTERRUPTED
        code = code_of(error)
        if code is None:
            raise
        return code
    return 0
