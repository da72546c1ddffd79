"""Processes that tell of themselves in PostgreSQL."""

from __future__ import annotations

from threading import Event, Thread

import pytest
from structlog.testing import capture_logs

from consumer.process import NAME, Process, myself, release
from consumer.store import processes as store
from consumer.store.connection import open_session
from consumer.store.processes import KnownProcess, Presence, processes
from tests.integration.store.databases import run
from tests.support.waiting import until

pytestmark = pytest.mark.servers

TOLD = "INSERT INTO leadstream.processes VALUES ('applier', %s, '0.0.1', now(), NULL, now() - %s::interval)"


def there(database: str) -> list[KnownProcess]:
    with open_session(database, "a test") as session:
        return processes(session)


def test_a_process_tells_of_itself_while_it_is_at_work(database: str) -> None:
    run(database, "DELETE FROM leadstream.processes")
    with Presence(database, "applier"):
        until(lambda: there(database), "it told of itself")
        ((process, silent),) = there(database)
        assert (process.kind, process.name, process.version) == ("applier", NAME, release())
        assert process.memory is not None
        assert process.memory > 1_000_000
        assert silent < 3600
    until(lambda: not there(database), "it said that it ended")


def test_who_ended_without_a_word_is_forgotten_after_a_day(database: str) -> None:
    run(database, "DELETE FROM leadstream.processes")
    run(database, TOLD, "gone", "25 hours")
    run(database, TOLD, "lately", "10 minutes")
    with Presence(database, "applier"):
        until(lambda: len(there(database)) > 1, "it told of itself")
        with open_session(database, "a test") as session:
            names = {name for (name,) in session.execute("SELECT name FROM leadstream.processes")}
        assert names == {"lately", NAME}
    run(database, "DELETE FROM leadstream.processes")


def test_a_postgresql_that_is_away_holds_nobody_up() -> None:
    with Presence("postgresql://nobody@127.0.0.1:1/none", "applier"):
        pass


def sessions(database: str) -> list[int]:
    """The server processes of the presence's sessions."""
    with open_session(database, "a test") as session:
        found = session.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'leadstream applier''s presence'"
        )
        return [pid for (pid,) in found]


def test_one_session_is_kept_and_another_taken_where_it_broke(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "REPORT_SECONDS", 0.05)
    with Presence(database, "applier"):
        until(lambda: sessions(database), "it told of itself")
        (first,) = sessions(database)
        run(database, "DELETE FROM leadstream.processes")
        until(lambda: there(database), "it told of itself again")
        assert sessions(database) == [first]
        run(database, f"SELECT pg_terminate_backend({first})")
        run(database, "DELETE FROM leadstream.processes")
        until(lambda: there(database), "it told of itself through another session")
        assert first not in sessions(database)
    until(lambda: not sessions(database), "it logged out")


def test_whatever_fails_it_tells_again_and_says_so_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Event()
    tries = iter(range(3))

    def broken(kind: str) -> Process:
        if next(tries, None) is not None:
            raise ZeroDivisionError
        failed.set()
        return myself(kind)

    monkeypatch.setattr(store, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(store, "myself", broken)
    run(database, "DELETE FROM leadstream.processes")
    with capture_logs() as logs, Presence(database, "applier"):
        until(failed.is_set, "it failed some times")
        until(lambda: there(database), "it told of itself")
    assert [line["event"] for line in logs] == ["presence_not_recorded"]


def test_where_no_thread_can_be_had_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)
    with capture_logs() as logs, Presence("postgresql://nobody@127.0.0.1:1/none", "applier"):
        pass
    assert [line["event"] for line in logs] == ["presence_not_recorded"]
