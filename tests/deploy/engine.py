"""A Docker engine: the one that answers here, or one of our own for as long as it is needed.

Ours keeps images, containers, socket and process file below `.servers/docker`; what it built stays for the next time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

from tests.servers.mysql import MySQL, mysql_tool
from tests.servers.packages import install
from tests.servers.places import PROJECT, ServerError, built, home, locked, say, socket_folder
from tests.servers.processes import ProcessId, end, is_alive, run, run_or_raise, spawn
from tests.support.waiting import NeverCame, until

PATIENCE = 120.0
"""Seconds an engine has to start, and to stop with all its containers."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine, the commands that steer it, and what they must be told."""

    docker: tuple[str, ...]
    compose: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: str = "") -> CompletedProcess[str]:
        """`docker …`, to its end; never raises for its exit status."""
        return run(self.command(*arguments), stdin=stdin, cwd=PROJECT)

    def ask(self, *arguments: str) -> str:
        """The output of `docker …`. Raises ServerError."""
        return run_or_raise(self.command(*arguments), f"docker {' '.join(arguments[:2])}").strip()

    def run_compose(self, variables: Mapping[str, str], *arguments: str, stdin: str = "") -> CompletedProcess[str]:
        """`docker compose …` in the project's folder, with `variables` set for the compose file."""
        return run([*_set({**self.environment, **variables}), *self.compose, *arguments], stdin=stdin, cwd=PROJECT)

    def command(self, *arguments: str) -> list[str]:
        """The whole command line of `docker …`."""
        return [*_set(self.environment), *self.docker, *arguments]


def _set(variables: Mapping[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in variables.items())]


@contextmanager
def engine() -> Iterator[Engine]:
    """The engine that answers, else one of our own, ended with the block. Raises ServerError."""
    docker = shutil.which("docker")
    if docker and run([docker, "info"], patience=60).returncode == 0:
        yield Engine((docker,), _compose(docker))
        return
    if os.geteuid() != 0:
        raise ServerError("no Docker engine answers here, and starting one needs root; start Docker")
    install("docker.io", "iptables")
    with locked("docker"):
        process = _start()
        try:
            # Debian's own client builds by itself; a newer one on the path would need a plugin for that.
            yield Engine(
                ("/usr/bin/docker",),
                _compose("/usr/bin/docker"),
                {"DOCKER_HOST": f"unix://{_socket()}", "DOCKER_BUILDKIT": "1"},
            )
        finally:
            end(process, signal.SIGTERM, PATIENCE)
            (_home() / "process.json").unlink(missing_ok=True)


def _start() -> ProcessId:
    note = _home() / "process.json"
    if note.exists():  # left behind by a test that was killed
        process = ProcessId(**json.loads(note.read_text()))
        if is_alive(process):
            return process
    _socket().parent.mkdir(parents=True, exist_ok=True)
    data = f"--data-root={_home() / 'data'}"
    where = [f"--exec-root={_home() / 'exec'}", f"--host=unix://{_socket()}", f"--pidfile={_home() / 'docker.pid'}"]
    log = _home() / "docker.log"
    say("docker: starting an engine")
    process = spawn(["dockerd", data, *where], marker=data, log=log)
    note.write_text(json.dumps(asdict(process)))
    client = ["/usr/bin/docker", "--host", f"unix://{_socket()}", "info"]
    try:
        until(lambda: run(client).returncode == 0 or not is_alive(process), "dockerd answered", PATIENCE, pause=0.3)
    except NeverCame:
        end(process, signal.SIGTERM, PATIENCE)
    if not is_alive(process):
        raise ServerError(f"dockerd does not answer at {_socket()}: {_last_word(log)}; see {log}")
    return process


def _last_word(log: Path) -> str:
    """What dockerd, which tells of much that does not matter, said last."""
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _compose(docker: str) -> tuple[str, ...]:
    """Compose v2: the client's plugin, else the one static binary of Debian unstable's package."""
    if run([docker, "compose", "version"]).returncode == 0:
        return (docker, "compose")

    def unpack(folder: Path) -> None:
        MySQL().install()  # its chroot is the Debian unstable of this project
        say("docker: fetching compose")
        run_or_raise([*mysql_tool("mkdir"), "-p", "/tmp/compose"], "a folder for compose")
        fetch = [*mysql_tool("env"), "--chdir=/tmp/compose", "apt-get", "-q", "download", "docker-compose"]
        if run(fetch).returncode:
            run_or_raise([*mysql_tool("apt-get"), "-q", "update"], "apt-get update in Debian unstable")
            run_or_raise(fetch, "apt-get download docker-compose")
        packages = list((home() / "mysql/tmp/compose").glob("docker-compose_*.deb"))
        run_or_raise(["dpkg-deb", "-x", str(packages[-1]), str(folder)], "unpacking compose")
        shutil.rmtree(home() / "mysql/tmp/compose")

    folder = built(_home() / "compose", unpack)
    return (str(next(path for path in folder.rglob("docker-compose") if path.is_file() and os.access(path, os.X_OK))),)


def _home() -> Path:
    folder = home() / "docker"
    folder.mkdir(exist_ok=True)
    return folder


def _socket() -> Path:
    return socket_folder(_home()) / "docker.sock"
