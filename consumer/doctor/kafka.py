"""What is judged of Kafka. Pure: facts in, checks out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from consumer.doctor.check import Check, State, judged
from consumer.doctor.kafka_facts import KafkaFacts, TopicFacts
from consumer.settings import KafkaSettings
from consumer.stream.producer import TUNING
from consumer.stream.topic_fit import REPAIR, configure, counted, lowered, uneven
from consumer.stream.topics import CHECKPOINTS, Wanted, lane_topics, wanted, wanted_by_setup

SERVER: Final = "kafka"
PRODUCE, INIT_PRODUCER_ID, DESCRIBE_CONFIGS, ALTER_CONFIGS = 0, 22, 32, 44
"""Numbers of requests in Kafka's protocol."""
NEEDED: Final = {PRODUCE: 8, INIT_PRODUCER_ID: 3, DESCRIBE_CONFIGS: 1, ALTER_CONFIGS: 1}
"""The versions of requests that a broker of 2.5 understands and an older one does not."""
RELEASES: Final = ((13, "4.1"), (12, "4.0"), (11, "3.8"), (10, "3.7"), (9, "2.4"))
"""Which release first understood a version of Produce."""
OPERATIONS: Final = ("READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS")
SAFE_COPIES: Final = 3


def judge(facts: KafkaFacts, kafka: KafkaSettings, group: str) -> list[Check]:
    """Every precondition of Kafka; of topics that do not exist nothing but that is said."""
    topics = wanted_by_setup(kafka)
    there = [*_partitions(facts, kafka), _policies(facts, topics), _retention(facts, topics, kafka),
             _leaders(facts), _replication(facts), _in_sync(facts)] if facts.topics else []  # fmt: skip
    return [_reachable(facts), _version(facts), _there(facts, topics), *there, *_acls(facts, kafka, group),
            _transactions(facts, kafka)]  # fmt: skip


def judge_quick(facts: KafkaFacts, kafka: KafkaSettings) -> list[Check]:
    """What would lose changes at once; before `consumer setup`, when there is no topic yet, nothing."""
    topics = wanted(kafka)
    if not facts.topics:
        return []
    kept = _retention(facts, topics, kafka)
    # Whoever does not start for a retention that is too short loses more by it.
    kept = kept if kept.state is State.OK else kept._replace(state=State.WARNING, hint=REPAIR)
    return [_there(facts, topics), *_partitions(facts, kafka), _policies(facts, topics), kept]


_check = partial(judged, SERVER)


def _reachable(facts: KafkaFacts) -> Check:
    return _check("reachable", False, f"Kafka at {facts.place} answers, with {_count(facts.brokers, 'broker')}", "")


def _version(facts: KafkaFacts) -> Check:
    known = facts.versions.get(PRODUCE, 0)
    release = next((f"that of Kafka {name} or later" for version, name in RELEASES if known >= version), "an older one")
    old = any(facts.versions.get(request, -1) < version for request, version in NEEDED.items())
    return _check(
        "version", old, f"{facts.place} speaks the protocol: {release}", "upgrade the brokers to Kafka 2.5 or later"
    )


def _there(facts: KafkaFacts, topics: list[Wanted]) -> Check:
    missing = [topic.name for topic in topics if topic.name not in facts.topics and topic.name not in facts.hidden]
    sentence = f"there is no topic {', '.join(missing)}" if missing else "our topics exist"
    return _check("topics", bool(missing), sentence, "consumer setup")


def _partitions(facts: KafkaFacts, kafka: KafkaSettings) -> Iterator[Check]:
    lanes = {name: facts.topics[name].partitions for name in lane_topics(kafka) if name in facts.topics}
    most = max(lanes.values(), default=kafka.lanes)
    if facts.raising:
        sentence = "raising the lanes was cut off, so that nothing starts with the old number or the new one"
        yield _check("partitions", True, sentence, facts.raising)
    elif most < kafka.lanes:
        sentence = f"{counted(lanes)}, and LANES is {kafka.lanes}"
        yield _check("partitions", True, sentence, f"export LANES={facts.lanes or most}")
    elif uneven(lanes) is not None:
        yield _check("partitions", True, f"{counted(lanes)}, and a lane takes one of each", REPAIR)
    elif most > kafka.lanes:
        sentence = f"{counted(lanes)}, and LANES is {kafka.lanes}: those from {kafka.lanes} on stay empty"
        hint = f"leave them empty, or use them once the stream is drained: consumer setup --lanes {most}"
        yield _check("partitions", State.WARNING, sentence, hint)
    else:
        yield _check("partitions", False, f"every lane's topic has {_count(most, 'partition')}, as LANES says", "")
    name = kafka.topic(CHECKPOINTS)
    count = facts.topics[name].partitions if name in facts.topics else 1
    said = f"{counted({name: count})}, of which only the first is used" if count > 1 else "checkpoints have 1 partition"
    yield _check("single partition", State.WARNING if count > 1 else State.OK, said, "leave the others empty")


def _policies(facts: KafkaFacts, topics: list[Wanted]) -> Check:
    wrong = [
        (topic.name, topic.fixed["cleanup.policy"])
        for topic in topics
        if (found := facts.topics.get(topic.name))
        and found.settings
        and found.settings.get("cleanup.policy") != topic.fixed["cleanup.policy"]
    ]
    sentence = "cleanup.policy is delete for changes and compact for checkpoints"
    if wrong:
        sentence = (
            ", ".join(
                f"{name} has cleanup.policy={facts.topics[name].settings.get('cleanup.policy')}" for name, _ in wrong
            )
            + ", which would lose changes"
        )
    hint = "; ".join(configure(name, {"cleanup.policy": policy}, facts.place) for name, policy in wrong)
    return _check("cleanup.policy", bool(wrong), sentence, hint)


def _retention(facts: KafkaFacts, topics: list[Wanted], kafka: KafkaSettings) -> Check:
    hours = kafka.topic_retention_hours
    wrong = {
        topic.name: low
        for topic in topics
        if topic.name in lane_topics(kafka)
        and (found := facts.topics.get(topic.name))
        and (low := lowered(topic.settings, found.settings))
    }
    if not wrong:
        return _check("retention", False, f"changes are kept for {hours} hours at least, and taken whole", "")
    said = "; ".join(
        f"{name} has {', '.join(f'{key}={facts.topics[name].settings.get(key)}' for key in low)}"
        for name, low in wrong.items()
    )
    sentence = f"{said}: changes may be lost before TOPIC_RETENTION_HOURS={hours}, or large ones not be taken"
    hints = [
        configure(name, {key: low[key]}, facts.place)
        for key in ("retention.ms", "retention.bytes", "max.message.bytes")
        for name, low in wrong.items()
        if key in low
    ]
    short = any("retention.ms" in low for low in wrong.values())
    return _check("retention", State.FAILED if short else State.WARNING, sentence, "; ".join(hints))


def _leaders(facts: KafkaFacts) -> Check:
    without = sum(topic.leaderless for topic in facts.topics.values())
    behind = [name for name, topic in facts.topics.items() if topic.in_sync < topic.replicas]
    if without:
        sentence, state = f"{_count(without, 'partition')} of our topics have no leader", State.FAILED
    elif behind:
        sentence, state = f"copies of {', '.join(behind)} are not up to date", State.WARNING
    else:
        sentence, state = "every partition has its leader and its copies", State.OK
    return _check("leaders", state, sentence, "start the brokers that are missing")


def _replication(facts: KafkaFacts) -> Check:
    copies = min((topic.replicas for topic in facts.topics.values()), default=SAFE_COPIES)
    few = copies < SAFE_COPIES
    sentence = f"every partition has {_count(copies, 'copy', 'copies')} on {_count(facts.brokers, 'broker')}"
    hint = "run three brokers, and kafka-reassign-partitions.sh with three replicas for each partition"
    return _check("replication", State.WARNING if few else State.OK, sentence, hint)


def _in_sync(facts: KafkaFacts) -> Check:
    def least(topic: TopicFacts) -> int:
        return int(topic.settings.get("min.insync.replicas", 1))

    stuck = {name: topic for name, topic in facts.topics.items() if least(topic) > topic.replicas}
    strict = {name: topic for name, topic in facts.topics.items() if 1 < least(topic) == topic.replicas}
    loose = {name: topic for name, topic in facts.topics.items() if topic.replicas >= SAFE_COPIES and least(topic) < 2}
    wrong = stuck or strict or loose
    words = "can never be written" if stuck else "cannot be written while a broker is down"
    words = words if stuck or strict else "may lose what only one broker had"
    sentence = (
        f"with its min.insync.replicas, {', '.join(wrong)} {words}" if wrong else "min.insync.replicas is as it must be"
    )
    state = State.FAILED if stuck else State.WARNING if wrong else State.OK
    hint = "; ".join(
        configure(name, {"min.insync.replicas": str(max(1, topic.replicas - 1))}, facts.place)
        for name, topic in wrong.items()
    )
    return _check("min.insync.replicas", state, sentence, hint)


def _acls(facts: KafkaFacts, kafka: KafkaSettings, group: str) -> Iterator[Check]:
    add = f"kafka-acls.sh --bootstrap-server {facts.place} --add --allow-principal {facts.principal}"
    missing = [op for op in OPERATIONS if any(op not in topic.operations for topic in facts.topics.values())]
    if facts.hidden:
        missing = [*OPERATIONS, "CREATE"]
    words = " ".join(f"--operation {operation.title().replace('_', '')}" for operation in missing)
    sentence = f"{facts.principal} may read, write and describe our topics"
    if missing:
        sentence = f"{facts.principal} lacks {', '.join(missing)} on topics {kafka.topic_prefix}.*"
    yield _check(
        "topic ACLs",
        bool(missing),
        sentence,
        f"{add} {words} --topic {kafka.topic_prefix}. --resource-pattern-type prefixed",
    )
    yield _group_acls(facts, kafka, group, f"{add} --operation Read --operation Describe")


def _group_acls(facts: KafkaFacts, kafka: KafkaSettings, group: str, add: str) -> Check:
    """Whether we may read under every group of ours; the hint gives those of our prefix at once."""
    prefix = f"{kafka.topic_prefix}."
    denied = [name for name, operations in facts.groups.items() if "READ" not in operations]
    hints = [f"{add} --group {group}"] if group in denied and not group.startswith(prefix) else []
    if any(name.startswith(prefix) for name in denied):
        hints.append(f"{add} --group {prefix} --resource-pattern-type prefixed")
    said = f"{facts.principal} may read as our groups"
    if denied:
        said = f"{facts.principal} may not read as group {', '.join(denied)}"
    return _check("group ACLs", bool(denied), said, "; ".join(hints))


def _transactions(facts: KafkaFacts, kafka: KafkaSettings) -> Check:
    hint = (
        f"kafka-acls.sh --bootstrap-server {facts.place} --add --allow-principal {facts.principal} --operation Write"
        f" --operation Describe --transactional-id {kafka.topic_prefix}. --resource-pattern-type prefixed"
    )
    sentence = "transactions can be had"
    if facts.transactions:
        sentence = f"transactions cannot be had: {facts.transactions}"
        if "transaction.timeout.ms" in facts.transactions:
            wanted_ms = {**TUNING, **kafka.librdkafka}["transaction.timeout.ms"]
            hint = f"set transaction.max.timeout.ms of the brokers to {wanted_ms} or more"
        elif "uthoriz" not in facts.transactions:
            hint = "start the brokers that are missing, or lower transaction.state.log.min.isr"
    return _check("transactions", bool(facts.transactions), sentence, hint)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
