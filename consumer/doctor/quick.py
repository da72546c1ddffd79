"""What one process needs before it starts; each loads only the clients of the servers that it talks to."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from consumer.doctor.check import Check, State, Unfit, Unreachable, away
from consumer.settings import DatabaseSettings, DiscoverySettings, KafkaSettings, ReplicaSettings

QUICK_SECONDS: Final = 1.0
"""How long one answer may take; a server that is slower is waited for by the process itself."""

SETUP_SECONDS: Final = 10.0
"""How long one answer may take that setup cannot do without."""

log = structlog.get_logger()


def before_setup(replica: ReplicaSettings, stream: KafkaSettings, server_id: int) -> None:
    """What of MySQL the stream cannot do without, before anything is made anywhere: Unfit also where it is away."""

    from confluent_kafka.admin import AdminClient

    from consumer.doctor import mysql, mysql_facts

    AdminClient({**stream.librdkafka, "log_level": "0"})  # refuses wrong settings before any server is asked
    try:
        facts = mysql_facts.collect(replica.address, SETUP_SECONDS)
    except Unreachable as error:
        raise Unfit([away(mysql.SERVER, "REPLICA_DATABASE_URL", error)]) from error
    _demand(mysql.judge_quick(facts, mysql.ReaderFacts(server_id, None, time.time())))


def before_reading(replica: ReplicaSettings, stream: KafkaSettings, server_id: int) -> None:
    """What a reader needs, within a second or so. Raises Unfit; warnings are logged, a server that is away passes."""

    from consumer.doctor import kafka, kafka_facts, mysql, mysql_facts

    def of_mysql() -> list[Check]:
        facts = mysql_facts.collect(replica.address, QUICK_SECONDS)
        return mysql.judge_quick(facts, mysql.ReaderFacts(server_id, None, time.time()))

    def of_kafka() -> list[Check]:
        return kafka.judge_quick(kafka_facts.collect(stream, "", QUICK_SECONDS, quick=True), stream)

    with ThreadPoolExecutor(2) as pool:
        _demand([check for part in pool.map(_present, (of_mysql, of_kafka)) for check in part])


def before_applying(database: DatabaseSettings, stream: KafkaSettings, discovery: DiscoverySettings) -> None:
    """What an applier needs of PostgreSQL; the topics it checks itself. As `before_reading`.

    Where PostgreSQL does not let us in that is no server that is away: Unfit.
    """

    from consumer.doctor import postgres, postgres_facts

    try:
        facts = postgres_facts.collect(database.conninfo, QUICK_SECONDS)
    except Unreachable as error:
        if error.refused:
            raise Unfit([away(postgres.SERVER, "DATABASE_URL", error)]) from error
        log.debug("precondition_unknown", reason=str(error))
    else:
        _demand(postgres.judge_quick(facts, stream.lanes, shadow=discovery.shadow_mode))


def _present(step: Callable[[], list[Check]]) -> list[Check]:
    try:
        return step()
    except Unreachable as error:
        log.debug("precondition_unknown", reason=str(error))
        return []


def _demand(checks: list[Check]) -> None:
    for check in checks:
        if check.state is State.WARNING:
            if check.name == "retention" and check.server == "kafka":
                log.warning("topic_setting_lowered", reason=check.sentence, hint=check.hint)
            else:
                log.warning("precondition_unmet", server=check.server, reason=check.sentence, hint=check.hint)
    failed = [check for check in checks if check.state is State.FAILED]
    if failed:
        raise Unfit(failed)
