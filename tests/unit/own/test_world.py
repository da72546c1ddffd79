"""The process world: what it has made is removed, in whatever state it is left; its servers are played here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import world
from tests.support.world import ProcessWorld


class Servers:
    """What was made and removed on them, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        for part in ("company_database", "call_centre_database", "removed_topics"):
            monkeypatch.setattr(world, part, lambda server, name, *, made=part, **_: self._noting(f"{made} {name}"))

    @contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        self.seen.append(f"+ {what}")
        try:
            yield
        finally:
            self.seen.append(f"- {what}")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    return Servers(monkeypatch)


class Room(ProcessWorld):
    """A room's world that cannot be made ready where it is told so."""

    fails = False

    def __init__(self) -> None:
        super().__init__("room", postgres="postgresql://p/x?sslmode=disable", mysql="mysql://m/x", kafka="k:1", lanes=4)

    def _prepare(self) -> None:
        if self.fails:
            raise ZeroDivisionError


def parts(name: str) -> list[str]:
    return [f"{part} {name}" for part in ("company_database", "call_centre_database", "removed_topics")]


def test_a_world_has_one_name_everywhere_and_removes_in_the_end_what_it_made_first(servers: Servers) -> None:
    with Room() as room:
        made = parts(room.name)
        assert servers.seen == [f"+ {part}" for part in made]
        told = room.environment(LANES="5")
    assert servers.seen[3:] == [f"- {part}" for part in reversed(made)]
    assert (told["REPLICA_DATABASE_URL"], told["DATABASE_URL"], told["TOPIC_PREFIX"], told["LANES"]) == (
        f"mysql://m/{room.name}", f"postgresql://p/{room.name}?sslmode=disable", room.name, "5",
    )  # fmt: skip


def test_what_a_world_that_fails_while_it_is_made_has_made_is_removed(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Room, "fails", True)
    room = Room()
    with pytest.raises(ZeroDivisionError):
        room.__enter__()
    assert servers.seen[3:] == [f"- {part}" for part in reversed(parts(room.name))]


def test_processes_are_gone_before_what_they_use_is_removed(servers: Servers) -> None:
    with Room() as room:
        process = room.processes.start(sys.executable, "-c", "import time; time.sleep(600)", name="sleeper")
        room._ending.callback(lambda: servers.seen.append(f"still there: {process.pid}"))
    assert servers.seen[3:5] == ["still there: None", f"- removed_topics {room.name}"]


def test_a_room_without_company_and_stream_has_none_and_its_programs_are_told_of_none(servers: Servers) -> None:
    with ProcessWorld("room", postgres="postgresql://p/x") as made:
        assert servers.seen == [f"+ call_centre_database {made.name}"]
        assert (made.mysql_url, made.bootstrap) == ("", "")
        given = made.environment().keys() - os.environ.keys()
        assert not given & {"REPLICA_DATABASE_URL", "TOPIC_PREFIX", "KAFKA_BOOTSTRAP_SERVERS", "LANES"}
