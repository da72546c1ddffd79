"""What the doctor says of Kafka, from facts alone."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.doctor import kafka_facts
from consumer.doctor.check import Check, State
from consumer.doctor.kafka import judge, judge_quick
from consumer.doctor.kafka_facts import KafkaFacts, TopicFacts
from consumer.settings import KafkaSettings
from consumer.stream import partition
from consumer.stream.producer import TUNING
from consumer.stream.topics import lane_topics, wanted

KAFKA = KafkaSettings(kafka_bootstrap_servers="kafka:9092", topic_prefix="ls", lanes=6)
GROUP = "ls.appliers"
MAY = frozenset({"READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"})
TOPICS = {
    topic.name: TopicFacts(
        topic.partitions, 3, 3, 0, MAY, {**topic.fixed, **topic.settings, "min.insync.replicas": "2"}
    )
    for topic in wanted(KAFKA)
}
GROUPS = {GROUP: MAY, "ls.checkpoints": MAY, "ls.strays": MAY, "ls.tails": MAY, "ls.audit": MAY}
WELL = KafkaFacts("kafka:9092", "User:ls", 3, {0: 13, 22: 5, 32: 4, 44: 1}, TOPICS, frozenset(), GROUPS)
CONFIGS = (
    "kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name ls.users --add-config"
)
ACLS = "kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:ls"


def users(**changed: object) -> KafkaFacts:
    return replace(WELL, topics={**TOPICS, "ls.users": replace(TOPICS["ls.users"], **changed)})  # type: ignore[arg-type]


def setting(**changed: str) -> KafkaFacts:
    settings = {name.replace("_", "."): value for name, value in changed.items()}
    return users(settings={**TOPICS["ls.users"].settings, **settings})


def wide(count: int) -> KafkaFacts:
    """Every lane's topic with so many partitions."""
    lanes = lane_topics(KAFKA)
    topics = {n: replace(topic, partitions=count) if n in lanes else topic for n, topic in TOPICS.items()}
    return replace(WELL, topics=topics)


def wrong(facts: KafkaFacts) -> list[Check]:
    return [check for check in judge(facts, KAFKA, GROUP) if check.state is not State.OK]


def test_a_cluster_as_it_should_be_has_nothing_to_repair() -> None:
    assert wrong(WELL) == []
    assert len(judge(WELL, KAFKA, GROUP)) == 13


@pytest.mark.parametrize(
    ("facts", "name", "state", "repair"),
    [
        (replace(WELL, versions={0: 7, 22: 1}), "version", "failed", "upgrade the brokers to Kafka 2.5 or later"),
        (
            replace(WELL, topics={name: topic for name, topic in TOPICS.items() if name != "ls.heartbeats"}), "topics",
            "failed", "consumer setup",
        ),
        (users(partitions=4), "partitions", "failed", "consumer setup --repair"),
        (
            replace(WELL, topics={
                name: replace(topic, partitions=min(topic.partitions, 4)) for name, topic in TOPICS.items()
            }),
            "partitions", "failed", "export LANES=4",
        ),
        (users(partitions=8), "partitions", "failed", "consumer setup --repair"),
        (
            replace(wide(8), lanes=6), "partitions", "warning",
            "leave them empty, or use them once the stream is drained: consumer setup --lanes 8",
        ),
        (replace(wide(4), lanes=3), "partitions", "failed", "export LANES=3"),
        (
            replace(wide(8), lanes=6, raising="consumer setup --lanes 8"), "partitions", "failed",
            "consumer setup --lanes 8",
        ),
        (
            replace(WELL, topics={**TOPICS, "ls.checkpoints": replace(TOPICS["ls.checkpoints"], partitions=3)}),
            "single partition", "warning", "leave the others empty",
        ),
        (setting(max_message_bytes="1048588"), "retention", "warning", f"{CONFIGS} max.message.bytes=16777216"),
        (setting(cleanup_policy="compact"), "cleanup.policy", "failed", f"{CONFIGS} cleanup.policy=delete"),
        (setting(retention_ms="3600000"), "retention", "failed", f"{CONFIGS} retention.ms=604800000"),
        (setting(retention_bytes="1073741824"), "retention", "warning", f"{CONFIGS} retention.bytes=-1"),
        (
            setting(retention_ms="3600000", retention_bytes="1073741824"), "retention", "failed",
            f"{CONFIGS} retention.ms=604800000; {CONFIGS} retention.bytes=-1",
        ),
        (users(leaderless=2), "leaders", "failed", "start the brokers that are missing"),
        (users(in_sync=2), "leaders", "warning", "start the brokers that are missing"),
        (setting(min_insync_replicas="4"), "min.insync.replicas", "failed", f"{CONFIGS} min.insync.replicas=2"),
        (setting(min_insync_replicas="3"), "min.insync.replicas", "warning", f"{CONFIGS} min.insync.replicas=2"),
        (setting(min_insync_replicas="1"), "min.insync.replicas", "warning", f"{CONFIGS} min.insync.replicas=2"),
        (
            users(operations=MAY - {"WRITE"}), "topic ACLs", "failed",
            f"{ACLS} --operation Write --topic ls. --resource-pattern-type prefixed",
        ),
        (
            replace(WELL, hidden=frozenset({"ls.users"})), "topic ACLs", "failed",
            f"{ACLS} --operation Read --operation Write --operation Describe --operation DescribeConfigs"
            " --operation Create --topic ls. --resource-pattern-type prefixed",
        ),
        (
            replace(WELL, groups={**GROUPS, "ls.strays": frozenset({"DESCRIBE"})}), "group ACLs", "failed",
            f"{ACLS} --operation Read --operation Describe --group ls. --resource-pattern-type prefixed",
        ),
        (
            replace(WELL, transactions="Transactional Id authorization failed"), "transactions", "failed",
            f"{ACLS} --operation Write --operation Describe --transactional-id ls. --resource-pattern-type prefixed",
        ),
        (
            replace(WELL, transactions=KafkaError(KafkaError.INVALID_TRANSACTION_TIMEOUT).str()), "transactions",
            "failed", "set transaction.max.timeout.ms of the brokers to 300000 or more",
        ),
    ],
)  # fmt: skip
def test_each_wrong_thing_is_named_alone_with_its_repair(facts: KafkaFacts, name: str, state: str, repair: str) -> None:
    (check,) = wrong(facts)
    assert (check.name, check.state.value, check.hint) == (name, state, repair)


def test_transactions_are_asked_for_as_the_reader_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that allows shorter ones alone would else be found well, and refuse the reader."""
    asked: list[dict[str, str]] = []

    class Asking:
        def __init__(self, settings: dict[str, str]) -> None:
            asked.append(settings)

        def init_transactions(self, _: float) -> None:
            """Prepares them."""

    monkeypatch.setattr(kafka_facts, "Producer", Asking)
    assert kafka_facts._transaction(KAFKA, 1.0) == ""
    (settings,) = asked
    reader = {**TUNING, **KAFKA.librdkafka}
    assert reader == {name: value for name, value in settings.items() if name != "transactional.id"}
    assert settings["transactional.id"] == "ls.doctor"


def test_one_copy_of_each_topic_is_a_warning_only() -> None:
    one = {
        name: replace(topic, replicas=1, in_sync=1, settings={**topic.settings, "min.insync.replicas": "1"})
        for name, topic in TOPICS.items()
    }
    (check,) = wrong(replace(WELL, topics=one, brokers=1))
    assert (check.name, check.state) == ("replication", State.WARNING)
    assert check.sentence == "every partition has 1 copy on 1 broker"


def test_before_setup_nothing_is_said_of_topics_but_that_they_are_missing() -> None:
    names = [check.name for check in wrong(replace(WELL, topics={}))]
    assert names == ["topics"]
    assert judge_quick(replace(WELL, topics={}), KAFKA) == []


def test_what_a_reader_waits_for_does_not_keep_it_from_starting() -> None:
    late = users(leaderless=6, in_sync=0)
    assert {check.state for check in judge_quick(late, KAFKA)} == {State.OK}


def test_a_reader_starts_where_the_retention_was_lowered_and_says_so() -> None:
    (check,) = [check for check in judge_quick(setting(retention_ms="3600000"), KAFKA) if check.state is not State.OK]
    assert (check.state, check.hint) == (State.WARNING, "consumer setup --repair")
    assert "ls.users has retention.ms=3600000" in check.sentence


def test_a_group_of_another_name_is_granted_by_it() -> None:
    facts = replace(WELL, groups={"callers": frozenset(), "ls.audit": frozenset(), "ls.tails": MAY})
    found = next(check for check in judge(facts, KAFKA, "callers") if check.name == "group ACLs")
    add = f"{ACLS} --operation Read --operation Describe --group"
    assert found.sentence == "User:ls may not read as group callers, ls.audit"
    assert found.hint == f"{add} callers; {add} ls. --resource-pattern-type prefixed"


def test_the_doctor_asks_for_every_group_under_which_anything_reads() -> None:
    class Admin:
        """One that lets us do nothing but with the appliers' group."""

        def describe_consumer_groups(self, groups: list[str], **_: object) -> dict[str, Future[object]]:
            found: dict[str, Future[object]] = {name: Future() for name in groups}
            for name, future in found.items():
                if name == GROUP:
                    future.set_result(SimpleNamespace(authorized_operations=[SimpleNamespace(name="READ")]))
                elif name == "ls.strays":
                    future.set_exception(KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)))
                else:
                    future.set_exception(KafkaException(KafkaError(KafkaError.GROUP_ID_NOT_FOUND)))
            return found

    asked = [GROUP, *(KAFKA.topic(name) for name in partition.GROUPS)]
    assert {"ls.strays", "ls.audit", "ls.tails", "ls.checkpoints"} < set(asked)
    found = kafka_facts._groups(Admin(), asked, 1.0)  # type: ignore[arg-type]
    assert found == {name: frozenset() if name == "ls.strays" else frozenset({"READ"}) for name in asked}
