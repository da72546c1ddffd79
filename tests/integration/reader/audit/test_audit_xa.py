"""`consumer audit` and XA transactions: their rows count where they are committed, whatever lies between."""

from __future__ import annotations

import pytest

from consumer.audit import audit as auditing
from consumer.audit.audit import Times
from tests.integration.reader.audit.test_audit import produce
from tests.integration.reader.audit.test_audit_edges import beat, look, reading
from tests.integration.reader.world import ReaderWorld

pytestmark = [pytest.mark.servers, pytest.mark.prepared]


def prepare(world: ReaderWorld, xid: str, *statements: str) -> None:
    with world.connection() as connection, connection.cursor() as cursor:
        for line in (f"XA START {xid}", *statements, f"XA END {xid}", f"XA PREPARE {xid}"):
            cursor.execute(line)


def test_xa_transactions_belong_where_they_are_committed(world: ReaderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    before, across, undone = (f"'{world.name}{number}'" for number in range(3))
    two = "INSERT INTO users (id) VALUES ({0}), ({0} + 1)"
    with reading(world):
        prepare(world, before, two.format(10), "UPDATE users SET is_enabled = 0 WHERE id = 10")
        since = beat(world)
        world.execute("INSERT INTO users (id) VALUES (1)", f"XA COMMIT {before}")
        prepare(world, across, two.format(20))
        prepare(world, undone, two.format(30))
        world.execute(f"XA ROLLBACK {undone}", "FLUSH BINARY LOGS", "INSERT INTO users (id) VALUES (2)")
        end = beat(world)
        world.execute("INSERT INTO users (id) VALUES (3)", f"XA COMMIT {across}")
        beat(world)
    found = look(world, monkeypatch, Times(since, end))
    assert (found.rows, found.messages, found.undecided) == (1 + 3 + 1, 1 + 3 + 1, 2)
    assert (found.differences, found.gaps) == (0, [])
    found = look(world, monkeypatch, Times(end, None))  # prepared less than a minute ahead
    assert (found.rows, found.messages, found.gaps) == (3, 3, [])
    monkeypatch.setattr(auditing, "AHEAD_MS", 0)
    found = look(world, monkeypatch, Times(end, None))
    assert (found.rows, found.messages, found.unverified, found.differences) == (1, 1, 2, 0)
    assert "prepared before the stretch" in found.gaps[0]
    (real,) = [m for m in world.messages() if m.topic == "users" and m.value["after"]["id"] == 20]
    file, pos = found.start
    produce(
        world,
        "users",
        real.lane,
        real.key,
        {**real.value, "source": {**real.value["source"], "file": file, "pos": pos}},
    )
    found = look(world, monkeypatch, Times(since, None))
    assert [each.what for each in found.shown] == ["extra"]
