"""What an applier's log says of the lanes it holds. It is written as JSON, one event a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

_GIVEN_UP: Final = frozenset({"lanes_lost", "lane_taken", "lanes_revoked"})
"""The last one where the group was about to share the lanes out anew when the applier was stopped."""
_NONE_YET: Final = frozenset({"applier_started", "lanes_lost", "lanes_revoked"})


def holds_lanes(lines: Sequence[str]) -> bool:
    """Whether an applier whose log ends like this has lanes; an earlier life of the same process does not count."""
    for event in _events(reversed(lines)):
        if event["event"] == "lanes_assigned":
            return bool(event["lanes"])
        if event["event"] in _NONE_YET:
            return False
    return False


def gave_up_lanes(lines: Iterable[str]) -> bool:
    """Whether it noticed, in these lines, that others went on without it."""
    return any(event["event"] in _GIVEN_UP for event in _events(lines))


def got_lanes(lines: Iterable[str]) -> bool:
    """Whether lanes were assigned to it in these lines."""
    return any(event["event"] == "lanes_assigned" for event in _events(lines))


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("{") and line.rstrip().endswith("}"):  # others are librdkafka's, or cut off by SIGKILL
            event: dict[str, Any] = msgspec.json.decode(line)
            yield event
