"""The process world: databases and topics that a trial has to itself on servers of all, and its processes on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.support.company_tables import call_centre_tables, company_tables
from tests.support.environments import environment
from tests.support.processes import Processes, log_folder

_SECONDS = 60.0
"""How long one request to a broker may take."""


class ProcessWorld:
    """What a trial has to itself: databases, topics and processes, of which none is left at the end of the block.

    Each room's world adds what it has ready (`_prepare`), and what its trials do and look at.
    """

    def __init__(
        self,
        room: str,
        *,
        postgres: str,
        mysql: str = "",
        kafka: str = "",
        lanes: int | None = None,
        foreign_keys: bool = False,
        **settings: str,
    ) -> None:
        """Of the URLs of servers, those of MySQL and Kafka are left out where a room does without.

        `foreign_keys` says whether the company's tables have them, and `settings` is what processes are told besides.
        """
        self.name = f"{room}_{uuid4().hex[:12]}"
        """That of both databases, and the prefix of the topics."""
        self.mysql_url = of_server(mysql, self.name) if mysql else ""
        self.postgres_url = of_server(postgres, self.name)
        self.bootstrap = kafka
        told = environment(
            mysql=self.mysql_url or None,
            postgres=self.postgres_url,
            kafka=kafka or None,
            prefix=self.name if kafka else None,
            lanes=lanes,
            **settings,
        )
        self.processes = Processes(told, log_folder(self.name))
        self._mysql, self._postgres, self._foreign_keys = mysql, postgres, foreign_keys
        self._ending = ExitStack()
        """What ends with the world, once its processes have."""

    def __enter__(self) -> Self:
        with self._ending as ending:
            if self._mysql:
                ending.enter_context(company_database(self._mysql, self.name, foreign_keys=self._foreign_keys))
            ending.enter_context(call_centre_database(self._postgres, self.name))
            if self.bootstrap:
                ending.enter_context(removed_topics(self.bootstrap, self.name))
            self._prepare()
            self._ending = ending.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._ending:
            self.processes.end()

    def _prepare(self) -> None:
        """What a room has ready before its trial begins."""

    def environment(self, **more: str) -> dict[str, str]:
        """What the processes are told."""
        return self.processes.env | more


def of_server(server: str, name: str) -> str:
    """The URL of a database of this name on a server."""
    return urlsplit(server)._replace(path=f"/{name}").geturl()


@contextmanager
def company_database(server: str, name: str, *, foreign_keys: bool) -> Iterator[None]:
    """A company's database with its tables, which exists while the block runs."""
    _on_mysql(server, f"CREATE DATABASE {name}")
    try:
        _on_mysql(server, f"USE {name}", *company_tables(foreign_keys=foreign_keys))
        yield
    finally:
        _on_mysql(server, f"DROP DATABASE IF EXISTS {name}")


@contextmanager
def call_centre_database(server: str, name: str) -> Iterator[None]:
    """A call centre's database with its own tables, and none of ours, which exists while the block runs."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        with psycopg.connect(of_server(server, name)) as connection:
            connection.execute(call_centre_tables())
        yield
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def removed_topics(bootstrap: str, prefix: str) -> Iterator[None]:
    """Deletes every topic of a prefix at the end of the block, whoever created it."""
    try:
        yield
    finally:
        _remove_topics(bootstrap, prefix)


def _remove_topics(bootstrap: str, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": "0"})
    names = [name for name in admin.list_topics(timeout=_SECONDS).topics if name.startswith(f"{prefix}.")]
    for deleted in admin.delete_topics(names).values() if names else ():
        try:
            deleted.result(_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # the trial itself has just deleted it
                raise


def _on_mysql(server: str, *statements: str) -> None:
    with closing(login(MySQLAddress(of_server(server, "mysql")), 10, 60)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
