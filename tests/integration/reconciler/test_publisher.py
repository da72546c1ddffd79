"""Conversions told to others: by HTTP behind a cursor, and as CloudEvents in a topic, whoever is killed meanwhile."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from consumer.settings import KafkaSettings
from consumer.store import conversion_events
from consumer.stream import topics
from reconciler.web import conversions
from tests.integration.reconciler.played import Played
from tests.integration.reconciler.runs.test_conversions import MINUTE, ask, hand_in, now, sign
from tests.integration.reconciler.runs.test_sweeps import EVERYONE
from tests.integration.reconciler.serving import Served, serving
from tests.integration.reconciler.world import ReconcilerWorld
from tests.servers import ensure
from tests.support.waiting import until
from tests.whole_topics import messages_of, partitions_of

pytestmark = pytest.mark.servers

CUSTOMERS = range(1, 6)


@pytest.fixture
def world(mysql_world: ReconcilerWorld) -> ReconcilerWorld:
    """Customers, each with a claim, none of whom has signed; everybody is known, and the stream has passed that."""
    for user_id in CUSTOMERS:
        mysql_world.user(user_id)
        mysql_world.claim(10 * user_id, user_id)
    mysql_world.backfill()
    mysql_world.age_everything(60)
    mysql_world.pass_lanes(now() - 30 * MINUTE)
    return mysql_world


@pytest.fixture
def kafka() -> Iterator[KafkaSettings]:
    """A deployment's topics, that of conversions among them."""
    settings = KafkaSettings(
        kafka_bootstrap_servers=ensure(["kafka"]).kafka_bootstrap, topic_prefix=f"events-{uuid.uuid4().hex[:8]}",
        lanes=3, topic_replication_factor=1, publish_conversions=True,
    )  # fmt: skip
    created = topics.prepare(settings)
    assert f"{settings.topic_prefix}.conversions" in created
    yield settings
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": "0"})
    for gone in admin.delete_topics(created).values():
        gone.result()


def publishing(kafka: KafkaSettings) -> dict[str, str]:
    return {
        "PUBLISH_CONVERSIONS": "true", "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "TOPIC_PREFIX": kafka.topic_prefix, "LANES": "3", "SWEEPS": "",
    }  # fmt: skip


def messages(kafka: KafkaSettings) -> list[Message]:
    """What lies in the topic of conversions."""
    properties = {"bootstrap.servers": kafka.kafka_bootstrap_servers}
    return list(messages_of(properties, partitions_of(properties, [kafka.topic("conversions")])))


def events(kafka: KafkaSettings) -> list[dict[str, Any]]:
    return [msgspec.json.decode(message.value() or b"") for message in messages(kafka)]


def users(kafka: KafkaSettings) -> list[int]:
    return sorted(event["data"]["user_id"] for event in events(kafka))


def series(served: Served, name: str) -> float | None:
    """A sample of this process's."""
    for line in served.get("/metrics").text.splitlines():
        if line.startswith((name + "{", name + " ")):
            return float(line.rpartition(" ")[2])
    return None


def test_a_cursor_brings_every_conversion_once_whoever_recorded_it(world: ReconcilerWorld, stream: Played) -> None:
    sign(world, stream, 1, now() - 20 * MINUTE)
    world.sql("UPDATE users SET current_signature_file_id = 'missed' WHERE id = 2")
    world.pass_lanes()
    world.sweep("unsigned-conversions", EVERYONE)
    with serving(world, SWEEPS="") as served:
        first = served.get("/v1/conversions", limit=1).json()
        assert (len(first["conversions"]), first["more"]) == (1, True)
        second = served.get("/v1/conversions", after=first["next"]).json()
        assert second["more"] is False
        told = [*first["conversions"], *second["conversions"]]
        held = world.pg("SELECT id::text, user_id, conversion_type FROM conversions ORDER BY converted_at")
        assert [(one["id"], one["user_id"], one["conversion_type"]) for one in told] == held
        assert {one["user_id"] for one in told} == {1, 2}
        empty = served.get("/v1/conversions", after=second["next"]).json()
        assert empty == {"conversions": [], "next": second["next"], "more": False}
        sign(world, stream, 3, now() - 25 * MINUTE)
        later = served.get("/v1/conversions", after=empty["next"]).json()
        assert [one["user_id"] for one in later["conversions"]] == [3]
        for wrong in ({"after": "-1"}, {"after": "x"}, {"limit": 0}, {"after": "9" * 19}):
            assert served.get("/v1/conversions", **wrong).status_code == 422


def test_however_many_ask_a_few_sessions_answer_and_the_others_are_told_to_ask_again(world: ReconcilerWorld) -> None:
    held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    with (
        serving(world, SWEEPS="") as served,
        psycopg.connect(world.postgres_url) as other,
        ThreadPoolExecutor(24) as pool,
    ):
        other.execute("SELECT pg_advisory_xact_lock(%s)", [conversion_events.LOCK])  # so that each of them takes long
        asked = [pool.submit(served.get, "/v1/conversions") for _ in range(24)]
        most = 0
        while not all(one.done() for one in asked):
            most = max([most, *(count for (count,) in world.pg(held))])
            assert served.get("/health/ready").status_code == 200
        assert 0 < most <= conversions.AT_ONCE
        answers = [one.result() for one in asked]
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["type"] for answer in answers} == {"urn:leadstream:problem:unavailable"}
        assert any("others have been asking" in answer.json()["detail"] for answer in answers)
        other.rollback()
        assert served.get("/v1/conversions").status_code == 200


def test_conversions_lie_in_the_topic_as_cloud_events_with_the_customer_s_key(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    at = now() - 20 * MINUTE
    sign(world, stream, 1, at)
    with serving(world, **publishing(kafka)) as served:
        until(lambda: len(messages(kafka)) == 1, "the conversion was published")
        (message,) = messages(kafka)
        assert message.key() == b"1"
        assert dict(message.headers() or [])["content-type"] == b"application/cloudevents+json; charset=UTF-8"
        event = msgspec.json.decode(message.value() or b"")
        ((id_,),) = world.pg("SELECT id::text FROM conversions")
        assert (event["specversion"], event["id"], event["subject"]) == ("1.0", id_, "1")
        assert (event["source"], event["type"]) == (
            f"/leadstream/{kafka.topic_prefix}", "leadstream.conversion.signature_obtained",
        )  # fmt: skip
        assert (event["time"], event["data"]["signature_file_id"]) == (event["data"]["converted_at"], "71")
        assert event["data"] == served.get("/v1/conversions").json()["conversions"][0]
        until(lambda: series(served, "leadstream_conversion_events_waiting") == 0, "nothing waits")
        assert series(served, "leadstream_conversion_events_published_total") == 1
        assert series(served, "leadstream_conversion_events_oldest_seconds") == 0


def test_of_several_one_publishes_and_when_it_is_killed_another_goes_on(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(serving(world, **publishing(kafka)))
        first.process.wait_for("publisher_started")
        second = stack.enter_context(serving(world, **publishing(kafka)))
        sign(world, stream, 1, now() - 20 * MINUTE)
        until(lambda: users(kafka) == [1], "the first published")
        assert "publisher_started" not in second.process.text()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        sign(world, stream, 2, now() - 19 * MINUTE)
        until(lambda: users(kafka) == [1, 2], "the second published")
        assert first.process.returncode == -signal.SIGKILL


def test_what_was_sent_and_not_noted_is_sent_again_and_known_by_its_id(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    for user_id in (1, 2):
        sign(world, stream, user_id, now() - 20 * MINUTE)
    with serving(world, **publishing(kafka)):
        until(lambda: users(kafka) == [1, 2], "both were published")
    world.pg("DELETE FROM leadstream.published_events")  # as if it had been killed before it noted anything
    with serving(world, **publishing(kafka)):
        until(lambda: users(kafka) == [1, 1, 2, 2], "both were published again")
        world.pg("DELETE FROM leadstream.published_events")  # as the documentation says, to have a topic filled anew
        until(lambda: users(kafka) == [1, 1, 1, 2, 2, 2], "both were published once more, without a restart")
    assert len({event["id"] for event in events(kafka)}) == 2


def test_a_customer_s_conversions_are_in_order_and_in_one_partition(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    for user_id in CUSTOMERS:
        sign(world, stream, user_id, now() - 25 * MINUTE)
        for number in range(1, 4):
            moment = now() - (24 - 4 * number) * MINUTE
            ask(stream, user_id, 10 * user_id + number, moment)
            hand_in(stream, user_id, 10 * user_id + number, moment + MINUTE)
    count = 4 * len(CUSTOMERS)
    with serving(world, **publishing(kafka)):
        until(lambda: len(messages(kafka)) == count, "all were published")
    stints: dict[bytes, list[int]] = {}
    partitions: dict[bytes, set[int]] = {}
    for message in messages(kafka):
        key = message.key() or b""
        stints.setdefault(key, []).append(msgspec.json.decode(message.value() or b"")["data"]["stint"])
        partitions.setdefault(key, set()).add(message.partition() or 0)
    assert len(stints) == len(CUSTOMERS)
    assert all(numbers == sorted(numbers) for numbers in stints.values())
    assert all(len(those) == 1 for those in partitions.values())


def test_without_its_topic_it_says_what_to_run_and_makes_none_and_everything_else_goes_on(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    other = publishing(kafka) | {"TOPIC_PREFIX": f"{kafka.topic_prefix}-other"}
    sign(world, stream, 1, now() - 20 * MINUTE)
    with serving(world, **other) as served:
        served.process.wait_for("conversions_not_published")
        assert "run `consumer setup` with PUBLISH_CONVERSIONS=true" in served.process.text()
        assert len(served.get("/v1/conversions").json()["conversions"]) == 1
        until(lambda: series(served, "leadstream_conversion_events_waiting") == 1, "it waits")
        began = series(served, "leadstream_conversion_events_oldest_seconds") or 0.0
        until(lambda: (series(served, "leadstream_conversion_events_oldest_seconds") or 0.0) > began, "it grows")
    admin = AdminClient({"bootstrap.servers": kafka.kafka_bootstrap_servers, "log_level": "0"})
    assert f"{kafka.topic_prefix}-other.conversions" not in admin.list_topics(timeout=30).topics


def test_an_error_that_nobody_foresaw_is_told_and_tried_again_while_checks_before_calls_go_on(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    sign(world, stream, 1, now() - 20 * MINUTE)
    failing = "leadstream_conversion_publisher_failing_seconds"
    world.pg("UPDATE leadstream.stints SET queue_type = 'of nobody' WHERE user_id = 1 AND number = 1")
    for _ in range(2):  # a process that is started with the fault in place is none the worse
        with serving(world, **publishing(kafka)) as served:
            served.process.wait_for("conversions_not_published")
            for seconds in (0.5, 3.0):
                until(lambda: (series(served, failing) or 0.0) > seconds, "it fails for longer")  # noqa: B023
                assert served.get("/leads/2/precall", expected="unsigned_users").json()["source"] == "replica"
                assert served.get("/health/ready").status_code == 200
            until(lambda: (series(served, "leadstream_conversion_events_oldest_seconds") or 0.0) > 1.0, "it waits")
    with serving(world, **publishing(kafka)) as served:
        served.process.wait_for("conversions_not_published")
        (line,) = [line for line in served.process.lines() if line["event"] == "conversions_not_published"]
        assert (line["kind"], line["level"]) == ("ValueError", "error")
        assert "of nobody" in line["reason"]
        assert "conversion_events.py" in str(line["exception"])
        assert users(kafka) == []
        world.pg("UPDATE leadstream.stints SET queue_type = 'unsigned_users' WHERE user_id = 1 AND number = 1")
        until(lambda: users(kafka) == [1], "it was published")
        until(lambda: series(served, failing) == 0, "it is well")
        assert served.stop() == 0


def test_an_error_in_looking_at_what_waits_is_told_too(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    sign(world, stream, 1, now() - 20 * MINUTE)
    failing = "leadstream_conversion_publisher_failing_seconds"
    world.pg("ALTER TABLE leadstream.published_events ALTER COLUMN event_number TYPE text")
    with serving(world, **publishing(kafka)) as served:
        served.process.wait_for("conversions_not_published")
        until(lambda: (series(served, failing) or 0.0) > 2.0, "it fails")
        assert series(served, "leadstream_conversion_events_oldest_seconds") is None, "so nothing else tells of it"
        assert served.get("/leads/2/precall", expected="unsigned_users").json()["source"] == "replica"
        world.pg("ALTER TABLE leadstream.published_events ALTER COLUMN event_number TYPE bigint USING 0")
        until(lambda: users(kafka) == [1], "it was published")


def test_conversions_that_get_no_number_are_seen_to_wait(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    sign(world, stream, 1, now() - 20 * MINUTE)
    with psycopg.connect(world.postgres_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [conversion_events.LOCK])
        with serving(world, **publishing(kafka)) as served:
            until(lambda: (series(served, "leadstream_conversion_events_oldest_seconds") or 0.0) > 1.0, "it waits")
            assert series(served, "leadstream_conversion_events_waiting") == 1
            served.process.wait_for("conversions_not_published")
            other.rollback()
            until(lambda: users(kafka) == [1], "it was published")
            until(lambda: series(served, "leadstream_conversion_events_oldest_seconds") == 0, "nothing waits")


def test_a_password_file_that_is_not_there_yet_is_told_and_waited_for(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings, tmp_path: Path
) -> None:
    sign(world, stream, 1, now() - 20 * MINUTE)
    file = tmp_path / "password"
    with serving(world, **publishing(kafka), KAFKA_SASL_PASSWORD_FILE=str(file)) as served:
        served.process.wait_for("conversions_not_published")
        assert str(file) in served.process.text()
        assert served.get("/health/ready").status_code == 200
        file.write_text("of no use without SASL")
        until(lambda: users(kafka) == [1], "it was published")


def test_who_has_the_topic_prefix_of_before_holds_up_nobody(
    world: ReconcilerWorld, stream: Played, kafka: KafkaSettings
) -> None:
    before = publishing(kafka) | {"TOPIC_PREFIX": f"{kafka.topic_prefix}-before"}
    sign(world, stream, 1, now() - 20 * MINUTE)
    with serving(world, **before) as old, serving(world, **publishing(kafka)):
        old.process.wait_for("conversions_not_published")
        until(lambda: users(kafka) == [1], "it was published")


def test_in_shadow_mode_nothing_is_told(world: ReconcilerWorld, stream: Played) -> None:
    sign(world, stream, 1, now() - 20 * MINUTE)
    world.pg("UPDATE leadstream.stints SET in_shadow = true WHERE conversion_type IS NOT NULL")
    with serving(world, SWEEPS="", SHADOW_MODE="true") as served:
        assert served.get("/v1/conversions").json() == {"conversions": [], "next": "0", "more": False}


def test_who_does_not_want_it_has_no_topic_and_no_series(world: ReconcilerWorld) -> None:
    with serving(world, SWEEPS="") as served:
        assert "publisher_started" not in served.process.text()
        assert series(served, "leadstream_conversion_events_waiting") is None
