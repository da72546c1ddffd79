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

from consumer.settings import KafkaSettings
from consumer.stream.credentials import Credentials

ANSWER_SECONDS: Final = 10.0

log: Final = structlog.get_logger()


Ends = Callable[[int], list[int] | None]
"""Where the partitions of this number end right now, by topic; None where Kafka does not say."""


def ends_in_kafka(topics: Sequence[str], settings: KafkaSettings) -> Ends:
    """Asks Kafka; `topics` are the full names, in the order of a lane's partitions."""
    credentials = Credentials(settings)
    admin = AdminClient({**settings.librdkafka, "log_level": "0"})
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]

    def ask(number: int) -> list[int] | None:
        credentials.look(admin)
        asked = {TopicPartition(topic, number): latest for topic in topics}
        try:
            answers = admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ANSWER_SECONDS
            )
            ends = {answer.topic: future.result().offset for answer, future in answers.items()}
        except KafkaException as error:
            log.warning("partition_ends_unknown", lane=number, reason=error.args[0].str())
            return None
        return [ends[topic] for topic in topics]

    return ask
