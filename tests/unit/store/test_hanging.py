"""A PostgreSQL that takes connections and never answers holds nobody up who was asked to stop."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from structlog.testing import capture_logs

from consumer.commands import status as status_command
from consumer.doctor import postgres_facts
from consumer.doctor.check import Unreachable
from consumer.store import pooler
from consumer.store.connection import Connection, Sessions, classified, cut_when_stopped, is_waited_for, open_session
from consumer.store.errors import NotPrepared, StoreUnavailable
from tests.support.sockets import accepted, exactly
from tests.support.waiting import until

PID = 4711


def message(kind: bytes, body: bytes) -> bytes:
    """A message of PostgreSQL's protocol (manual, chapter Frontend/Backend Protocol)."""
    return kind + struct.pack("!I", len(body) + 4) + body


def parameter(name: str, value: str) -> bytes:
    return message(b"S", f"{name}\0{value}\0".encode())


READY = message(b"Z", b"I")
GREETING = (
    message(b"R", struct.pack("!I", 0))
    + b"".join(
        parameter(name, value)
        for name, value in {
            "server_version": "17.0", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
            "standard_conforming_strings": "on", "integer_datetimes": "on",
        }.items()
    )
    + message(b"K", struct.pack("!II", PID, 1))
    + READY
)  # fmt: skip


def own_pid(pid: int) -> bytes:
    """What a server's process answers to the question for its number."""
    return (
        message(b"T", struct.pack("!H", 1) + b"pid\0" + struct.pack("!IHIHIH", 0, 0, 23, 4, 0xFFFFFFFF, 0))
        + message(b"D", struct.pack("!HI", 1, len(str(pid))) + str(pid).encode())
        + message(b"C", b"SELECT 1\0")
        + READY
    )


class Hanging:
    """It logs anybody in, says who it is, and answers nothing else."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self.asked = 0
        """What it was asked, and did not answer."""
        self.pid = PID
        """Its process, who says PID at login; a pooler's is another."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def conninfo(self) -> str:
        port = self._listener.getsockname()[1]
        return f"host=127.0.0.1 port={port} user=us dbname=calls sslmode=disable gssencmode=disable"

    def close(self) -> None:
        for one in (self._listener, *self._clients):
            one.close()

    def _accept(self) -> None:
        for client in accepted(self._listener):
            self._clients.append(client)
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        try:
            exactly(client, struct.unpack("!I", exactly(client, 4))[0] - 4)
            client.sendall(GREETING)
            while True:
                _, size = struct.unpack("!cI", exactly(client, 5))
                if b"pg_backend_pid" in exactly(client, size - 4):
                    client.sendall(own_pid(self.pid))
                else:
                    self.asked += 1
        except OSError:
            pass


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    server = Hanging()
    yield server
    server.close()


def ask(server: Hanging) -> None:
    """A statement that is never answered."""
    with classified(server.conninfo), open_session(server.conninfo, "us", autocommit=True) as connection:
        connection.execute("SELECT 1")


def test_whoever_waits_for_it_is_cut_off_some_time_after_the_stop(hanging: Hanging) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(2) as pool, capture_logs() as logs, cut_when_stopped(stop, 0.0, 0.01):
        waiting = [pool.submit(ask, hanging) for _ in range(2)]
        until(lambda: hanging.asked == 2, "both had asked")
        assert not any(one.done() for one in waiting)
        stop.set()
        for one in waiting:
            with pytest.raises(StoreUnavailable):
                one.result()
        with pytest.raises(StoreUnavailable, match="ending"):
            ask(hanging)
    assert [(line["event"], line["count"]) for line in logs] == [("sessions_cut", 2)]


def test_whoever_is_done_in_time_is_not_cut_off(hanging: Hanging) -> None:
    stop = threading.Event()
    with capture_logs() as logs:
        with cut_when_stopped(stop, 3600), open_session(hanging.conninfo, "us", autocommit=True) as connection:
            stop.set()
            assert connection.execute("SELECT pg_backend_pid()").fetchone() == (PID,)
        with open_session(hanging.conninfo, "us", autocommit=True) as connection:
            assert connection.execute("SELECT pg_backend_pid()").fetchone() == (PID,)
    assert logs == []


def test_sessions_that_nobody_waits_for_stay(hanging: Hanging) -> None:
    stop = threading.Event()
    with open_session(hanging.conninfo, "us", autocommit=True) as idle:
        with ThreadPoolExecutor(1) as pool, capture_logs() as logs, cut_when_stopped(stop, 0.0, 0.01):
            waiting = pool.submit(ask, hanging)
            until(lambda: hanging.asked == 1, "it had asked")
            stop.set()
            with pytest.raises(StoreUnavailable):
                waiting.result()
        assert idle.execute("SELECT pg_backend_pid()").fetchone() == (PID,)
    assert [(line["event"], line["count"]) for line in logs] == [("sessions_cut", 1)]


def test_where_something_else_holds_up_the_process_nothing_is_cut_and_sessions_are_opened(hanging: Hanging) -> None:
    sessions = Sessions()
    with open_session(hanging.conninfo, "us", autocommit=True) as idle:
        sessions.add(idle)
        assert [sessions.look() for _ in range(3)] == [0, 0, 0]
        with sessions.login(), open_session(hanging.conninfo, "us", autocommit=True) as other:
            sessions.add(other)
            assert idle.execute("SELECT pg_backend_pid()").fetchone() == (PID,)
    assert sessions.look() == 0, "both have ended"


def test_a_session_is_cut_where_it_is_waited_for_at_two_looks(hanging: Hanging) -> None:
    sessions = Sessions()
    with ThreadPoolExecutor(1) as pool:
        connection = open_session(hanging.conninfo, "us", autocommit=True)
        sessions.add(connection)
        waiting = pool.submit(connection.execute, "SELECT 1")
        until(lambda: is_waited_for(connection), "it waited for the answer")  # libpq says so only after it has asked
        assert sessions.look() == 0
        sessions.add(connection)
        assert [sessions.look(), sessions.look()] == [1, 0], "once, though it may not have been noticed yet"
        with pytest.raises(psycopg.OperationalError):
            waiting.result()
        with pytest.raises(psycopg.OperationalError, match="ending"):
            sessions.add(connection)
        sessions.allow()
        sessions.add(connection)


def test_once_a_session_was_cut_others_are_at_the_look_that_finds_them_waiting(hanging: Hanging) -> None:
    """What is asked when the first is cut waits for the same server: at two looks each, a stop would be late."""
    sessions = Sessions()
    with ThreadPoolExecutor(2) as pool:
        first, second = (open_session(hanging.conninfo, "us", autocommit=True) for _ in range(2))
        for connection in (first, second):
            sessions.add(connection)
        waiting = pool.submit(first.execute, "SELECT 1")
        until(lambda: is_waited_for(first), "the first waited for its answer")
        assert [sessions.look(), sessions.look()] == [0, 1]
        with pytest.raises(psycopg.OperationalError):
            waiting.result()
        late = pool.submit(second.execute, "SELECT 1")
        until(lambda: is_waited_for(second), "the second waited for its answer")
        assert sessions.look() == 1
        with pytest.raises(psycopg.OperationalError):
            late.result()


def test_a_login_that_lasts_from_look_to_look_is_the_last() -> None:
    sessions = Sessions()
    with sessions.login():
        assert sessions.look() == 0
    with sessions.login():
        assert sessions.look() == 0, "another one"
        assert sessions.look() == 1
    with pytest.raises(psycopg.OperationalError, match="ending"), sessions.login():
        pass


def test_a_pipeline_is_waited_for_only_while_somebody_takes_its_answers(hanging: Hanging) -> None:
    """Statements that were sent ahead make it active as well."""
    with ThreadPoolExecutor(1) as pool:
        connection = open_session(hanging.conninfo, "us", autocommit=True)
        entered, go_on = threading.Event(), threading.Event()

        def send_ahead() -> None:
            with connection.pipeline():
                connection.execute("SELECT 1")
                entered.set()
                go_on.wait()

        waiting = pool.submit(send_ahead)
        entered.wait()
        assert connection.pgconn.transaction_status == TransactionStatus.ACTIVE
        assert not is_waited_for(connection)
        go_on.set()
        until(lambda: is_waited_for(connection), "it takes the answer")
        sessions = Sessions()
        sessions.add(connection)
        assert [sessions.look(), sessions.look()] == [0, 1]
        with pytest.raises(psycopg.OperationalError):
            waiting.result()


def test_a_pooler_that_answers_no_more_amid_a_probe_holds_nobody_up(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = pooler._begin

    def begun(probe: Connection) -> int | None:
        found = begin(probe)
        monkeypatch.setattr(pooler, "PROBE_SECONDS", 0.1)
        return found

    monkeypatch.setattr(pooler, "_begin", begun)
    hanging.pid = PID + 1
    with pytest.raises(NotPrepared, match="a pooler that pools transactions"):
        open_session(hanging.conninfo, "us")
    until(lambda: hanging.asked == 1, "the probe had asked to roll back")


def test_the_doctor_waits_for_no_answer_longer_than_it_says(hanging: Hanging) -> None:
    """`statement_timeout` is the server's to keep, and one that hangs keeps nothing."""
    with pytest.raises(Unreachable, match=r"calls on 127\.0\.0\.1:.* cannot be asked: no answer came within 1\.1 s"):
        postgres_facts.collect(hanging.conninfo, 0.1)
    assert postgres_facts.asked(hanging.conninfo, 0.1, lambda connection: connection.execute("SELECT 1")) is None


def test_status_says_of_a_server_that_hangs_that_it_does(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_command, "ANSWER_SECONDS", 1)
    asked = cast(Any, SimpleNamespace(conninfo=hanging.conninfo))
    with pytest.raises(
        StoreUnavailable, match=r"calls on 127\.0\.0\.1:.* cannot be reached: no answer came within 1 s"
    ):
        status_command._applied(asked)


def test_an_answer_that_comes_in_time_is_no_matter_and_each_has_its_own_time(hanging: Hanging) -> None:
    with open_session(hanging.conninfo, "us", autocommit=True, answer_seconds=30.0) as connection:
        for _ in range(2):
            assert connection.execute("SELECT pg_backend_pid()").fetchone() == (PID,)
    until(
        lambda: not any(isinstance(one, threading.Timer) for one in threading.enumerate()), "no time is kept any more"
    )
