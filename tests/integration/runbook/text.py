"""The runbook, read: its sections, and the commands in each."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.servers.places import PROJECT

RUNBOOK = PROJECT / "deploy" / "RUNBOOK.md"


class Section(NamedTuple):
    """A section's heading, its anchor on the page, and its blocks of commands in their order."""

    heading: str
    anchor: str
    blocks: list[str]


def sections() -> list[Section]:
    """Every section of the runbook, from the top down."""
    parts = re.split(r"^#+ (.+)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    return [
        Section(heading, heading.lower().replace(" ", "-"), re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S))
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    ]


def alert_commands() -> list[str]:
    """The commands that the alerts' sections name in passing, but for those that run until they are stopped."""
    _, _, alerts = RUNBOOK.read_text().partition("## Alerts")
    found = sorted(set(re.findall(r"`((?:consumer|reconciler) [^`<]+)`", alerts)))
    ended = [
        command for command in found if not command.startswith(("consumer read", "consumer apply", "reconciler serve"))
    ]
    return [f"{command} --all" if command.endswith(("retry", "discard")) else command for command in ended]
