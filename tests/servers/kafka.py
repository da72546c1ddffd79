"""Kafka without ZooKeeper (KRaft): the jars from Maven Central, run by this machine's Java."""

import socket
import struct
from pathlib import Path

from tests.servers import settings, versions
from tests.servers.engine import Engine, Site
from tests.servers.packages import java, maven_libs
from tests.servers.places import ServerError, built, copied, home, own
from tests.servers.processes import run_or_raise
from tests.support.sockets import exactly

NEWEST = "4.1.1"
RELEASES = {"3.9": "3.9.1", "4.1": NEWEST}
"""By version: the one that is fetched."""

MORE = "+listener="
"""An option that begins so adds a listener (`NAME://host:port`) to those that every node has."""


def kafka_classpath() -> Path:
    """The folder with Kafka's jars, for `java -cp 'FOLDER/*' org.apache.kafka.tools…`."""
    release = release_of(versions.wanted("kafka"))
    logger = "org.slf4j:slf4j-simple:1.7.36"  # Kafka's jars bring none
    kafka = (f"org.apache.kafka:{name}:{release}" for name in ("kafka_2.13", "kafka-tools"))
    return maven_libs("kafka", [*kafka, logger])


def release_of(version: str | None) -> str:
    """The release of a version of Kafka; of None the newest."""
    if version is not None and version not in RELEASES:
        raise ServerError(
            f"Kafka {version} is not known here; {versions.variable('kafka')} may be {', '.join(RELEASES)}"
        )
    return NEWEST if version is None else RELEASES[version]


class Kafka(Engine):
    """A broker that is a controller too; alone, or one of a private cluster whose `quorum` it was told."""

    kind = "kafka"
    ports = 2  # for clients, and for the quorum of controllers

    def __init__(self, node: int = 1, quorum: tuple[int, ...] = ()) -> None:
        self.node = node
        self.quorum = quorum  # the controllers' ports, in the order of the nodes

    def install(self) -> None:
        java()
        kafka_classpath()

    def folder(self, name: str) -> Path:
        return home() / "data" / name

    def initialise(self, site: Site) -> None:
        own(site.folder, None)
        self._properties(site).write_text(self._text(site, site.data))

        def formatted(part: Path) -> None:
            properties = part.with_name(f"{part.name}.properties")
            properties.write_text(self._text(site, part))
            tool = [*_java("128m", brief=True), "kafka.tools.StorageTool", "format"]
            run_or_raise([*tool, "-t", settings.KAFKA_CLUSTER, "-c", str(properties)], "formatting Kafka's data folder")
            properties.unlink()

        def copy(part: Path) -> None:
            copied(self.kind, [release_of(versions.wanted("kafka")), str(self.node)], part, formatted)

        built(site.data, copy)

    def command(self, site: Site) -> list[str]:
        return [*_java("512m" if self.quorum else "768m", brief=bool(self.quorum)), "kafka.Kafka", self.marker(site)]

    def marker(self, site: Site) -> str:
        return str(self._properties(site))

    def answers(self, site: Site) -> bool:
        return site.port in brokers_known_by(site.port)

    def set_up(self, site: Site) -> None:
        """Nothing: topics are created by those who use them."""

    def _properties(self, site: Site) -> Path:
        return site.folder / "server.properties"

    def _text(self, site: Site, data: Path) -> str:
        """The server.properties of a site with its data in a folder; the site's own options stand last and win."""
        quorum = self.quorum or (site.ports[1],)
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(quorum, start=1))
        properties = {
            **settings.kafka(self.node, voters, len(quorum), private=bool(self.quorum)),
            "listeners": f"PLAINTEXT://127.0.0.1:{site.ports[0]},CONTROLLER://127.0.0.1:{site.ports[1]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{site.ports[0]}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(data),
        }
        more = [option.removeprefix(MORE) for option in site.options if option.startswith(MORE)]
        for name in ("listeners", "advertised.listeners"):
            properties[name] = ",".join([properties[name], *more])
        lines = [f"{name}={value}" for name, value in properties.items()]
        return "\n".join([*lines, *(option for option in site.options if not option.startswith(MORE))]) + "\n"


def brokers_known_by(port: int) -> list[int]:
    """The ports of the brokers that the one at 127.0.0.1:port counts as alive; none where it does not answer.

    Asked by hand in Kafka's protocol (Metadata, version 1, of no topic), because a broker accepts
    connections some seconds before it does its work, and a Java tool takes seconds to say so.
    """
    request = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", exactly(connection, 4))
            answer = exactly(connection, size)
    except OSError:
        return []
    (count,) = struct.unpack_from(">i", answer, 4)
    ports, at = [], 8
    for _ in range(count):  # node id, host, port, rack
        (host,) = struct.unpack_from(">h", answer, at + 4)
        (known,) = struct.unpack_from(">i", answer, at + 6 + host)
        (rack,) = struct.unpack_from(">h", answer, at + 10 + host)
        at += 12 + host + max(rack, 0)
        ports.append(known)
    return ports


def _java(heap: str, *, brief: bool = False) -> list[str]:
    """Java's command line; `brief` is for who lives for a test's minutes: compiled once, quickly, and one collector.

    Starting and ending a broker takes 4.6 s of CPU, brief 3.3; formatting 1.4 and 1.1.
    """
    short = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if brief else []
    log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return [java(), f"-Xmx{heap}", "-Xms64m", *short, *log, "-cp", f"{kafka_classpath()}/*"]
