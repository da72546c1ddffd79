"""The doctor's round: facts from each server, judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from consumer.doctor import at_work, kafka, kafka_facts, mysql, mysql_facts, postgres, postgres_facts, rules
from consumer.doctor.at_work import ReaderStatus
from consumer.doctor.check import Check, Unreachable, away
from consumer.leads.rule_file import RuleFile
from consumer.mysql import comparing
from consumer.mysql.errors import SourceError
from consumer.settings import (
    ApplierSettings,
    DatabaseSettings,
    DiscoverySettings,
    KafkaSettings,
    ReplicaSettings,
)
from consumer.store.rules import Comparisons
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import StreamError

SECONDS: Final = 10.0
"""How long one answer may take."""


def examine(
    replica: ReplicaSettings,
    database: DatabaseSettings,
    stream: KafkaSettings,
    applier: ApplierSettings,
    discovery: DiscoverySettings,
    server_id: int,
) -> list[Check]:
    """Every check on all three servers. `server_id` is our reader's. Raises SettingsError."""
    group = applier.group(stream.topic_prefix)

    def of_kafka() -> list[Check]:
        return kafka.judge(kafka_facts.collect(stream, group, SECONDS), stream, group)

    def of_postgres() -> list[Check]:
        facts = postgres_facts.collect(database.conninfo, SECONDS)
        return postgres.judge(facts, stream.lanes, shadow=discovery.shadow_mode)

    def of_mysql() -> list[Check]:
        facts = mysql_facts.collect(replica.address, SECONDS)
        seen = postgres_facts.first_seen(database.conninfo, SECONDS)
        rows = mysql_facts.created(replica.address, seen, facts, SECONDS)
        return [
            *mysql.judge(
                facts,
                mysql.ReaderFacts(server_id, reader.result().checkpoint, time.time(), reader.result().problem),
                rules.mentioned(database.conninfo, SECONDS),
            ),
            mysql.judge_times(facts, rows, time.time()),
        ]

    def compared(file: RuleFile) -> Comparisons | None:
        try:
            return comparing.ask(replica, file)
        except SourceError:
            return None  # the checks of MySQL report that it cannot be asked

    def of_work() -> list[Check]:
        points = postgres_facts.points(database.conninfo, SECONDS)
        idle = not discovery.smart_discovery_enabled
        return at_work.judge(reader.result(), points, time.time(), idle=idle)

    def of_rules() -> list[Check]:
        return rules.examine(database.conninfo, SECONDS, compared)

    steps = (
        (mysql.SERVER, "REPLICA_DATABASE_URL", of_mysql),
        (kafka.SERVER, "KAFKA_BOOTSTRAP_SERVERS and the other KAFKA_ settings", of_kafka),
        (postgres.SERVER, "DATABASE_URL", of_postgres),
        (postgres.SERVER, "DATABASE_URL", of_work),
        (rules.SERVER, "DATABASE_URL", of_rules),
    )
    with ThreadPoolExecutor(len(steps) + 1) as pool:
        reader = pool.submit(_reader_status, stream)
        parts = pool.map(lambda step: _asked(*step), steps)
        return [check for part in parts for check in part]


def _asked(server: str, setting: str, step: Callable[[], list[Check]]) -> list[Check]:
    try:
        return step()
    except Unreachable as error:
        return [away(server, setting, error)]


def _reader_status(stream: KafkaSettings) -> ReaderStatus:
    """Where the reader stands, as far as Kafka says."""
    try:
        with CheckpointLog(stream, within=SECONDS) as checkpoints:
            return ReaderStatus(checkpoints.last(), checkpoints.written_at or 0.0, checkpoints.written_by)
    except StreamError as error:
        return ReaderStatus(problem=str(error))
