"""The pipeline's own processes: started, watched, killed on purpose, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

_TAIL_LINES: Final = 15
_STOP_SECONDS: Final = 15.0


class ProcessFailed(Exception):
    """A process of the pipeline ended by itself or refused to end; the message holds the end of its log."""


class Process:
    """One process with a log file of its own, in a session of its own: Ctrl-C in the terminal reaches only the demo.

    `script` is one of the project's console scripts, beside the Python that runs the demo.
    """

    def __init__(self, name: str, script: str, arguments: list[str], env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.killed = 0
        self._command = [str(Path(sys.executable).with_name(script)), *arguments]
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self.started = 0.0

    def start(self) -> None:
        """Starts it; its output is added to the log. Raises OSError where the script is not installed."""
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def check(self) -> None:
        """Raises ProcessFailed where it ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise self._failed(f"ended by itself with exit code {self._process.returncode}")

    def wait(self, seconds: float) -> None:
        """Waits for the end of a command. Raises ProcessFailed where it fails or takes longer."""
        assert self._process is not None
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self.end()
            raise self._failed(f"did not end within {seconds:.0f} s") from error
        self._close()
        if code:
            raise self._failed(f"ended with exit code {code}")

    def finished(self) -> bool:
        """Whether a command is over. Raises ProcessFailed where it failed."""
        if self.pid is not None:
            return False
        if self._process is not None:
            self.wait(0)
        return True

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()
            self.killed += 1

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, SIGSTOP or SIGCONT for instance."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end in good order (SIGTERM), once: a second time would end it at once."""
        if self.pid is not None and self._process is not None:
            self._process.terminate()

    def stopped(self, seconds: float = _STOP_SECONDS) -> None:
        """Waits for the end after `terminate`. Raises ProcessFailed where that takes too long or is an error."""
        if self._process is None:
            return
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self.end()
            raise self._failed(f"did not end within {seconds:.0f} s of SIGTERM") from error
        self._close()
        if code:
            raise self._failed(f"ended with exit code {code} after SIGTERM")

    def outcome(self, seconds: float) -> int:
        """Waits until it ends by itself, and returns its exit code. Raises ProcessFailed where it does not."""
        assert self._process is not None
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"still runs after {seconds:.0f} s") from error
        self._close()
        return code

    def end(self) -> None:
        """Makes sure that it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close()

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines)

    def _failed(self, what: str) -> ProcessFailed:
        return ProcessFailed(f"{self.name} {what}; the end of {self.log}:\n{self.tail()}")

    def _close(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None
