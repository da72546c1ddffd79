"""Conversions as CloudEvents."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumer.leads.model import ConversionType, QueueType
from consumer.store.conversion_events import Recorded
from reconciler.cloud_events import encode, waves


def recorded(number: int, user_id: int, kind: ConversionType = ConversionType.SIGNATURE_OBTAINED) -> Recorded:
    at = 1_772_328_600_123_456 + number
    return Recorded(number, user_id, number, QueueType.UNSIGNED_USERS, kind, "f/7", at - 1_000_000, at)


def test_an_event_has_what_cloudevents_demands_and_nothing_of_the_person() -> None:
    event = msgspec.json.decode(encode(recorded(5, 8911), "prod"))
    one = recorded(5, 8911)
    assert event == {
        "specversion": "1.0",
        "id": str(one.id),
        "source": "/leadstream/prod",
        "type": "leadstream.conversion.signature_obtained",
        "subject": "8911",
        "time": "2026-03-01T01:30:00.123461Z",
        "datacontenttype": "application/json",
        "partitionkey": "8911",
        "sequence": "00000000000000000005",
        "data": {
            "id": str(one.id),
            "user_id": 8911,
            "conversion_type": "signature_obtained",
            "previous_queue_type": "unsigned_users",
            "queued_at": "2026-03-01T01:29:59.123461Z",
            "converted_at": "2026-03-01T01:30:00.123461Z",
            "signature_file_id": "f/7",
            "stint": 5,
            "cursor": "5",
        },
    }


def test_documents_handed_in_are_no_signature() -> None:
    event = msgspec.json.decode(encode(recorded(5, 1, ConversionType.REQUIREMENTS_COMPLETED), "prod"))
    assert event["type"] == "leadstream.conversion.requirements_completed"
    assert event["data"]["signature_file_id"] is None


@given(st.lists(st.integers(1, 5), max_size=40))
def test_waves_hold_every_event_in_order_and_no_customer_twice(users: list[int]) -> None:
    events = [recorded(number, user_id) for number, user_id in enumerate(users)]
    cut = list(waves(events))
    assert [event for wave in cut for event in wave] == events
    assert all(wave and len({event.user_id for event in wave}) == len(wave) for wave in cut)
