"""What we started, as one JSON file a server, so that any later process can find, judge and end it."""

import json
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.servers.places import ServerError, home
from tests.servers.processes import ProcessId, is_alive


@dataclass(frozen=True)
class Record:
    """A server that was started: shared by all, or private to the process `owner` and gone with it."""

    name: str
    kind: str
    provider: str
    url: str
    ports: tuple[int, ...]
    folder: str = ""  # of its data, where it has one
    process: ProcessId | None = None
    container: str | None = None
    network: str = ""  # of containers, where a cluster has one of its own
    owner: ProcessId | None = None

    def orphaned(self) -> bool:
        """Whether it is private and its owner died without tidying up."""
        return self.owner is not None and not is_alive(self.owner)


def save(record: Record) -> None:
    """Writes the record whole or not at all."""
    path = _path(record.name)
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(record), indent=2) + "\n")
    part.rename(path)


def load(name: str) -> Record | None:
    """The record of that name; None where nothing of that name was ever started."""
    try:
        fields = json.loads(_path(name).read_text())
    except FileNotFoundError:
        return None
    for key in ("process", "owner"):
        if fields[key] is not None:
            fields[key] = ProcessId(**fields[key])
    return Record(**{**fields, "ports": tuple(fields["ports"])})


def every() -> list[Record]:
    """All records, by name."""
    names = sorted(path.stem for path in (home() / "state").glob("*.json"))
    return [record for record in map(load, names) if record is not None]


def forget(name: str) -> None:
    """Removes a record; its server must be gone."""
    _path(name).unlink(missing_ok=True)


def free_port(taken: set[int]) -> int:
    """A port nobody listens on, outside the kernel's ephemeral range.

    Inside that range a client that keeps knocking while its server is down can be given the server's own
    port as source port, connect to itself and keep the server from coming back.
    """
    taken = taken | {port for record in every() for port in record.ports}
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = random.randrange(10_000, lowest) if lowest > 11_000 else random.randrange(61_000, 65_000)
        if port not in taken and is_free(port):
            return port
    raise ServerError(f"no free port below {lowest} on 127.0.0.1; end some of the servers that listen there")


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _path(name: str) -> Path:
    return home() / "state" / f"{name}.json"
