"""Lanes that change hands, a Kafka that was away, partitions that run ahead of others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer

from consumer.applier import group_member
from consumer.applier.applier import apply, apply_forever
from consumer.applier.batches import Batch
from consumer.applier.group_member import LaneStream
from consumer.settings import ApplierSettings
from consumer.store.lanes import LaneState
from consumer.store.leads import LeadStore
from tests.integration.applier.scribe import Scribe
from tests.integration.applier.world import ApplierWorld, faults, live
from tests.servers import Servers
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.servers


class Overtaken:
    """A stream whose every third batch is applied by another applier just before we get to it."""

    def __init__(self, stream: LaneStream, other: LeadStore) -> None:
        self._stream = stream
        self._other = other
        self.overtaken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def batches(self) -> Iterator[Batch]:
        for number, batch in enumerate(self._stream.batches()):
            if number % 3 == 0:
                apply(batch, self._other)
                self.overtaken += 1
            yield batch


def positions(world: ApplierWorld, numbers: Sequence[int]) -> dict[int, LaneState]:
    """Where lanes stand."""
    with LeadStore(world.postgres_url, world.lanes, shadow=False, source="stream") as store:
        return store.lanes(numbers)


def test_a_batch_that_another_applier_has_applied_is_dropped_and_the_lane_read_again_from_there(
    world: ApplierWorld,
) -> None:
    customers = range(1, 101)
    stop = threading.Event()

    def finish() -> None:
        live(world.scribe, customers)
        world.drain()
        stop.set()

    settings = ApplierSettings(applier_batch_rows=50, applier_lane_buffer=20)
    writer = threading.Thread(target=finish)
    with (
        LeadStore(world.postgres_url, world.lanes, shadow=False, source="stream") as store,
        LeadStore(world.postgres_url, world.lanes, shadow=False, source="stream") as other,
        LaneStream(world.kafka, settings, partial(positions, world), stop) as stream,
    ):
        overtaken = Overtaken(stream, other)
        writer.start()
        apply_forever(cast("LaneStream", overtaken), store)
        writer.join()
    assert overtaken.overtaken > 3
    assert faults(world, customers) == []


def test_what_was_freed_is_given_back_again_and_again(world: ApplierWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    times = threading.Semaphore(0)
    monkeypatch.setattr(group_member, "REPORT_SECONDS", 0.01)
    monkeypatch.setattr(group_member, "give_back_freed", times.release)
    with LaneStream(world.kafka, ApplierSettings(), partial(positions, world), threading.Event()):
        assert all(times.acquire(timeout=PATIENCE) for _ in range(3))


def test_kafka_killed_and_started_again_costs_nothing(servers: Servers, tmp_path: Path) -> None:
    with (
        servers.private_kafka() as kafka,
        ApplierWorld(kafka.url, servers.postgres_url) as world,
    ):
        process = world.applier()
        live(world.scribe, range(1, 51))
        kafka.kill()
        kafka.start()
        world.scribe = Scribe(world.kafka, next_seqs=world.scribe.next_seqs)
        live(world.scribe, range(51, 101))
        world.drain()
        assert faults(world, range(1, 101)) == []
        assert process.poll() is None


def test_partitions_that_run_ahead_are_paused_and_nothing_gets_stuck(world: ApplierWorld) -> None:
    customers = range(1, 501)
    live(world.scribe, customers, together=500)
    world.applier(APPLIER_LANE_BUFFER="10", APPLIER_BATCH_ROWS="30")
    world.drain()
    assert faults(world, customers) == []


def test_a_member_of_the_group_that_reads_one_topic_alone_ends_the_applier_before_it_applies_half_a_lane(
    world: ApplierWorld,
) -> None:
    process = world.applier()
    live(world.scribe, range(1, 11))
    world.drain()
    stranger = Consumer(
        {
            "bootstrap.servers": world.kafka.kafka_bootstrap_servers,
            "group.id": f"{world.kafka.topic_prefix}.appliers",
            "partition.assignment.strategy": "range",
        }
    )
    stranger.subscribe([world.kafka.topic("users")])

    def ended() -> bool:
        stranger.poll(0.1)
        return process.poll() is not None

    world.until(ended, "the applier ended")
    stranger.close()
    assert process.returncode == 1
    assert "the topics' partitions were not assigned together" in world.lines()
    world.applier()
    live(world.scribe, range(11, 21))
    world.drain()
    assert faults(world, range(1, 21)) == []
