"""Servers as processes of this Debian: packages from apt and Maven, data and logs in folders of our own."""

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.servers import settings, state
from tests.servers.engine import Engine, Site
from tests.servers.kafka import Kafka
from tests.servers.mariadb import MariaDB, mariadb_tool, plugins
from tests.servers.mysql import MySQL, mysql_tool
from tests.servers.places import ServerError, home, locked, remove, say
from tests.servers.postgres import PostgreSQL
from tests.servers.processes import ProcessId, end, is_alive, spawn
from tests.servers.state import Record
from tests.support.waiting import NeverCame, until

ENGINES: dict[str, Engine] = {engine.kind: engine for engine in (MySQL(), MariaDB(), Kafka(), PostgreSQL())}
NAME = "debian"


class DebianProvider:
    """Installs what is missing, so it needs root."""

    name = NAME

    def why_not(self) -> str | None:
        release = Path("/etc/os-release")
        if shutil.which("apt-get") is None or "ID=debian" not in release.read_text().splitlines():
            return "this machine is not Debian"
        if os.geteuid() != 0:
            return "installing packages and running servers under their own accounts needs root"
        return None

    def install(self, kind: str) -> None:
        with locked(f"install-{kind}"):
            ENGINES[kind].install()

    def server(self, kind: str, name: str, options: Sequence[str], owner: ProcessId | None) -> "ProcessServer":
        return ProcessServer(ENGINES[kind], _record(ENGINES[kind], name, owner), options)

    def kafka_cluster(
        self, name: str, brokers: int, options: Sequence[str], owner: ProcessId | None
    ) -> Sequence["ProcessServer"]:
        records = [_record(ENGINES["kafka"], f"{name}-{node}", owner) for node in range(1, brokers + 1)]
        quorum = tuple(record.ports[1] for record in records)
        return [ProcessServer(Kafka(node, quorum), record, options) for node, record in enumerate(records, start=1)]

    def is_running(self, record: Record) -> bool:
        return record.process is not None and is_alive(record.process)

    def end(self, record: Record) -> None:
        engine = ENGINES[record.kind]
        if record.process is not None and not end(record.process, engine.stop_signal, engine.patience):
            say(f"{record.name}: did not stop within {engine.patience:.0f} s and was killed")

    def discard(self, record: Record) -> None:
        if record.process is not None:
            end(record.process, signal.SIGKILL, 30)
        remove(Path(record.folder))
        state.forget(record.name)
        _log(record.name).unlink(missing_ok=True)
        (home() / "locks" / record.name).unlink(missing_ok=True)

    def tool(self, program: str) -> list[str]:
        self.install("mysql")
        return mysql_tool(program)

    def mariadb_tool(self, program: str) -> list[str]:
        return mariadb_tool(program)

    def mariadb_plugins(self) -> list[str]:
        self.install("mariadb")
        folder = plugins()
        return [] if folder is None else [f"--plugin-dir={folder}"]


class ProcessServer:
    """One server run as a process; its record on disk is the only state, so others may start and end it too."""

    def __init__(self, engine: Engine, record: Record, options: Sequence[str]) -> None:
        self.name = record.name
        self.url = record.url
        self._engine = engine
        self._site = Site(record.name, Path(record.folder), record.ports, tuple(options))

    def is_running(self) -> bool:
        record = state.load(self.name)
        return record is not None and record.process is not None and is_alive(record.process)

    def start(self) -> None:
        with locked(self.name):
            if not self.is_running():
                self._launch()
            self._wait_until_it_answers()
            self._engine.set_up(self._site)

    def stop(self) -> None:
        self._end(self._engine.stop_signal)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def discard(self) -> None:
        record = state.load(self.name)
        if record is not None:
            DebianProvider().discard(record)

    def _launch(self) -> None:
        record = state.load(self.name)
        if record is None:
            raise ServerError(f"{self.name} was discarded; ask for a new server")
        self._engine.initialise(self._site)
        process = spawn(
            self._engine.command(self._site),
            marker=self._engine.marker(self._site),
            log=_log(self.name),
            user=self._engine.started_by,
        )
        state.save(replace(record, process=process))

    def _wait_until_it_answers(self) -> None:
        def answers() -> bool:
            if self._engine.answers(self._site):
                return True
            if not self.is_running():
                raise ServerError(f"{self.name} ended while starting; {_end_of_log(self.name)}")
            return False

        try:
            until(answers, f"{self.name} answered", self._engine.patience)
        except NeverCame as error:
            raise ServerError(
                f"{self.name} does not answer on 127.0.0.1:{self._site.port} "
                f"after {self._engine.patience:.0f} s; {_end_of_log(self.name)}"
            ) from error

    def _end(self, how: signal.Signals) -> None:
        record = state.load(self.name)
        if record is not None and record.process is not None:
            end(record.process, how, self._engine.patience)
            state.save(replace(record, process=None))


def _record(engine: Engine, name: str, owner: ProcessId | None) -> Record:
    """The record of that name, made or repaired: a server that is down gets other ports if its own were taken."""
    with locked("ports"):
        record = state.load(name)
        if record is not None:
            running = record.process is not None and is_alive(record.process)
            if running or all(map(state.is_free, record.ports)):
                return record
        ports: list[int] = []
        for _ in range(engine.ports):
            ports.append(state.free_port(set(ports)))
        folder = engine.folder(name)
        url = settings.url(engine.kind, ports[0])
        record = Record(name, engine.kind, NAME, url, tuple(ports), str(folder), owner=owner)
        state.save(record)
        return record


def _log(name: str) -> Path:
    return home() / "logs" / f"{name}.log"


def _end_of_log(name: str) -> str:
    path = _log(name)
    lines = path.read_text(errors="replace").splitlines()[-15:] if path.exists() else []
    return f"its log {path} ends:\n" + "\n".join(f"  {line}" for line in lines)
