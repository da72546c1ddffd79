"""What each workload of Kubernetes connects to when it does its work, held against the doors its policies open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.integration.binlog.proxy import Proxy
from tests.integration.kustomize import render
from tests.integration.reader.world import ReaderWorld
from tests.servers.places import PROJECT
from tests.support.company_tables import key
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.servers

OVERLAY: Final = PROJECT / "deploy" / "kubernetes" / "overlays" / "example"
NAMES_PORT: Final = 53

Thing = dict[str, Any]


class Workload:
    """One workload's command, behind doors of its own to the three servers, which count who comes through."""

    def __init__(self, arguments: list[str], world: ReaderWorld, stack: ExitStack) -> None:
        mysql, postgres = urlsplit(world.mysql_url), urlsplit(world.postgres_url)
        broker = world.bootstrap.split(",")[0].rpartition(":")
        self.doors = {
            server: stack.enter_context(Proxy(host, port))
            for server, host, port in (
                ("mysql", str(mysql.hostname), mysql.port or 3306),
                ("postgres", str(postgres.hostname), postgres.port or 5432),
                ("kafka", broker[0], int(broker[2])),
            )
        }
        self.port = free_port()
        at = {server: f"127.0.0.1:{door.port}" for server, door in self.doors.items()}
        told = {
            "REPLICA_DATABASE_URL": mysql._replace(netloc=f"{mysql.username}:{mysql.password}@{at['mysql']}").geturl(),
            "DATABASE_URL": postgres._replace(
                netloc=f"{postgres.username}:{postgres.password}@{at['postgres']}"
            ).geturl(),
            "KAFKA_BOOTSTRAP_SERVERS": at["kafka"],
            "HTTP_PORT": str(self.port),
            "METRICS_PORT": "0",
        }  # fmt: skip
        self.process = world.processes.make(*arguments, name="-".join(arguments), **told)

    @property
    def reached(self) -> set[str]:
        """The servers that it has connected to."""
        return {server for server, door in self.doors.items() if door.connections}

    def run(self) -> None:
        """Runs it to its end."""
        self.process.start().succeed()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs it for the block's time; it ends well when it is asked to."""
        self.process.start()
        yield
        assert self.process.stop() == 0, self.process.tail()


def commands(things: list[Thing]) -> dict[str, list[str]]:
    """What each workload runs."""
    found = {}
    for thing in things:
        spec = thing.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            (container,) = template["spec"]["containers"]
            found[str(template["metadata"]["labels"]["app.kubernetes.io/component"])] = list(container["args"])
    return found


def opened(things: list[Thing]) -> dict[str, set[int]]:
    """The ports that each workload's policies let it reach, but for names."""
    ports: dict[str, set[int]] = {name: set() for name in commands(things)}
    for policy in (thing["spec"] for thing in things if thing["kind"] == "NetworkPolicy"):
        selector = policy["podSelector"]
        chosen = set(ports)
        for expression in selector.get("matchExpressions", []):
            chosen &= set(expression["values"])
        if "matchLabels" in selector:
            chosen &= {selector["matchLabels"]["app.kubernetes.io/component"]}
        for name in chosen:
            for rule in policy.get("egress", []):
                ports[name] |= {port["port"] for port in rule["ports"]} - {NAMES_PORT}
    return ports


def server_ports(things: list[Thing]) -> dict[str, set[int]]:
    """The ports at which the settings say that each server is."""
    secrets = OVERLAY / "secrets"
    (config,) = (thing["data"] for thing in things if thing["kind"] == "ConfigMap")
    brokers = config["KAFKA_BOOTSTRAP_SERVERS"].split(",")
    return {
        "mysql": {urlsplit((secrets / "replica-database-url").read_text().strip()).port or 3306},
        "postgres": {urlsplit((secrets / "database-url").read_text().strip()).port or 5432},
        "kafka": {int(broker.rpartition(":")[2]) for broker in brokers},
    }


def test_each_workload_connects_to_exactly_the_servers_that_its_policies_open() -> None:
    things = render(OVERLAY)
    with ReaderWorld("mysql") as world, ExitStack() as stack:
        doing = {name: Workload(arguments, world, stack) for name, arguments in commands(things).items()}
        doing["setup"].run()
        with ExitStack() as processes:
            for name in ("reader", "applier", "reconciler"):
                processes.enter_context(doing[name].running())
            doing["reader"].process.wait_for("reader_connected")
            world.execute(
                "INSERT INTO users (id) VALUES (1)",
                "INSERT INTO claims (id, user_id, status) VALUES (2, 1, 'open')",
                f"INSERT INTO claim_requirements (id, claim_id, type, status) VALUES ('{key(3)}', 2, 'id', 'pending')",
                "UPDATE users SET current_signature_file_id = 5 WHERE id = 1",
            )
            with psycopg.connect(world.postgres_url, autocommit=True) as centre:
                count = b"SELECT count(*) FROM conversions"
                until(lambda: centre.execute(count).fetchall() == [(1,)], "a signature was paid")
            _use(doing["reconciler"])
            doing["verify"].run()
            doing["audit"].run()
        ports = server_ports(things)
        reached = {name: set().union(*(ports[server] for server in one.reached)) for name, one in doing.items()}
    assert reached == opened(things)
    assert opened(things)["reconciler"] == set().union(*ports.values())  # the runbook has the doctor asked there


def _use(reconciler: Workload) -> None:
    """Looks at the page until it knows where the reader stands, and asks what the dialler asks."""
    with httpx.Client(base_url=f"http://127.0.0.1:{reconciler.port}", timeout=30) as client:

        def knows() -> bool:
            try:
                return "MySQL to Kafka" in client.get("/").text
            except httpx.TransportError:
                return False

        until(knows, "the page knew where the reader stands")
        assert client.get("/leads/1/precall", params={"expected": "none"}).is_success
        assert client.get("/leads/1").is_success
