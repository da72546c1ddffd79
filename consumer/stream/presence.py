"""What the reader reports of itself, in a header of its checkpoints: for that it needs no other server than Kafka."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import msgspec

from consumer.process import Process, myself

Headers = list[tuple[str, str | bytes | None]]

HEADER: Final = "process"
RENEW_SECONDS: Final = 15.0
"""How often the header is made anew: memory is asked of the kernel, and commits are many."""


class ProcessHeader:
    """The header with what the reader reports of itself."""

    def __init__(self) -> None:
        self._made: Headers = []
        self._due = 0.0

    def headers(self) -> Headers:
        """The headers of a checkpoint, at most RENEW_SECONDS old."""
        if time.monotonic() >= self._due:
            self._made = [(HEADER, msgspec.json.encode(myself("reader")))]
            self._due = time.monotonic() + RENEW_SECONDS
        return self._made


def process_of(headers: Mapping[str, str | bytes | None] | Headers | None) -> Process | None:
    """Who wrote a message; None where it does not say."""
    encoded = dict(headers or ()).get(HEADER)
    if encoded is None:
        return None
    try:
        return msgspec.json.decode(encoded, type=Process)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
