"""What a way of having servers must offer, whether they are containers or processes of this machine."""

from collections.abc import Sequence
from typing import Protocol

from tests.servers.processes import ProcessId
from tests.servers.state import Record

KINDS = ("mysql", "mariadb", "kafka", "postgres")


class Server(Protocol):
    """One server: started, ended and started again at the same address, with the same data."""

    @property
    def name(self) -> str:
        """Its name in the state folder."""

    @property
    def url(self) -> str:
        """What a client is given to connect; Kafka's is a bootstrap address."""

    def is_running(self) -> bool:
        """Whether its process is there."""

    def start(self) -> None:
        """Starts it, unless it runs, and returns when it does its work."""

    def stop(self) -> None:
        """Ends it in good order."""

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a crash would."""

    def restart(self) -> None:
        """Stops and starts it."""

    def discard(self) -> None:
        """Ends it and deletes its data and every trace in the state folder."""


class Provider(Protocol):
    """A way of having servers."""

    @property
    def name(self) -> str:
        """Its name in the records."""

    def why_not(self) -> str | None:
        """Why servers cannot be had this way here; None where they can."""

    def install(self, kind: str) -> None:
        """Fetches the software of that kind, unless it is there."""

    def server(self, kind: str, name: str, options: Sequence[str], owner: ProcessId | None) -> Server:
        """The server of that name; not started. `options` are in its own spelling."""

    def kafka_cluster(
        self, name: str, brokers: int, options: Sequence[str], owner: ProcessId | None
    ) -> Sequence[Server]:
        """The brokers of a Kafka cluster; not started, and none answers before most of them run."""

    def is_running(self, record: Record) -> bool:
        """Whether the recorded server runs, and is really that one."""

    def end(self, record: Record) -> None:
        """Ends the recorded server in good order, if it runs."""

    def discard(self, record: Record) -> None:
        """Ends the recorded server and deletes what is left of it."""

    def tool(self, program: str) -> list[str]:
        """The command, without arguments, that runs a client program of the MySQL this provider installs."""

    def mariadb_tool(self, program: str) -> list[str]:
        """The same of the MariaDB."""

    def mariadb_plugins(self) -> list[str]:
        """The options with which a MariaDB finds the plugins that come with it."""
