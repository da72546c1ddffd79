"""What is judged of Kafka. Pure: facts in, checks out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from consumer.doctor.check import Check, State, judged
from consumer.doctor.kafka_facts import KafkaFacts, TopicFacts
from consumer.settings import KafkaSettings
from consumer.stream.journal import unfit
from consumer.stream.topics import DEAD_LETTERS, Wanted, wanted

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
    topics = wanted(kafka)
    there = [*_partitions(facts, kafka, topics), _policies(facts, topics), _retention(facts, topics, kafka),
             _letters(facts, kafka), _leaders(facts), _replication(facts),
             _in_sync(facts)] if facts.topics else []  # fmt: skip
    return [_reachable(facts), _version(facts), _there(facts, topics), *there, *_acls(facts, kafka, group),
            _transactions(facts, kafka)]  # fmt: skip


def judge_quick(facts: KafkaFacts, kafka: KafkaSettings) -> list[Check]:
    """What would lose changes at once; before `consumer setup`, when there is no topic yet, nothing."""
    topics = wanted(kafka)
    if not facts.topics:
        return []
    return [_there(facts, topics), *_partitions(facts, kafka, topics), _policies(facts, topics)]


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


def _partitions(facts: KafkaFacts, kafka: KafkaSettings, topics: list[Wanted]) -> Iterator[Check]:
    found = {topic.name: facts.topics[topic.name].partitions for topic in topics if topic.name in facts.topics}
    lanes = {name: found[name] for topic in topics if (name := topic.name) in found and topic.partitions == kafka.lanes}
    single = {name: found[name] for topic in topics if (name := topic.name) in found and topic.partitions == 1}
    wrong = {name: count for name, count in lanes.items() if count != kafka.lanes}
    sentence = f"every lane's topic has {_count(kafka.lanes, 'partition')}, as LANES says"
    mend = ""
    if wrong:
        counts = ", ".join(f"{name} has {_count(count, 'partition')}" for name, count in wrong.items())
        sentence = f"{counts}, and LANES is {kafka.lanes}"
        mend = _fewer(facts, kafka, lanes, wrong)
    yield _check("partitions", bool(wrong), sentence, mend)
    many = [name for name, count in single.items() if count != 1 and kafka.lanes != 1]
    said = f"{', '.join(many)} must have 1 partition" if many else "checkpoints and dead letters have 1 partition each"
    mend = "consumer setup with another TOPIC_PREFIX, then reconciler verify --repair"
    yield _check("single partitions", bool(many), said, mend)


def _fewer(facts: KafkaFacts, kafka: KafkaSettings, lanes: dict[str, int], wrong: dict[str, int]) -> str:
    if len(set(lanes.values())) == 1:
        return f"export LANES={next(iter(lanes.values()))}"
    if all(count < kafka.lanes for count in wrong.values()):
        return "; ".join(
            f"kafka-topics.sh --bootstrap-server {facts.place} --alter --topic {name} --partitions {kafka.lanes}"
            for name in wrong
        )
    return "consumer setup with another TOPIC_PREFIX, then reconciler verify --repair"


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
    mend = "; ".join(_configure(facts, name, f"cleanup.policy={policy}") for name, policy in wrong)
    return _check("cleanup.policy", bool(wrong), sentence, mend)


def _configure(facts: KafkaFacts, topic: str, setting: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server {facts.place} --alter --entity-type topics --entity-name {topic}"
        f" --add-config {setting}"
    )


def _retention(facts: KafkaFacts, topics: list[Wanted], kafka: KafkaSettings) -> Check:
    hours = kafka.topic_retention_hours
    kept = {
        topic.name: found.settings
        for topic in topics
        if topic.settings.get("retention.ms", "-1") != "-1" and (found := facts.topics.get(topic.name))
    }
    short = [name for name, settings in kept.items() if 0 <= int(settings.get("retention.ms", -1)) < hours * 3_600_000]
    small = [name for name, settings in kept.items() if int(settings.get("retention.bytes", -1)) >= 0]
    sentence = f"changes are kept for {hours} hours at least"
    if short:
        sentence = f"{', '.join(short)} keep changes for less than TOPIC_RETENTION_HOURS={hours}"
    elif small:
        sentence = f"{', '.join(small)} may drop changes before TOPIC_RETENTION_HOURS={hours}, by retention.bytes"
    mends = [_configure(facts, name, f"retention.ms={hours * 3_600_000}") for name in short]
    mends += [_configure(facts, name, "retention.bytes=-1") for name in small]
    state = State.FAILED if short else State.WARNING if small else State.OK
    return _check("retention", state, sentence, "; ".join(mends))


def _letters(facts: KafkaFacts, kafka: KafkaSettings) -> Check:
    name = kafka.topic(DEAD_LETTERS)
    found = facts.topics.get(name)
    wrong = unfit(found.settings) if found is not None and found.settings else {}
    if not wrong:
        return _check("dead letters", False, "dead letters are kept whole, and until somebody settles them", "")
    said = ", ".join(f"{key}={found.settings.get(key)}" for key in wrong) if found is not None else ""
    mend = "; ".join(_configure(facts, name, f"{key}={value}") for key, value in wrong.items())
    return _check(
        "dead letters", State.WARNING, f"{name} has {said} and may lose dead letters that nobody has settled", mend
    )


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
    mend = "run three brokers, and kafka-reassign-partitions.sh with three replicas for each partition"
    return _check("replication", State.WARNING if few else State.OK, sentence, mend)


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
    mend = "; ".join(
        _configure(facts, name, f"min.insync.replicas={max(1, topic.replicas - 1)}") for name, topic in wrong.items()
    )
    return _check("min.insync.replicas", state, sentence, mend)


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
    denied = "READ" not in facts.group_operations
    said = f"{facts.principal} may {'not ' if denied else ''}read as group {group}"
    yield _check("group ACLs", denied, said, f"{add} --operation Read --operation Describe --group {group}")


def _transactions(facts: KafkaFacts, kafka: KafkaSettings) -> Check:
    mend = (
        f"kafka-acls.sh --bootstrap-server {facts.place} --add --allow-principal {facts.principal} --operation Write"
        f" --operation Describe --transactional-id {kafka.topic_prefix}. --resource-pattern-type prefixed"
    )
    sentence = "transactions can be had"
    if facts.transactions:
        sentence = f"transactions cannot be had: {facts.transactions}"
        if "uthoriz" not in facts.transactions:
            mend = "start the brokers that are missing, or lower transaction.state.log.min.isr"
    return _check("transactions", bool(facts.transactions), sentence, mend)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
