"""What a kind of server must say of itself to be run as a process of this machine."""

import signal
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Site:
    """One server of its kind: where it lives, what it listens on, and the options of its own."""

    name: str
    folder: Path
    ports: tuple[int, ...]
    options: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def data(self) -> Path:
        return self.folder / "data"


class Engine(ABC):
    """A kind of server. It holds no state: everything is asked of it for a `Site`."""

    kind: str
    user: str | None = None  # the account it runs under; None is root
    ports = 1
    stop_signal = signal.SIGTERM
    patience = 90.0  # seconds to start, and to stop

    @property
    def started_by(self) -> str | None:
        """The account that runs `command`; None is root."""
        return self.user

    @abstractmethod
    def install(self) -> None:
        """Installs the software, unless it is there already."""

    @abstractmethod
    def folder(self, name: str) -> Path:
        """Where the server of that name keeps its data."""

    @abstractmethod
    def initialise(self, site: Site) -> None:
        """Makes the server's data, unless they are there already; never leaves half of them behind."""

    @abstractmethod
    def command(self, site: Site) -> list[str]:
        """The command line that runs it in the foreground."""

    @abstractmethod
    def marker(self, site: Site) -> str:
        """What stands in that command line and in no other server's."""

    @abstractmethod
    def answers(self, site: Site) -> bool:
        """Whether it does its work now."""

    @abstractmethod
    def set_up(self, site: Site) -> None:
        """Creates the account and the default database, unless they are there."""
