"""Servers as containers, where a Docker engine answers.

testcontainers creates them; afterwards they are steered by their recorded ids through the `docker`
command, because they outlive the process that made them. Its reaper (Ryuk) would end them with that
process, so it is off for ours, and ports are published at numbers of our choice, so that a container
started again is found at the same address.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, cast

from tests.servers import settings, state
from tests.servers.kafka import brokers_known_by
from tests.servers.places import ServerError, home, locked, say
from tests.servers.processes import ProcessId, complaint, run, run_or_raise
from tests.servers.providers.container_plans import Plan, image, plan, plan_kafka
from tests.servers.state import Record
from tests.support.waiting import NeverCame, until

NAME = "containers"
PATIENCE = 120.0  # seconds to start, and to stop


class ContainersProvider:
    """Needs the `docker` command, an engine that answers, and testcontainers."""

    name = NAME

    def why_not(self) -> str | None:
        if shutil.which("docker") is None:
            return "there is no docker command"
        answer = run(["docker", "info"], patience=60)
        if answer.returncode:
            return f"no Docker engine answers ({complaint(answer.stderr)})"
        if find_spec("testcontainers") is None:
            return "testcontainers is not installed in this Python"
        try:
            _pull(image("postgres"))  # an engine may be cut off from every registry
        except ServerError as error:
            return str(error)
        return None

    def install(self, kind: str) -> None:
        with locked(f"pull-{kind}"):
            _pull(image(kind))

    def server(self, kind: str, name: str, options: Sequence[str], owner: ProcessId | None) -> "ContainerServer":
        record = _record(kind, name, owner)
        return ContainerServer(plan(kind, record, options), record)

    def kafka_cluster(
        self, name: str, brokers: int, options: Sequence[str], owner: ProcessId | None
    ) -> Sequence["ContainerServer"]:
        network = _container_name(name)
        run_or_raise(["docker", "network", "create", network], "docker network create")
        records = [_record("kafka", f"{name}-{node}", owner, network) for node in range(1, brokers + 1)]
        hosts = [_container_name(record.name) for record in records]
        return [
            ContainerServer(plan_kafka(record, options, node, hosts, network), record)
            for node, record in enumerate(records, start=1)
        ]

    def is_running(self, record: Record) -> bool:
        return record.container is not None and _is_running(record.container)

    def end(self, record: Record) -> None:
        if record.container is not None:
            run(["docker", "stop", "-t", f"{PATIENCE:.0f}", record.container], patience=2 * PATIENCE)

    def discard(self, record: Record) -> None:
        if record.container is not None:
            run(["docker", "rm", "--force", "--volumes", record.container])
        if record.network:  # refused, rightly, until the last node of a cluster has left
            run(["docker", "network", "rm", record.network])
        state.forget(record.name)
        (home() / "locks" / record.name).unlink(missing_ok=True)

    def tool(self, program: str) -> list[str]:
        """MySQL's image brings its client but not every program; the machine's own has to do for those."""
        return self._tool("mysql", program)

    def mariadb_tool(self, program: str) -> list[str]:
        return self._tool("mariadb", program)

    def mariadb_plugins(self) -> list[str]:
        return []

    def _tool(self, kind: str, program: str) -> list[str]:
        record = state.load(kind)
        if record is None or not self.is_running(record):
            raise ServerError(f"{program} runs in the container of {kind}; start it: python -m tests.servers start")
        inside = ["docker", "exec", "-i", str(record.container), program]
        if run([*inside, "--version"]).returncode == 0:
            return inside
        outside = shutil.which(program)
        if outside is None:
            raise ServerError(f"the image {image(kind)} has no {program}; install its clients on this machine")
        return [outside]


class ContainerServer:
    """One server in a container; its record on disk is the only state, so others may start and end it too."""

    def __init__(self, made_of: Plan, record: Record) -> None:
        self.name = record.name
        self.url = record.url
        self._plan = made_of
        self._port = record.ports[0]

    def is_running(self) -> bool:
        record = state.load(self.name)
        return record is not None and ContainersProvider().is_running(record)

    def start(self) -> None:
        with locked(self.name):
            record = self._record()
            if record.container is None or not _exists(record.container):
                state.save(replace(record, container=_create(self._plan, self.name, self._port)))
            elif not _is_running(record.container):
                run_or_raise(["docker", "start", record.container], f"docker start of {self.name}")
            self._wait_until_it_answers()
            if self._plan.set_up:
                run_or_raise(self._inside(self._plan.set_up), f"setting up {self.name}")

    def stop(self) -> None:
        record = state.load(self.name)
        if record is not None:
            ContainersProvider().end(record)

    def kill(self) -> None:
        record = state.load(self.name)
        if record is not None and record.container is not None:
            run(["docker", "kill", record.container])

    def restart(self) -> None:
        self.stop()
        self.start()

    def discard(self) -> None:
        record = state.load(self.name)
        if record is not None:
            ContainersProvider().discard(record)

    def _wait_until_it_answers(self) -> None:
        def answers() -> bool:
            if self._answers():
                return True
            if not self.is_running():
                raise ServerError(f"{self.name} ended while starting; {self._end_of_log()}")
            return False

        try:
            until(answers, f"{self.name} answered", PATIENCE, pause=0.2)
        except NeverCame as error:
            raise ServerError(f"{self.name} does not answer after {PATIENCE:.0f} s; {self._end_of_log()}") from error

    def _answers(self) -> bool:
        if not self._plan.probe:
            return self._port in brokers_known_by(self._port)
        return run(self._inside(self._plan.probe)).returncode == 0

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["docker", "exec", str(self._record().container), *command]

    def _end_of_log(self) -> str:
        log = run(["docker", "logs", "--tail", "15", str(self._record().container)])
        lines = (log.stdout + log.stderr).splitlines()
        return f"its log ({image(self._plan.kind)}) ends:\n" + "\n".join(f"  {line}" for line in lines)

    def _record(self) -> Record:
        record = state.load(self.name)
        if record is None:
            raise ServerError(f"{self.name} was discarded; ask for a new server")
        return record


def _create(made_of: Plan, name: str, port: int) -> str:
    """Creates and starts the container, published at 127.0.0.1:port; returns its id."""
    own_name = _container_name(name)
    run(["docker", "rm", "--force", "--volumes", own_name])  # left by an interrupted start
    with _testcontainers_for_keeps() as docker_container:
        container = docker_container(made_of.image).with_name(own_name).with_kwargs(**made_of.extras)
        for variable, value in made_of.environment.items():
            container = container.with_env(variable, value)
        if made_of.command:
            container = container.with_command(list(made_of.command))
        # with_bind_ports() knows no address; the engine (docker-py) takes (address, port).
        container.ports[f"{made_of.port}/tcp"] = ("127.0.0.1", port)
        container.start()
        return cast(str, container.get_wrapped_container().id)


@contextmanager
def _testcontainers_for_keeps() -> Iterator[Any]:
    """testcontainers' DockerContainer, without its reaper, talking to the engine the `docker` command talks to."""
    if "DOCKER_HOST" not in os.environ:
        here = run(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]).stdout.strip()
        if here:
            os.environ["DOCKER_HOST"] = here
    from testcontainers.core.config import testcontainers_config  # only where it is used
    from testcontainers.core.container import DockerContainer

    with locked("testcontainers"):  # the setting is one for all threads
        before = testcontainers_config.ryuk_disabled
        testcontainers_config.ryuk_disabled = True
        try:
            yield DockerContainer
        finally:
            testcontainers_config.ryuk_disabled = before


def _record(kind: str, name: str, owner: ProcessId | None, network: str = "") -> Record:
    """The record of that name, made unless it is there; a container keeps its port as long as it lives."""
    with locked("ports"):
        record = state.load(name)
        if record is not None and record.container is not None and _exists(record.container):
            return record
        port = state.free_port(set())
        record = Record(name, kind, NAME, settings.url(kind, port), (port,), owner=owner, network=network)
        state.save(record)
        return record


def _container_name(name: str) -> str:
    """Unlike any other checkout's, and known again when its id was not recorded in time."""
    return f"leadstream-{hashlib.sha256(os.fsencode(home())).hexdigest()[:8]}-{name}"


def _pull(image: str) -> None:
    if run(["docker", "image", "inspect", image]).returncode:
        say(f"docker: pulling {image}")
        run_or_raise(["docker", "pull", "--quiet", image], f"docker pull {image}")


def _exists(container: str) -> bool:
    return run(["docker", "container", "inspect", container]).returncode == 0


def _is_running(container: str) -> bool:
    answer = run(["docker", "container", "inspect", "--format", "{{.State.Running}}", container])
    return answer.stdout.strip() == "true"
