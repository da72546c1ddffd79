"""Processes that tell of themselves in PostgreSQL."""

from __future__ import annotations

import pytest

from consumer.process import NAME, release
from consumer.store.connection import open_session
from consumer.store.processes import Known, Presence, processes
from tests.integration.store.databases import run
from tests.support.waiting import until

pytestmark = pytest.mark.servers

TOLD = "INSERT INTO leadstream.processes VALUES ('applier', %s, '0.0.1', now(), NULL, now() - %s::interval)"


def there(database: str) -> list[Known]:
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
