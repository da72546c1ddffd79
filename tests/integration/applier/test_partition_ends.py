"""Where partitions end, asked of a broker that crashes or of one whose partitions have no leader."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from consumer.settings import KafkaSettings
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.ends import ends_in_kafka
from consumer.stream.errors import KafkaLost
from consumer.stream.topics import CHECKPOINTS
from tests.servers import Servers
from tests.support.waiting import until

TOPICS = ("users", "claims", "claim_requirements", "heartbeats")
MESSAGES = 3
CRASHES = 2


def test_a_broker_that_crashes_amid_a_question_gives_no_end_that_is_none_and_answers_again_when_it_is_back(
    servers: Servers,
) -> None:
    with servers.private_kafka() as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.url})
        for created in admin.create_topics([NewTopic(topic, 1, 1) for topic in TOPICS]).values():
            created.result(30)
        producer = Producer({"bootstrap.servers": kafka.url})
        for topic in TOPICS:
            for _ in range(MESSAGES):
                producer.produce(topic, b"something", partition=0)
        assert producer.flush(30) == 0

        ask = ends_in_kafka(TOPICS, KafkaSettings(kafka_bootstrap_servers=kafka.url, lanes=1))
        answers: list[list[int] | None] = []
        stop = threading.Event()

        def ask_on_and_on() -> None:
            while not stop.is_set():
                answers.append(ask(0))

        asking = threading.Thread(target=ask_on_and_on)
        asking.start()
        try:
            for _ in range(CRASHES):
                until(lambda: answers[-1:] == [[MESSAGES] * len(TOPICS)], "Kafka says where partitions end")
                kafka.kill()
                until(lambda: answers[-1] is None, "Kafka is away")
                kafka.start()
            until(lambda: answers[-1] is not None, "Kafka answers again", within=60)
        finally:
            stop.set()
            asking.join()
    assert [answer for answer in answers if answer not in (None, [MESSAGES] * len(TOPICS))] == []


def test_a_checkpoint_whose_partition_has_no_leader_is_not_taken_for_one_that_is_not_there(servers: Servers) -> None:
    with servers.private_kafka(3) as kafka:
        settings = KafkaSettings(kafka_bootstrap_servers=kafka.url, topic_prefix="away")
        name = settings.topic(CHECKPOINTS)
        admin = AdminClient({"bootstrap.servers": kafka.url})
        admin.create_topics([NewTopic(name, 1, replica_assignment=[[3]])])[name].result(30)
        with CheckpointLog(settings, within=5) as log:
            until(lambda: _answers(log), "there is no checkpoint yet")
            kafka.nodes[2].kill()
            until(lambda: admin.list_topics(name, timeout=10).topics[name].partitions[0].leader == -1, "no leader")
            with pytest.raises(KafkaLost, match=f"did not give us {name}"):
                log.newest()
            kafka.start()
            until(lambda: _answers(log), "Kafka answers again", within=60)


def _answers(log: CheckpointLog) -> bool:
    try:
        return log.newest() is None
    except KafkaLost:
        return False
