"""Stints held against the call centre's conversions, both ways; a restore of our schema; a cut-over."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from consumer import metrics
from consumer.leads.model import ConversionType, RequirementRow, Row, UserRow
from consumer.store import conversion_events
from consumer.store.call_centre.effects import conversion_id
from consumer.versions import moment
from reconciler.runs.sweeps import Report
from tests.integration.reconciler.played import Played
from tests.integration.reconciler.world import SOON, ReconcilerWorld
from tests.support.company_tables import key

MINUTE = 60_000_000
SIGNED, COMPLETED = ConversionType.SIGNATURE_OBTAINED, ConversionType.REQUIREMENTS_COMPLETED
OLD = (
    "INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, converted_at)"
    " VALUES (%s, %s, 'unsigned_users', %s, %s)"
)


def now() -> int:
    return time.time_ns() // 1000


def at(micros: int) -> datetime:
    """A time as a column of milliseconds holds it."""
    return moment((micros + 500) // 1000 * 1000).replace(tzinfo=None)


def assert_in_step(report: Report) -> None:
    """It ran to its end and found nothing."""
    assert (report.outcome, report.error, report.tally.drift) == ("ok", None, {})


def rows(world: ReconcilerWorld) -> list[tuple[object, ...]]:
    return world.pg("SELECT user_id, conversion_type, converted_at FROM conversions ORDER BY converted_at, user_id")


@pytest.fixture
def world(mysql_world: ReconcilerWorld) -> ReconcilerWorld:
    """Customers 1 and 2, each with a claim, have not signed; everybody is known, and the stream has passed that."""
    for user_id in (1, 2):
        mysql_world.user(user_id)
        mysql_world.claim(10 * user_id, user_id)
    mysql_world.backfill()
    mysql_world.age_everything(60)
    mysql_world.pass_lanes(now() - 30 * MINUTE)
    return mysql_world


def play(stream: Played, user_id: int, before: Row | None, after: Row, micros: int) -> None:
    """One change, applied and counted as an applier does."""
    metrics.count_conversions(stream.change(user_id, before, after, micros), "stream")


def sign(world: ReconcilerWorld, stream: Played, user_id: int, micros: int) -> None:
    """The customer signs, here and in the company's tables."""
    play(stream, user_id, UserRow(user_id, None, True), UserRow(user_id, f"{70 + user_id}", True), micros)
    world.sql("UPDATE users SET current_signature_file_id = %s WHERE id = %s", f"{70 + user_id}", user_id)


def ask(stream: Played, user_id: int, number: int, micros: int) -> None:
    """A document is asked for."""
    play(stream, user_id, None, RequirementRow(key(number), f"{10 * user_id}", "id_document", "pending", None), micros)


def hand_in(stream: Played, user_id: int, number: int, micros: int) -> None:
    """And handed in."""
    states = [
        RequirementRow(key(number), f"{10 * user_id}", "id_document", word, None) for word in ("pending", "approved")
    ]
    play(stream, user_id, states[0], states[1], micros)


def told(world: ReconcilerWorld) -> set[UUID]:
    """The ids of the conversions that others are told of."""
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        conversion_events.number(connection)
        return {one.id for one in conversion_events.after(connection, 0, 1000)}


def there(world: ReconcilerWorld) -> set[UUID]:
    """The ids in the call centre's table."""
    return {id_ for (id_,) in world.pg("SELECT id FROM conversions")}


class TestBothWays:
    """Customer 1 has signed."""

    @pytest.fixture
    def signed(self, world: ReconcilerWorld, stream: Played) -> int:
        signed = now() - 20 * MINUTE
        sign(world, stream, 1, signed)
        world.pass_lanes()
        return signed

    def test_a_stint_without_its_row_is_told_and_written_again(self, world: ReconcilerWorld, signed: int) -> None:
        kept = "SELECT id, user_id, previous_queue_type, conversion_type, conversion_reason, total_call_attempts, "
        kept += "last_call_at, converted_at, documents_received, signature_obtained, final_score FROM conversions"
        before = world.pg(kept)
        assert_in_step(world.verify())
        world.pg("DELETE FROM conversions")
        world.pg("UPDATE user_call_scores SET last_call_at = (now() + interval '1 minute') AT TIME ZONE 'utc'")
        report = world.verify()
        assert (report.outcome, report.tally.drift) == ("drift", {"conversion_missing": 1})
        assert rows(world) == []
        repaired = world.verify(repair=True)
        assert (repaired.outcome, repaired.tally.conversions_published) == ("ok", 1)
        assert world.pg(kept) == before
        assert_in_step(world.verify())

    def test_a_row_of_ours_without_a_stint_is_told_and_kept(self, world: ReconcilerWorld, signed: int) -> None:
        lost = now() - 10 * MINUTE + 123
        world.pg(OLD, conversion_id(2, SIGNED, lost), 2, SIGNED, moment(lost).replace(tzinfo=None))
        for repair in (False, True):
            report = world.verify(repair=repair)
            assert (report.outcome, report.tally.drift) == ("ok", {"conversion_without_stint": 1})
            assert "no stint" in report.warnings[0]
            assert len(rows(world)) == 2
        assert "not reported again" in report.warnings[1]
        assert_in_step(world.verify())

    def test_a_row_that_the_stream_may_still_earn_is_told_until_it_has_passed_it(
        self, world: ReconcilerWorld, signed: int
    ) -> None:
        lost = now() + SOON
        world.pg(OLD, conversion_id(2, SIGNED, lost), 2, SIGNED, moment(lost).replace(tzinfo=None))
        for _ in range(2):
            report = world.verify(repair=True)
            assert report.tally.drift == {"conversion_without_stint": 1}
            assert len(report.warnings) == 1
        world.pass_lanes(lost + 1000)
        assert world.verify(repair=True).tally.drift == {"conversion_without_stint": 1}
        assert_in_step(world.verify(repair=True))

    def test_what_was_kept_and_is_earned_or_gone_is_kept_no_longer(self, world: ReconcilerWorld, signed: int) -> None:
        lost = now() - 10 * MINUTE + 123
        world.pg(OLD, conversion_id(2, SIGNED, lost), 2, SIGNED, moment(lost).replace(tzinfo=None))
        kept = "SELECT user_id FROM leadstream.kept_conversions"
        stint = "UPDATE leadstream.stints SET conversion_type = %s WHERE user_id = 1 AND closed_at IS NOT NULL"
        world.pg(stint, None)
        world.verify(repair=True)
        assert world.pg(f"{kept} ORDER BY 1") == [(1,), (2,)]
        world.pg(stint, SIGNED)
        world.pg("DELETE FROM conversions WHERE user_id = 2")
        assert_in_step(world.verify(repair=True))
        assert world.pg(kept) == []

    def test_rows_of_the_old_system_are_left_alone(self, world: ReconcilerWorld, signed: int) -> None:
        for number in (uuid4(), conversion_id(7, SIGNED, 1)):
            world.pg(OLD, number, 2, SIGNED, datetime(2025, 3, 1, 9, 15))
        before = rows(world)
        assert_in_step(world.verify(repair=True))
        assert rows(world) == before

    def test_an_id_with_other_content_is_an_error(self, world: ReconcilerWorld, signed: int) -> None:
        world.pg("UPDATE conversions SET user_id = 2")
        for repair in (False, True):
            report = world.verify(repair=repair)
            assert (report.outcome, report.tally.drift) == ("drift", {"conversion_differs": 1})
            assert report.error is not None
            assert "put them right by hand" in report.error
        assert [row[0] for row in rows(world)] == [2]

    def test_what_was_recorded_in_shadow_mode_is_the_old_systems(self, world: ReconcilerWorld, signed: int) -> None:
        world.pg("DELETE FROM conversions")
        world.pg("UPDATE leadstream.stints SET in_shadow = true")
        assert_in_step(world.verify(repair=True))
        world.pg("UPDATE leadstream.stints SET in_shadow = NULL")  # recorded before that was noted
        assert_in_step(world.verify(repair=True))
        assert rows(world) == []


def save(world: ReconcilerWorld, file: Path) -> None:
    """Dumps our schema."""
    dump = ["pg_dump", "--format=custom", "--schema=leadstream", "--file", str(file), world.postgres_url]
    subprocess.run(dump, check=True)


def bring_back(world: ReconcilerWorld, file: Path) -> None:
    """Puts a dump in the place of our schema."""
    world.pg("DROP SCHEMA leadstream CASCADE")
    back = ["pg_restore", "--exit-on-error", "--dbname", world.postgres_url, str(file)]
    subprocess.run(back, check=True)


class TestRestore:
    """Our schema is saved; then customer 1 signs, is asked for a document, and hands it in; it is restored."""

    @pytest.fixture
    def began(self, world: ReconcilerWorld, stream: Played, tmp_path: Path) -> int:
        save(world, tmp_path / "dump")
        began = now() - 20 * MINUTE
        before = self.won()
        self.history(world, stream, began)
        assert self.won() == before + 3
        return began

    def history(self, world: ReconcilerWorld, stream: Played, began: int) -> None:
        """What the stream brings; customer 2 signs, loses the signature, and owes it still."""
        sign(world, stream, 1, began + 7)
        ask(stream, 1, 100, began + MINUTE)
        hand_in(stream, 1, 100, began + 2 * MINUTE)
        ask(stream, 1, 101, began + 3 * MINUTE)
        play(stream, 2, UserRow(2, None, True), UserRow(2, "72", True), began + MINUTE)
        play(stream, 2, UserRow(2, "72", True), UserRow(2, None, True), began + 2 * MINUTE)

    def restore(self, world: ReconcilerWorld, tmp_path: Path) -> None:
        bring_back(world, tmp_path / "dump")

    def won(self) -> float:
        return sum(float(metrics.CONVERSIONS.labels(kind, "stream")._value.get()) for kind in ConversionType)

    def test_a_replay_writes_nothing_twice(
        self, world: ReconcilerWorld, stream: Played, began: int, tmp_path: Path
    ) -> None:
        won = [(1, SIGNED, at(began + 7)), (2, SIGNED, at(began + MINUTE)), (1, COMPLETED, at(began + 2 * MINUTE))]
        assert rows(world) == won
        world.pg("UPDATE user_call_scores SET current_score = 85, total_attempts = 6")
        world.pg("UPDATE call_queue SET status = 'completed' WHERE user_id = 1 AND status = 'pending'")
        look = (
            "SELECT user_id, current_queue_type, is_active, current_score, last_reset_date, total_attempts"
            " FROM user_call_scores ORDER BY 1",
            "SELECT id, user_id, queue_type, status FROM call_queue ORDER BY id",
            "SELECT * FROM conversions ORDER BY id",
            "SELECT user_id, number, queue_type, opened_at, closed_at, closed_reason, conversion_type"
            " FROM leadstream.stints ORDER BY 1, 2",
        )
        before, counted = [world.pg(query) for query in look], self.won()
        stream.close()
        self.restore(world, tmp_path)
        with closing(Played(world)) as again:
            again.beat(began)
            self.history(world, again, began)
            again.beat(now())
        assert [world.pg(query) for query in look] == before
        assert self.won() == counted
        world.sql(
            "INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at) VALUES"
            " (%s, 10, 'id_document', 'approved', UTC_TIMESTAMP(), UTC_TIMESTAMP()),"
            " (%s, 10, 'id_document', 'pending', UTC_TIMESTAMP(), UTC_TIMESTAMP())",
            key(100),
            key(101),
        )
        world.pass_lanes()
        assert_in_step(world.verify(repair=True))
        assert [world.pg(query) for query in look] == before

    def test_what_kafka_no_longer_has_is_not_paid_twice_and_later_conversions_are(
        self, world: ReconcilerWorld, stream: Played, began: int, tmp_path: Path
    ) -> None:
        stream.close()
        world.sql(
            "INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at) VALUES"
            " (%s, 10, 'id_document', 'approved', UTC_TIMESTAMP(), UTC_TIMESTAMP()),"
            " (%s, 10, 'id_document', 'pending', UTC_TIMESTAMP(), UTC_TIMESTAMP())",
            key(100),
            key(101),
        )
        before = rows(world)
        self.restore(world, tmp_path)
        world.pass_lanes()
        report = world.verify(repair=True)
        assert report.outcome == "ok"
        assert rows(world) == before, "the signature was paid, though the stint that says so was lost"
        assert report.tally.drift["conversion_without_stint"] == 3
        assert told(world) <= there(world), "who pays by events is told of no other than those"
        later = now() + 5 * MINUTE
        world.pass_lanes(later - 1)
        with closing(Played(world)) as again:
            hand_in(again, 1, 101, later)
        assert rows(world) == [*before, (1, COMPLETED, at(later))]
        assert len(told(world)) == 1
        assert told(world) <= there(world)


class TestRestoreOfAnOpenStint:
    """Customer 1 owes a document when our schema is saved, and hands it in; then it is restored, and Kafka has no more
    of it."""

    @pytest.fixture
    def paid(self, world: ReconcilerWorld, stream: Played, tmp_path: Path) -> list[tuple[object, ...]]:
        began = now() - 20 * MINUTE
        sign(world, stream, 1, began)
        world.requirement(100, 10)
        ask(stream, 1, 100, began + MINUTE)
        save(world, tmp_path / "dump")
        hand_in(stream, 1, 100, began + 2 * MINUTE)
        stream.close()
        world.sql("UPDATE claim_requirements SET status = 'approved'")
        paid = rows(world)
        assert paid == [(1, SIGNED, at(began)), (1, COMPLETED, at(began + 2 * MINUTE))]
        bring_back(world, tmp_path / "dump")
        return paid

    def test_what_was_handed_in_is_not_paid_twice_and_nobody_is_told_again(
        self, world: ReconcilerWorld, paid: list[tuple[object, ...]]
    ) -> None:
        world.pass_lanes()
        assert world.verify(repair=True).outcome == "ok"
        assert rows(world) == paid, "the document was paid, though the stint that says so was lost"
        assert told(world) <= there(world), "who pays by events is told of no other than those"
        again = world.verify(repair=True)
        assert (again.outcome, again.tally.conversions_published) == ("ok", 0)
        assert again.tally.drift == {}, "the one without a stint was told once"
        assert rows(world) == paid

    def test_a_read_ahead_of_the_stream_pays_nothing_when_the_stream_has_passed_it(
        self, world: ReconcilerWorld, paid: list[tuple[object, ...]]
    ) -> None:
        world.verify(repair=True)
        with closing(Played(world)) as again:
            again.beat(now() + SOON)
            world.verify(repair=True)
            world.pass_lanes(now() + 2 * SOON)
            again.beat(now() + 2 * SOON)
        assert world.queues()[1] == "none"
        assert rows(world) == paid
        assert told(world) <= there(world)

    def test_another_document_handed_in_since_is_paid(
        self, world: ReconcilerWorld, paid: list[tuple[object, ...]]
    ) -> None:
        world.requirement(101, 10)
        world.pass_lanes()
        world.verify(repair=True)
        assert rows(world) == paid
        world.sql("UPDATE claim_requirements SET status = 'approved'")
        world.age_everything()
        world.pass_lanes()
        world.verify(repair=True)
        ((user, kind, _),) = [row for row in rows(world) if row not in paid]
        assert (user, kind) == (1, COMPLETED)
        assert told(world) <= there(world)

    def test_a_row_that_stood_for_another_and_is_gone_is_written_and_told(
        self, world: ReconcilerWorld, paid: list[tuple[object, ...]]
    ) -> None:
        world.pass_lanes()
        world.verify(repair=True)
        before = told(world)
        world.pg("DELETE FROM conversions WHERE conversion_type = 'requirements_completed'")
        repaired = world.verify(repair=True)
        assert (repaired.outcome, repaired.tally.conversions_published) == ("ok", 1)
        assert len(before) == 1, "the signature was told"
        (new,) = told(world) - before
        assert new in there(world)


class TestCutOver:
    """In shadow mode customer 1 signed before the old system's last scan, and 2 after it."""

    @pytest.fixture
    def scanned(self, mysql_world: ReconcilerWorld) -> int:
        world = mysql_world
        world.shadow = True
        for user_id in (1, 2):
            world.user(user_id)
            world.claim(10 * user_id, user_id)
            world.pg(
                "INSERT INTO user_call_scores (id, user_id, current_queue_type, updated_at)"
                " VALUES (gen_random_uuid(), %s, 'unsigned_users', now())", user_id,
            )  # fmt: skip
        world.backfill()
        world.age_everything(60)
        world.pass_lanes(now() - 30 * MINUTE)
        scanned = now() - 10 * MINUTE
        with closing(Played(world)) as stream:
            sign(world, stream, 1, scanned - MINUTE)
            sign(world, stream, 2, scanned + MINUTE)
        world.pg(OLD, uuid4(), 1, SIGNED, at(scanned + 5_000_000))
        assert [row[0] for row in rows(world)] == [1], "shadow mode writes nothing"
        return scanned

    def switch(self, world: ReconcilerWorld) -> None:
        world.shadow = False
        world.pass_lanes()

    def test_what_was_signed_after_the_last_scan_is_published_once_with_its_time(
        self, mysql_world: ReconcilerWorld, scanned: int
    ) -> None:
        world = mysql_world
        self.switch(world)
        assert "conversion_unpublished" not in world.verify().tally.drift
        dry = world.verify(conversions_since=scanned)
        assert (dry.outcome, dry.tally.drift["conversion_unpublished"]) == ("drift", 1)
        assert len(rows(world)) == 1
        repaired = world.verify(repair=True, conversions_since=scanned)
        assert (repaired.outcome, repaired.tally.conversions_published) == ("ok", 1)
        expected = [(2, SIGNED, at(scanned + MINUTE)), (1, SIGNED, at(scanned + 5_000_000))]
        assert sorted(rows(world)) == sorted(expected)
        assert world.pg("SELECT id FROM conversions WHERE user_id = 2") == [
            (conversion_id(2, SIGNED, scanned + MINUTE),)
        ]
        for since in (scanned, None):
            again = world.verify(repair=True, conversions_since=since)
            assert (again.tally.drift, again.tally.conversions_published) == ({}, 0)
        assert world.scores() == {1: "none", 2: "none"}
        assert len(rows(world)) == 2

    def test_what_the_old_system_recorded_too_is_left_out(self, mysql_world: ReconcilerWorld, scanned: int) -> None:
        world = mysql_world
        world.pg(OLD, uuid4(), 2, SIGNED, at(scanned + 2 * MINUTE))
        self.switch(world)
        report = world.verify(repair=True, conversions_since=scanned)
        assert (report.tally.drift["conversion_unpublished"], report.tally.conversions_published) == (0, 0)
        assert len(rows(world)) == 2

    def test_the_command_refuses_shadow_mode_and_says_what_it_found(
        self, mysql_world: ReconcilerWorld, scanned: int
    ) -> None:
        world = mysql_world
        since = ["verify", "--json", "--conversions-since", datetime.fromtimestamp(scanned / 1e6, UTC).isoformat()]
        refused = world.command(*since, SHADOW_MODE="true")
        assert (refused.returncode, "SHADOW_MODE is on" in refused.stderr) == (2, True)
        assert world.command(*since, "--sample", "1").returncode == 2
        self.switch(world)
        dry = world.command(*since)
        assert (dry.returncode, json.loads(dry.stdout)[0]["drift"]["conversion_unpublished"]) == (1, 1)
        done = world.command(*since, "--repair")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)[0]["conversions_published"] == 1
