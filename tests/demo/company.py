"""The simulated claims company: several people with their customers, each with a connection of its own to MySQL.

Every committed transaction goes into the worker's transaction log with the time before and after its COMMIT. Where a
connection is lost during a COMMIT, the row it left in `activity_log` tells afterwards whether it happened.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.constants import CLIENT, CR, ER

from tests.demo.caseload import Caseload, Draft
from tests.demo.company_schema import COMPANY
from tests.demo.shape import CAPTURED, Shape
from tests.demo.transaction_log import Transaction, TransactionLog

_LOST: Final = {CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_CONN_HOST_ERROR, ER.SERVER_SHUTDOWN, 0, 1927}
_REFUSED: Final = {ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT}
_PATIENCE: Final = 60.0  # seconds to wait for a server that restarts
_INITIAL_BATCH: Final = 100


class CompanyFailed(Exception):
    """A worker of the simulated company stopped; the message says which and why."""


class Address(NamedTuple):
    """Where the company's server is: taken apart from a mysql:// or mariadb:// URL."""

    host: str
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def of(cls, url: str) -> Self:
        """The parts of a URL; the database may be missing."""
        parts = urlsplit(url)
        return cls(
            parts.hostname or "127.0.0.1",
            parts.port or 3306,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.path.lstrip("/"),
        )

    def connect(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """A session in UTC. Raises pymysql.OperationalError."""
        connection = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database or None,
            charset="utf8mb4",
            client_flag=CLIENT.MULTI_STATEMENTS,
            autocommit=True,
            connect_timeout=10,
            read_timeout=120,
            ssl_disabled=True,  # on this machine; it would take a fifth of the load's CPU
        )
        run(
            connection,
            "SET time_zone = '+00:00', NAMES utf8mb4 COLLATE utf8mb4_unicode_ci,"
            " sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",  # a user's id may be 0
        )
        return connection


def run(connection: pymysql.Connection[pymysql.cursors.Cursor], sql: str) -> None:
    """Runs one or several statements that return no rows, in one round trip. Raises what the server refuses."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        while cursor.nextset():
            pass


def now() -> int:
    """This machine's clock in µs since the epoch."""
    return time.time_ns() // 1000


def create_tables(address: Address, shape: Shape) -> None:
    """Creates the company's database and its tables."""
    connection = address._replace(database="").connect()
    try:
        run(connection, f"CREATE DATABASE `{address.database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        run(connection, f"USE `{address.database}`")
        for statement in shape.tables:
            run(connection, statement)
    finally:
        connection.close()


class Worker(threading.Thread):
    """One caseload, one connection, one transaction log."""

    def __init__(
        self,
        address: Address,
        caseload: Caseload,
        rate: float,
        log: TransactionLog,
        compressed: bool,
        catch_up: float = 1.0,
        patience: float = _PATIENCE,
    ) -> None:
        super().__init__(name=f"worker {caseload.worker}", daemon=True)
        self.caseload = caseload
        self.rate = rate
        self.catch_up = catch_up
        self.committed = 0
        self.rolled_back = 0
        self.refused = 0
        self.lost = 0
        self.failure: BaseException | None = None
        self.recent: deque[tuple[int, str]] = deque(maxlen=8)
        self._address = address
        self._log = log
        self._compressed = compressed
        self._number = 0
        self._patience = patience
        self._over = threading.Event()
        self._pause = Random(f"{caseload.worker}")
        self._connection: pymysql.Connection[pymysql.cursors.Cursor] | None = None

    def load(self, customers: int) -> None:
        """Creates customers who are there from the beginning, each whole within one transaction."""
        while customers > 0:
            drafts = [self.caseload.initial() for _ in range(min(customers, _INITIAL_BATCH))]
            customers -= len(drafts)
            connection = self._connected()
            run(connection, ";".join(["BEGIN", *(sql for draft in drafts for sql in draft.statements), "COMMIT"]))
            for draft in drafts:
                self.caseload.commit(draft)
                self._number += 1
                self._log.write(Transaction(self._number, 0, now(), True, draft.steps))

    def act(self) -> None:
        """One transaction, at once; for those who do not start the thread."""
        self._transact(self.caseload.next())

    def finish(self) -> None:
        """Asks the worker to stop after the transaction at hand."""
        self._over.set()

    def run(self) -> None:
        """Works until `finish`; what stops it before is in `failure`."""
        try:
            due = time.monotonic()
            while not self._over.is_set():
                self.act()
                due += self._pause.expovariate(self.rate)
                wait = due - time.monotonic()
                if wait > 0:
                    self._over.wait(wait)
                elif wait < -self.catch_up:
                    due = time.monotonic() - self.catch_up
        except (pymysql.MySQLError, OSError, LookupError, ValueError) as error:
            self.failure = error
        finally:
            self.close()

    def close(self) -> None:
        """Ends connection and log."""
        self._log.close()
        if self._connection is not None and self._connection.open:
            self._connection.close()

    def _transact(self, draft: Draft) -> None:
        self._number += 1
        # Not first: InnoDB keeps the order of locks by primary key where every transaction starts with the customer.
        activity = (
            f"INSERT INTO activity_log (worker, number, details) VALUES ({self.caseload.worker}, {self._number},"
            f' \'{{"action": "{draft.name}", "by": "pii-agent"}}\')'
        )
        try:
            connection = self._connected()
            run(connection, ";".join(["BEGIN", *draft.statements, activity]))
        except pymysql.MySQLError as error:
            self._not_committed(error)
            return
        if draft.rollback:
            try:
                run(connection, "ROLLBACK")
            except pymysql.MySQLError as error:
                self._not_committed(error)
            self.rolled_back += 1
            return
        low = now()
        try:
            run(connection, "COMMIT")
            happened = True
        except pymysql.MySQLError as error:
            self._not_committed(error)
            happened = self._happened()
        high = now()
        if happened:
            self.caseload.commit(draft)
            self._log.write(Transaction(self._number, low, high, False, draft.steps))
            self.committed += 1
            self.recent.append((high, draft.name))

    def _not_committed(self, error: pymysql.MySQLError) -> None:
        code = error.args[0] if error.args else 0
        if code in _REFUSED:
            self.refused += 1
            run(self._connected(), "ROLLBACK")
        elif code in _LOST or isinstance(error, pymysql.InterfaceError):
            self.lost += 1
            if self._connection is not None and self._connection.open:
                self._connection.close()
            self._connection = None
        else:
            raise error

    def _happened(self) -> bool:
        """Whether the transaction at hand is in the tables; waits for a session of the server that still holds it."""
        with self._connected().cursor() as cursor:
            cursor.execute(
                f"SELECT 1 FROM activity_log WHERE worker = {self.caseload.worker} AND number = {self._number}"
                " LOCK IN SHARE MODE"
            )
            return cursor.fetchone() is not None

    def _connected(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        patience = time.monotonic() + self._patience
        while self._connection is None:
            try:
                self._connection = self._address.connect()
                if self._compressed:
                    run(self._connection, "SET SESSION binlog_transaction_compression = ON")
            except pymysql.OperationalError as error:
                if error.args[0] not in _LOST or time.monotonic() > patience:
                    raise
                time.sleep(0.1)
        return self._connection


class Company:
    """The workers together. `with Company(…) as company: company.load(2000); company.start(); …; company.stop()`.

    Its tables have the `shape`. `rate` is in transactions a second over all workers. `moves=False` leaves claims with
    their customers, whose histories are then exact without exception. Journals go into `folder`, or nowhere (None).
    `compressed` lets one worker write compressed transactions (MySQL). What was not done while the server was away is
    made up for, as far as it is the work of the last `catch_up` seconds; who waits for it longer than `patience` fails.
    """

    def __init__(
        self,
        url: str,
        folder: Path | None,
        *,
        rate: float = 50.0,
        seed: int = 1,
        workers: int = 4,
        moves: bool = True,
        compressed: bool = False,
        catch_up: float = 1.0,
        patience: float = _PATIENCE,
        shape: Shape = COMPANY,
    ) -> None:
        self.address = Address.of(url)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.transaction_logs = [
            folder / f"transactions-{worker}.jsonl" if folder is not None else Path(os.devnull)
            for worker in range(workers)
        ]
        self.workers = [
            Worker(
                self.address,
                Caseload(worker, workers, seed, moves=moves, shape=shape),
                rate / workers,
                TransactionLog(path),
                compressed and worker == 0,
                catch_up,
                patience,
            )
            for worker, path in enumerate(self.transaction_logs)
        ]

    def load(self, customers: int) -> None:
        """Creates the customers who are there before anybody looks, and have been for up to three years."""
        for place, worker in enumerate(self.workers):
            worker.load((customers + place) // len(self.workers))
        connection = self.address.connect()
        with connection:
            for table in CAPTURED:
                run(
                    connection,
                    f"UPDATE {table} SET created_at = NOW() - INTERVAL FLOOR(400 + 600 * RAND()) DAY,"
                    " updated_at = NOW() - INTERVAL FLOOR(1 + 399 * RAND()) DAY",
                )

    def start(self) -> None:
        """Everybody starts to work."""
        for worker in self.workers:
            worker.start()

    def check(self) -> None:
        """Raises CompanyFailed where a worker stopped by itself."""
        for worker in self.workers:
            if worker.failure is not None:
                raise CompanyFailed(
                    f"{worker.name} of the company stopped at {self.address.host}:{self.address.port}: "
                    f"{worker.failure}; this is a fault of tests/demo or of the server"
                ) from worker.failure

    def stop(self) -> None:
        """Everybody finishes the transaction at hand and writes out the log. Raises CompanyFailed."""
        for worker in self.workers:
            worker.finish()
        for worker in self.workers:
            if worker.ident is None:
                worker.close()
            else:
                worker.join()
        self.check()

    @property
    def committed(self) -> int:
        """Transactions committed since `start`."""
        return sum(worker.committed for worker in self.workers)

    @property
    def rolled_back(self) -> int:
        """Transactions rolled back since `start`."""
        return sum(worker.rolled_back for worker in self.workers)

    @property
    def customers(self) -> int:
        """Customers there are now."""
        return sum(len(worker.caseload.customers) for worker in self.workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.finish()
        for worker in self.workers:
            if worker.ident is None:
                worker.close()
            else:
                worker.join()
