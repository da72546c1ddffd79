"""Real servers for tests: the shared ones by `ensure`, and private ones that may be killed."""

import atexit
import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from tests.servers import choice, state
from tests.servers.places import ServerError, home, locked, say
from tests.servers.processes import identify
from tests.servers.providers.provider import KINDS, Provider, Server

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_numbers = itertools.count(1)
_seen: set[tuple[str, str]] = set()
"""Shared servers, by folder and kind, that this process has seen at work: a thousand tests ask for them."""


def ensure(names: Iterable[str] = KINDS) -> "Servers":
    """Starts those shared servers that do not run yet and returns where they are."""
    names = tuple(names)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise ServerError(f"there is no server {unknown[0]}; there are {', '.join(KINDS)}")
    provider = choice.choose()
    with locked("reap"):
        choice.reap()
    return Servers(provider, dict(zip(names, together(lambda name: _shared(provider, name), names), strict=True)))


def running() -> dict[str, str]:
    """The addresses of the shared servers that run now; starts nothing."""
    return {
        record.kind: record.url
        for record in state.every()
        if record.name in KINDS and choice.of(record).is_running(record)
    }


@dataclass(frozen=True)
class Servers:
    """The shared servers that were asked for, and the way to private ones."""

    provider: Provider
    urls: Mapping[str, str]

    @property
    def mysql_url(self) -> str:
        return self._url("mysql")

    @property
    def mariadb_url(self) -> str:
        return self._url("mariadb")

    @property
    def postgres_url(self) -> str:
        return self._url("postgres")

    @property
    def kafka_bootstrap(self) -> str:
        return self._url("kafka")

    def private_mysql(self, extra_args: Sequence[str] = ()) -> "PrivateServer":
        """A MySQL of one's own, started; `extra_args` as for `mysqld`, overruling ours."""
        return self._private("mysql", extra_args)

    def private_mariadb(self, extra_args: Sequence[str] = ()) -> "PrivateServer":
        """A MariaDB of one's own, started; `extra_args` as for `mariadbd`, overruling ours."""
        return self._private("mariadb", extra_args)

    def private_postgres(self, options: Sequence[str] = ()) -> "PrivateServer":
        """A PostgreSQL of one's own, started; `options` are lines of `postgresql.conf`, `name=value`."""
        return self._private("postgres", options)

    def private_kafka(self, brokers: int = 1, options: Sequence[str] = ()) -> "PrivateServer":
        """A Kafka cluster of one's own, started; `options` are lines of `server.properties`."""
        self.provider.install("kafka")
        cluster = self.provider.kafka_cluster(_private_name("kafka"), brokers, options, identify(os.getpid()))
        return PrivateServer(cluster)

    def _private(self, kind: str, options: Sequence[str]) -> "PrivateServer":
        self.provider.install(kind)
        return PrivateServer([self.provider.server(kind, _private_name(kind), options, identify(os.getpid()))])

    def _url(self, kind: str) -> str:
        if kind not in self.urls:
            raise ServerError(f"{kind} was not among the servers asked for; name it in ensure(...)")
        return self.urls[kind]


class PrivateServer:
    """A server (or a cluster: `nodes`) of this process alone, deleted at the end of `with` or of the process.

    `stop`, `kill` and `restart` keep the data and the address.
    """

    def __init__(self, nodes: Sequence[Server]) -> None:
        self.nodes = tuple(nodes)
        self._process = os.getpid()
        atexit.register(self.discard)
        try:
            self.start()
        except ServerError:
            self.discard()
            raise

    @property
    def url(self) -> str:
        """Where it is, running or not; of a cluster, all addresses with commas between."""
        return ",".join(node.url for node in self.nodes)

    def is_running(self) -> bool:
        """Whether all its processes are there."""
        return all(node.is_running() for node in self.nodes)

    def start(self) -> None:
        """Starts what does not run and returns when all of it does its work."""
        together(lambda node: node.start(), self.nodes)  # the nodes of a cluster wait for each other

    def stop(self) -> None:
        """Ends it in good order."""
        together(lambda node: node.stop(), self.nodes)

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a crash would."""
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        """Stops and starts it."""
        self.stop()
        self.start()

    def discard(self) -> None:
        """Ends it and deletes its data; a second time, and in a forked child, it does nothing."""
        if os.getpid() == self._process:
            atexit.unregister(self.discard)
            for node in self.nodes:
                node.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def mysql_command() -> list[str]:
    """The command, without arguments, that runs MySQL's own client."""
    return choice.choose().tool("mysql")


def mysqlbinlog_command() -> list[str]:
    """The command, without arguments, that runs MySQL's own `mysqlbinlog`."""
    return choice.choose().tool("mysqlbinlog")


def mariadb_binlog_command() -> list[str]:
    """The command, without arguments, that runs MariaDB's own `mariadb-binlog`."""
    return choice.choose().mariadb_tool("mariadb-binlog")


def mariadb_plugins() -> list[str]:
    """Options of a private MariaDB that is to load plugins of its own."""
    return choice.choose().mariadb_plugins()


def together(do: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """`do(item)` for all items at once; their results in order.

    Every one is brought to its end. Where some raise ServerError, one is raised that says all they said.
    """
    with ThreadPoolExecutor(max(1, len(items))) as pool:
        futures = [pool.submit(do, item) for item in items]
    errors = [future.exception() for future in futures]
    told = [str(error) for error in errors if isinstance(error, ServerError)]
    if told:
        raise ServerError("\n".join(told))
    return [future.result() for future in futures]


def _shared(provider: Provider, kind: str) -> str:
    began = time.monotonic()
    other = state.load(kind)
    if other is not None and other.provider != provider.name and choice.of(other).is_running(other):
        raise ServerError(f"{kind} runs already, from {other.provider}; stop it: python -m tests.servers stop {kind}")
    seen = str(home()), kind
    if seen in _seen:
        server = provider.server(kind, kind, (), None)
        if server.is_running():
            return server.url
    provider.install(kind)
    server = provider.server(kind, kind, (), None)
    if not server.is_running():
        say(f"{kind}: starting")
    server.start()
    say(f"{kind}: ready at {server.url} ({time.monotonic() - began:.1f} s)")
    _seen.add(seen)
    return server.url


def _private_name(kind: str) -> str:
    return f"{kind}-{os.getpid()}-{next(_numbers)}"
