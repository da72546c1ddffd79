"""The user that a message is about which nobody can apply."""

from __future__ import annotations

import json

import pytest

from consumer.applier.decoding import user_of


def block(user_id: int | None) -> bytes:
    lane = {"epoch": 1, "seq": 1, "version": 1, "user_id": user_id, "last": True}
    return json.dumps({"after": {"id": "?"}, "lane": lane}).encode()


@pytest.mark.parametrize(
    ("key", "value", "user_id"),
    [
        (b"5", b"?", 5),
        (b"8", block(5), 5),
        (b"8", block(None), None),
        (b"8", block(2**63), None),
        (b"8", block(-(2**63) - 1), None),
        (b"8", block(-(10**30)), None),
        (b"5", None, 5),
        (None, b"?", None),
        (b"", b"?", None),
        (b"-5", b"?", None),
        (b"\xd9\xa5", b"?", None),
        (b"9" * 18, b"?", 10**18 - 1),
        (b"9" * 19, b"?", None),
    ],
)
def test_a_message_is_about_the_user_of_its_lane_block_or_else_of_its_key(
    key: bytes | None, value: bytes | None, user_id: int | None
) -> None:
    assert user_of(key, value, is_heartbeat=False) == user_id


def test_a_heartbeat_is_nobodys() -> None:
    assert user_of(b"5", b"?", is_heartbeat=True) is None
