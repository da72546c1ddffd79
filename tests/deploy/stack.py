"""The compose file brought up on an engine: what a test asks of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.deploy.engine import Engine
from tests.servers.places import ServerError, say
from tests.support.waiting import NeverCame, until

STREAM = ("reader", "applier", "reconciler")
RUNNING = ("mysql", "kafka", "postgres", "prometheus", *STREAM)


@dataclass(frozen=True)
class Stack:
    """One project of compose, named apart from any other on the engine."""

    engine: Engine
    variables: Mapping[str, str]
    project: str = "leadstream-tests"
    files: Sequence[str] = ("docker-compose.yml",)

    def compose(self, *arguments: str, stdin: str = "") -> str:
        """The output of `docker compose …`. Raises ServerError with what it complained of."""
        where = ["--project-name", self.project, *(f"--file={file}" for file in self.files)]
        result = self.engine.run_compose(self.variables, *where, *arguments, stdin=stdin)
        if result.returncode:
            raise ServerError(f"docker compose {' '.join(arguments)} fails: {result.stderr[-3000:]}")
        return result.stdout.strip()

    def up(self) -> float:
        """Starts everything and returns after how many seconds every service was healthy. Raises ServerError."""
        began = time.monotonic()

        def healthy() -> bool:
            return {self.health(name) for name in RUNNING} == {"healthy"}

        say("compose: up")
        try:
            self.compose("up", "--detach", "--no-build")
            until(healthy, "every service was healthy", 600, pause=0.5)
        except (ServerError, NeverCame) as error:
            raise ServerError(
                f"{error}\n{self.compose('ps', '--all')}\n{self.compose('logs', '--tail', '30')}"
            ) from error
        return time.monotonic() - began

    def down(self) -> None:
        """Ends and removes everything, data included."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "30")

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, ended ones included."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def inspect(self, service: str) -> list[dict[str, Any]]:
        """What the engine knows of each container of a service."""
        found: list[dict[str, Any]] = json.loads(self.engine.ask("inspect", *self.containers(service)))
        return found

    def health(self, service: str) -> str:
        """What all containers of the service say of their health; of several answers, the worst."""
        said = {container["State"].get("Health", {}).get("Status", "none") for container in self.inspect(service)}
        return said.pop() if len(said) == 1 else "unhealthy" if "unhealthy" in said else "starting"

    def inside(self, service: str, *command: str, stdin: str = "") -> str:
        """The output of a command in the service's first container."""
        return self.compose("exec", "--no-TTY", service, *command, stdin=stdin)

    def mysql(self, sql: str, account: str = "root", database: str = "company") -> str:
        """Runs statements on MySQL; rows as tab-separated lines."""
        client = ["mysql", "--no-defaults", "-h127.0.0.1", f"-u{account}", "-pleadstream", "-N", database]
        return self.inside("mysql", *client, stdin=sql)

    def postgres(self, sql: str, account: str = "postgres") -> str:
        """Runs statements on PostgreSQL; rows as lines with `|` between."""
        url = f"postgresql://{account}:leadstream@127.0.0.1/callcentre"
        return self.inside("postgres", "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url, stdin=sql)
