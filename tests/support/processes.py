"""The processes of a trial: started with one environment, logged in one folder, ended with the trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from tests.support.forking import Forked, Forker
from tests.support.waiting import PATIENCE, PAUSE, until

PROGRAMS: Final = Path(sys.executable).parent
"""Where our console scripts are: beside the Python that runs the tests."""
_TAIL_LINES: Final = 15
_REMEMBERED: Final = 64
_logs: Path | None = None
_recent: deque[Process] = deque(maxlen=_REMEMBERED)
_forker: Forker | None = None
_FORKED: Final = ("consumer", "reconciler")
"""What `fork_ours` makes quick."""


class ProcessFailed(Exception):
    """A process ended by itself or refused to end; the message holds the end of its log."""


class Process:
    """One process with a log file of its own, in a session of its own: Ctrl-C in a terminal does not reach it.

    `program` is one of our console scripts, or the path of any other.
    """

    def __init__(
        self,
        name: str,
        program: str,
        arguments: list[str],
        env: Mapping[str, str],
        folder: Path,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.killed = 0
        self.started = 0.0
        self._command = [str(PROGRAMS / program), *arguments]
        self._program, self._arguments = program, arguments
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._output: IO[bytes] | None = None

    def start(self) -> Self:
        """Starts it; its output is added to the log. Raises OSError where the program is not installed."""
        self._output = self.log.open("ab")
        if _forker is not None and _may_be_forked(self._program, self._env):
            written = self._output.fileno()
            self._process = _forker.start(self._program, self._arguments, self._env, written, written)
            self.started = time.monotonic()
            _recent.append(self)
            return self
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started = time.monotonic()
        _recent.append(self)
        return self

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """Its exit code once it is over."""
        return self.poll()

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return None if self._process is None else self._process.poll()

    def check(self) -> None:
        """Raises ProcessFailed where it ended by itself."""
        if self.poll() is not None:
            raise self._failed(f"ended by itself with exit code {self.poll()}")

    def text(self) -> str:
        """What it has written, standard output and errors."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged, the last line only once it is whole."""
        whole = self.log.read_bytes().rpartition(b"\n")[0] if self.log.exists() else b""
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]

    def until(
        self, condition: Callable[[], object], what: str, within: float = PATIENCE, *, pause: float = PAUSE
    ) -> None:
        """Waits for something that it is to bring about. Raises ProcessFailed where it ends, and NeverCame."""

        def came() -> bool:
            if condition():
                return True
            self.check()
            return False

        until(came, what, within, seen=self.tail, pause=pause)

    def wait_for(self, event: str, within: float = PATIENCE) -> Self:
        """Waits until it logs a line of that name. Raises ProcessFailed where it ends without, and NeverCame."""
        over = False

        def logged() -> bool:
            nonlocal over
            if any(line.get("event") == event for line in self.lines()):
                return True
            if over:
                self.check()
            over = self.poll() is not None  # what it logged at its end is looked at once more
            return False

        until(logged, f"{self.name} logged {event!r}", within, seen=self.tail)
        return self

    def wait(self, within: float = PATIENCE) -> int:
        """Waits until it is over, and returns its exit code. Raises ProcessFailed where it goes on."""
        assert self._process is not None
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"still runs after {within:.0f} s") from error
        self._close()
        return code

    def succeed(self, within: float = PATIENCE) -> None:
        """Waits for the end of a command. Raises ProcessFailed where it fails, or goes on: then it is ended."""
        try:
            code = self.wait(within)
        except ProcessFailed:
            self.end()
            raise
        if code:
            raise self._failed(f"ended with exit code {code}")

    def finished(self) -> bool:
        """Whether a command is over. Raises ProcessFailed where it failed."""
        if self.pid is not None:
            return False
        if self._process is not None:
            self.succeed()
        return True

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal, SIGSTOP or SIGCONT for instance."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end in good order (SIGTERM), once: a second time would end it at once."""
        self.send_signal(signal.SIGTERM)

    def stop(self, how: signal.Signals = signal.SIGTERM, within: float = PATIENCE) -> int:
        """Asks it to end, and returns its exit code. Raises ProcessFailed where it goes on."""
        self.send_signal(how)
        return self.wait(within)

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()
            self.killed += 1

    def end(self) -> None:
        """Makes sure that it is gone, asleep or not."""
        if self.pid is not None and self._process is not None:
            self._process.kill()
            self._process.wait()
        self._close()

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(f"    {line}" for line in self.text().splitlines()[-_TAIL_LINES:])

    def _failed(self, what: str) -> ProcessFailed:
        return ProcessFailed(f"{self.name} {what}; the end of {self.log}:\n{self.tail()}")

    def _close(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None


def _may_be_forked(program: str, env: Mapping[str, str]) -> bool:
    """Whether this is a program of ours, and Python's own settings are those of this process."""
    return program in _FORKED and all(
        env.get(name) == os.environ.get(name)
        for name in env.keys() | os.environ.keys()
        if name.startswith("PYTHON") and name != "PYTHONUNBUFFERED"
    )


class Processes:
    """All processes of one trial; at the end of the block none of them is left. Their logs stay in `folder`."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env = dict(env)
        self.folder = folder
        self._made: list[Process] = []

    def make(self, program: str, *arguments: str, name: str | None = None, **more: str) -> Process:
        """A process, not started; `more` are settings of its own. Without a name its arguments and a number are one."""
        name = name or f"{'-'.join((program, *arguments[:1]))}-{len(self._made)}"
        process = Process(name, program, list(arguments), self.env | more, self.folder)
        self._made.append(process)
        return process

    def start(self, program: str, *arguments: str, name: str | None = None, **more: str) -> Process:
        """A process, started."""
        return self.make(program, *arguments, name=name, **more).start()

    def run(self, program: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs one of our programs to its end. Raises subprocess.TimeoutExpired."""
        if _forker is not None and _may_be_forked(program, self.env | more):
            return _forker.run(program, list(arguments), self.env | more, PATIENCE)
        return subprocess.run(
            [str(PROGRAMS / program), *arguments],
            env=self.env | more, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def end(self) -> None:
        """Ends them all at once."""
        for process in self._made:
            process.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def log_folder(name: str) -> Path:
    """A new folder for logs, which stays as long as pytest keeps what tests of this run have left."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_logs))


def keep_logs(folder: Path) -> None:
    """Has `log_folder` make folders in this one."""
    global _logs  # noqa: PLW0603 - one a process of pytest
    _logs = folder


@contextmanager
def forking() -> Iterator[None]:
    """Inside, our own programs are forked from a process that has imported their libraries (see `forking`)."""
    global _forker  # noqa: PLW0603 - one a process of pytest
    with closing(Forker()) as _forker:
        try:
            yield
        finally:
            _forker = None


def forget_ended() -> None:
    """Begins a test: processes of earlier ones are no longer shown, those of wider fixtures are."""
    running = [process for process in _recent if process.pid is not None]
    _recent.clear()
    _recent.extend(running)


def tails() -> list[tuple[str, str]]:
    """Name and last lines of every process that the test at hand may have to do with."""
    return [(process.name, process.tail()) for process in _recent if process.text()]
