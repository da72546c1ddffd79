"""A conversion as a CloudEvent 1.0 in JSON: pure.

CloudEvents: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from consumer.store.conversion_events import Recorded, as_data, iso

TYPE: Final = "leadstream.conversion"


def encode(one: Recorded, prefix: str) -> bytes:
    """The event of a deployment, `prefix` being its TOPIC_PREFIX; byte for byte the same however often it is made.

    Its `source` and `id` together are unique, by which whoever gets it twice knows it again.
    """
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": str(one.id),
            "source": f"/leadstream/{prefix}",
            "type": f"{TYPE}.{one.conversion_type.value}",
            "subject": str(one.user_id),
            "time": iso(one.converted_at),
            "datacontenttype": "application/json",
            "partitionkey": str(one.user_id),
            "sequence": f"{one.event_number:020}",
            "data": as_data(one),
        }
    )


def waves(events: Sequence[Recorded]) -> Iterator[list[Recorded]]:
    """The events in their order, cut so that no customer is twice in one wave.

    When each wave is in the topic before the next one is sent, a customer's conversions are there in order, whichever
    message of a wave fails and is sent again.
    """
    wave: list[Recorded] = []
    users: set[int] = set()
    for event in events:
        if event.user_id in users:
            yield wave
            wave, users = [], set()
        wave.append(event)
        users.add(event.user_id)
    if wave:
        yield wave
