"""Where partitions end, what is not committed yet included.

A commit reaches one partition after the other, and two producers of a reader take turns: what is committed may be
visible in one partition before what was committed earlier is in another. Whoever is to see all that was committed by
now reads up to these ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer.settings import KafkaSettings, SettingsError
from consumer.stream.credentials import Credentials

ANSWER_SECONDS: Final = 10.0

log: Final = structlog.get_logger()


Ends = Callable[[int], list[int] | None]
"""Where the partitions of this number end right now, by topic; None where Kafka does not say."""


def ends_in_kafka(topics: Sequence[str], settings: KafkaSettings) -> Ends:
    """Asks Kafka; `topics` are the full names, in the order of a lane's partitions.

    librdkafka forgets the error of a broker that goes away before it has answered: that partition has no error and an
    offset that is none (rd_kafka_ListOffsets_response_merge in rdkafka_admin.c). Behind a crash it goes on asking under
    the epoch of the leader that was, for up to `metadata.max.age.ms`, a quarter of an hour: refusals of that do not
    make it look anew (rd_kafka_admin_result_err_refresh). So a client without an answer is asked no more.
    """
    credentials = Credentials(settings)
    admin: AdminClient | None = AdminClient(_properties(settings))

    def ask(number: int) -> list[int] | None:
        nonlocal credentials, admin
        try:
            if admin is None:
                credentials = credentials.of_next_client()
                admin = AdminClient(_properties(settings))
            credentials.look(admin)
            return _ask(admin, topics, number)
        except (KafkaException, SettingsError, _Unanswered) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            # Its frames hold the client, and with the future's they are a ring: it would live, with its threads, until
            # the collector comes, which an applier without work does not see.
            error.__traceback__ = None
        admin = None
        log.warning("partition_ends_unknown", lane=number, reason=reason)
        return None

    return ask


class _Unanswered(Exception):
    """The broker went away before it had answered."""


def _ask(admin: AdminClient, topics: Sequence[str], number: int) -> list[int]:
    """Where the partitions of this number end, by topic. Raises KafkaException, _Unanswered."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, number): latest for topic in topics}
    answers = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ANSWER_SECONDS)
    found = {answer.topic: future.result().offset for answer, future in answers.items()}
    if min(found.values()) < 0:
        raise _Unanswered("the broker went away before it had answered")
    return [found[topic] for topic in topics]


def _properties(settings: KafkaSettings) -> dict[str, str | int | float | bool]:
    return {**settings.librdkafka, "log_level": "0"}
