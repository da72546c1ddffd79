"""What the containers are made of: images, environments, commands, and how to ask them whether they work."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.servers import settings, versions
from tests.servers.kafka import release_of
from tests.servers.state import Record

IMAGES = {
    "mysql": "mysql:9",
    "mariadb": "mariadb:11.4",
    "kafka": "apache/kafka:4.1.1",
    "postgres": "postgres:17",
}


def image(kind: str) -> str:
    """The image of a kind: the compose file's variable (MYSQL_IMAGE …) where it is set, else the official one."""
    return os.environ.get(f"{kind.upper()}_IMAGE") or _official(kind)


def _official(kind: str) -> str:
    version = versions.wanted(kind)
    if version is None:
        return IMAGES[kind]
    return f"{IMAGES[kind].partition(':')[0]}:{release_of(version) if kind == 'kafka' else version}"


@dataclass(frozen=True)
class Plan:
    """What a container is made of, and how to tell from inside that its server does its work."""

    kind: str
    port: int  # inside
    environment: Mapping[str, str]
    command: Sequence[str]
    probe: Sequence[str]  # run inside; () where the server is asked from outside
    set_up: Sequence[str] = ()  # run inside, after every start
    extras: Mapping[str, Any] = field(default_factory=dict)  # for docker's `create`

    @property
    def image(self) -> str:
        return image(self.kind)


def plan(kind: str, record: Record, options: Sequence[str]) -> Plan:
    """The plan of a single server. The probes use TCP: while an image initialises, only its socket answers."""
    match kind:
        case "mysql":
            client = ["mysql", "--no-defaults", "-uroot", "-h127.0.0.1", "-e"]
            return Plan(
                kind,
                3306,
                {"MYSQL_ALLOW_EMPTY_PASSWORD": "yes", "MYSQL_INITDB_SKIP_TZINFO": "yes"},
                [*settings.MYSQL, *options],
                [*client, "SELECT 1"],
                [*client, settings.MYSQL_SETUP],
            )
        case "mariadb":
            client = ["mariadb", "--no-defaults", "--skip-ssl", "-uroot", "-h127.0.0.1", "-e"]
            return Plan(
                kind,
                3306,
                {"MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": "yes", "MARIADB_INITDB_SKIP_TZINFO": "yes"},
                [*settings.MARIADB, *options],
                [*client, "SELECT 1"],
                [*client, settings.MYSQL_SETUP],
            )
        case "postgres":
            account = ["-U", settings.ACCOUNT, "-d", settings.DATABASE]
            return Plan(
                kind,
                5432,
                {
                    "POSTGRES_USER": settings.ACCOUNT,  # which the image makes a superuser
                    "POSTGRES_PASSWORD": settings.ACCOUNT,
                    "POSTGRES_DB": settings.DATABASE,
                },
                [word for option in [*settings.POSTGRES, *options] for word in ("-c", option)],
                ["psql", "-X", "-q", "-h", "127.0.0.1", *account, "-c", "SELECT 1"],
                extras={"shm_size": "256m"},
            )
        case _:
            return plan_kafka(record, options, 1, ["localhost"], network="")


def plan_kafka(record: Record, options: Sequence[str], node: int, hosts: Sequence[str], network: str) -> Plan:
    """The plan of one broker; `hosts` are how the nodes of its cluster, itself among them, find each other.

    Clients come through the published port, the brokers over the network of the containers.
    """
    voters = ",".join(f"{number}@{host}:9094" for number, host in enumerate(hosts, start=1))
    properties = {
        **settings.kafka(node, voters, len(hosts), private=record.owner is not None),
        "listeners": "CLIENTS://0.0.0.0:9092,BROKERS://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{record.ports[0]},BROKERS://{hosts[node - 1]}:9093",
        "inter.broker.listener.name": "BROKERS",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "/var/lib/kafka/data",
        **dict(option.split("=", 1) for option in options),
    }
    environment = {_variable(name): value for name, value in properties.items()}
    environment |= {
        "CLUSTER_ID": settings.KAFKA_CLUSTER,
        "KAFKA_HEAP_OPTS": "-Xmx768m -Xms64m",
        # a stopped container has no name, and may come back at another address: remember neither
        "KAFKA_OPTS": "-Dsun.net.inetaddr.ttl=1 -Dsun.net.inetaddr.negative.ttl=1",
    }
    return Plan("kafka", 9092, environment, (), (), extras={"network": network} if network else {})


def _variable(name: str) -> str:
    """The environment variable that apache/kafka turns into that property (its docker/examples/README)."""
    return "KAFKA_" + name.replace("_", "__").replace("-", "___").replace(".", "_").upper()
