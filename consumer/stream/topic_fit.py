"""Whether topics that exist serve us, and what helps where they do not. Pure: numbers and settings in, words out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REPAIR: Final = "consumer setup --repair"


def uneven(partitions: Mapping[str, int]) -> str | None:
    """Why lanes' topics, name → partitions, cannot be used, and the way on; None where they have the same number.

    Kafka assigns the partitions of one number together only where all topics have as many of them.
    """
    if len(set(partitions.values())) < 2:
        return None
    return f"{counted(partitions)}, and a lane takes one of each; run `{REPAIR}`, which adds those that are missing"


def too_few(partitions: Mapping[str, int], lanes: int) -> str | None:
    """Why lanes' topics, name → partitions, hold not even LANES lanes, and the way on; None where they do."""
    most = max(partitions.values(), default=lanes)
    if most >= lanes:
        return None
    return (
        f"{counted(partitions)}, and LANES is {lanes}; set LANES to the number of the stream's lanes, which is {most}"
        f" at most, or raise the lanes with `consumer setup --lanes {lanes}`"
    )


def counted(partitions: Mapping[str, int]) -> str:
    """How many partitions which topics have, in words."""
    names: dict[int, list[str]] = {}
    for name, count in partitions.items():
        names.setdefault(count, []).append(name)
    parts = [
        f"{', '.join(those)} {'has' if len(those) == 1 else 'have'} {count} partition{'' if count == 1 else 's'}"
        for count, those in sorted(names.items(), reverse=True)
    ]
    return ("topic " if len(next(iter(names.values()), ())) == len(partitions) == 1 else "topics ") + "; ".join(parts)


def lowered(wanted: Mapping[str, str], actual: Mapping[str, str | None]) -> dict[str, str]:
    """What a topic of changes must be set to, so that none is lost early or refused: settings below what is wanted."""
    found = {}
    for key in ("retention.ms", "retention.bytes", "max.message.bytes"):
        if key in wanted and (value := int(actual.get(key) or -1)) >= 0 and not 0 <= int(wanted[key]) <= value:
            found[key] = wanted[key]
    return found


def configure(name: str, settings: Mapping[str, str], servers: str) -> str:
    """Kafka's own command that gives a topic these settings."""
    values = ",".join(f"{key}={value}" for key, value in settings.items())
    return (
        f"kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {name}"
        f" --add-config {values}"
    )
