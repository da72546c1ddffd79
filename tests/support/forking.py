"""Our programs without the second that Python takes to import what they are made of: forked from a process that has.

Beginning a thousand processes is most of what the tests between servers cost. So one process of ours for each worker of
pytest imports the libraries, and forks for every program that is to run: what runs is the same console script, as a
process of its own, in a session of its own, with its own environment and output. Where memory, imports or the start
itself are what a test is about, `Process` starts the real thing.

Over a Unix socket, one connection a program: its arguments and environment come with two file descriptors for its
output; back go its process id and, when it is over, its exit code.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from tests.support.sockets import exactly

LIBRARIES: Final = (
    "alembic.command", "confluent_kafka.admin", "fastapi", "jinja2", "msgspec", "prometheus_client", "psycopg",
    "pydantic_settings", "pymysql", "pymysqlreplication", "rich.console", "rich.progress", "sqlalchemy", "structlog",
    "typer", "uvicorn", "zstandard", "consumer.settings", "consumer.cli", "reconciler.cli",
)  # fmt: skip
"""What is imported beforehand; of ours no metrics, which each process has of its own."""
_DESCRIPTORS: Final = 2
_NUMBER: Final = struct.Struct("<i")
_SIZE: Final = struct.Struct("<I")
_DIES_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG."""
_START_SECONDS: Final = 120.0
_OURS: Final = ("consumer.", "reconciler.")
_SCRIPTS: Final[dict[str, Callable[[], object]]] = {}
"""What our console scripts call."""


class Forked:
    """A program that runs, with what tests use of subprocess.Popen."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid: Final = pid
        self.returncode: int | None = None
        self._connection = connection

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it is over, and returns its exit code. Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def kill(self) -> None:
        """Ends it at once."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                said = self._connection.recv(_NUMBER.size)
            except (TimeoutError, BlockingIOError):
                return None
            self.returncode = _NUMBER.unpack(said)[0] if said else -signal.SIGKILL
            self._connection.close()
        return self.returncode


class Forker:
    """The process that forks; it ends with the one that made this, and with it all that it has forked."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="forker-")
        self._path = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, self._path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the process that forks our programs did not start")

    def start(self, program: str, arguments: list[str], env: Mapping[str, str], output: int, errors: int) -> Forked:
        """Starts one of our console scripts, writing to these file descriptors."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_START_SECONDS)
        connection.connect(self._path)
        told = json.dumps([program, arguments, dict(env), os.getcwd()]).encode()
        socket.send_fds(connection, [_SIZE.pack(len(told))], [output, errors])
        connection.sendall(told)
        return Forked(connection, _NUMBER.unpack(exactly(connection, _NUMBER.size))[0])

    def run(
        self, program: str, arguments: list[str], env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of our console scripts to its end. Raises subprocess.TimeoutExpired."""
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            process = self.start(program, arguments, env, output.fileno(), errors.fileno())
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess([program, *arguments], code, output.read(), errors.read())

    def close(self) -> None:
        """Ends the process and all that it has forked."""
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()


class _Order(NamedTuple):
    program: str
    arguments: list[str]
    env: dict[str, str]
    cwd: str


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)


def _serve(path: str) -> Callable[[], object]:
    """Forks for whoever asks; returns in the forked process only, what is to be run there."""
    selector = selectors.DefaultSelector()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(128)
        selector.register(listening, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    order = _accept(listening, selector)
                    if order is not None:
                        return _become(order)
                else:
                    _report(key, selector)


def _accept(listening: socket.socket, selector: selectors.BaseSelector) -> _Order | None:
    """Forks; the order in the forked process, None in this one."""
    connection, _ = listening.accept()
    head, outputs, _, _ = socket.recv_fds(connection, _SIZE.size, _DESCRIPTORS)
    order = _Order(*json.loads(exactly(connection, _SIZE.unpack(head)[0])))
    pid = os.fork()
    if not pid:
        os.setsid()
        _die_with_parent()
        connection.sendall(_NUMBER.pack(os.getpid()))
        for number, descriptor in enumerate(outputs, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        for held in list(selector.get_map().values()):
            if held.fileobj is not listening:
                os.close(held.fd)
                held.data[1].close()
        selector.close()
        connection.close()
        return order
    for descriptor in outputs:
        os.close(descriptor)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
    return None


def _report(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    """Tells of a program that is over."""
    pid, connection = key.data
    _, status = os.waitpid(pid, 0)
    selector.unregister(key.fileobj)
    os.close(key.fd)
    with suppress(BrokenPipeError):  # whoever asked is gone
        connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
    connection.close()


def _become(order: _Order) -> Callable[[], object]:
    """What a new interpreter would be given: environment, arguments and output of its own."""
    os.environ.clear()
    os.environ.update(order.env)
    time.tzset()
    os.chdir(order.cwd)
    sys.stdout = _text(1, unbuffered=bool(order.env.get("PYTHONUNBUFFERED")))
    sys.stderr = _text(2, unbuffered=True)
    sys.argv = [order.program, *order.arguments]
    sys.modules["__main__"].__package__ = ""  # else usage lines call the program a module
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return _SCRIPTS[order.program]


def _text(descriptor: int, *, unbuffered: bool) -> TextIO:
    """A file descriptor as an interpreter makes its standard output of it."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    written = raw if unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(written, "utf-8", "backslashreplace", write_through=unbuffered)


if __name__ == "__main__":
    _die_with_parent()
    for library in LIBRARIES:
        importlib.import_module(library)
    for script in entry_points(group="console_scripts"):
        if script.value.startswith(_OURS):
            _SCRIPTS[script.name] = script.load()
    gc.freeze()  # what is there already is not looked at again in each of them
    sys.exit(_serve(sys.argv[1])())  # type: ignore[arg-type]
