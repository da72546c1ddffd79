"""The first deployment and the runbook, read as one: their sections, and the commands in each."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.servers.places import PROJECT

PAGES = (PROJECT / "docs" / "tutorial.md", PROJECT / "docs" / "how-to" / "runbook.md")


class Section(NamedTuple):
    """A section's heading, its anchor on the page, and its blocks of commands in their order."""

    heading: str
    anchor: str
    blocks: list[str]


def text() -> str:
    """Both pages, the first deployment before the runbook."""
    return "".join(page.read_text() for page in PAGES)


def sections() -> list[Section]:
    """Every section of both, from the top down."""
    parts = re.split(r"^#+ (.+)$", text(), flags=re.MULTILINE)
    return [
        Section(heading, heading.lower().replace(" ", "-"), re.findall(r"^```sh\n(.*?)^```$", body, re.M | re.S))
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    ]


LASTING = ("consumer read", "consumer apply", "reconciler serve")
"""Commands that run until they are stopped."""


def alert_commands() -> list[str]:
    """The commands that the alerts' sections name in passing and that end by themselves."""
    ended = [command for command in _in_passing("(?:consumer|reconciler) ") if not command.startswith(LASTING)]
    return [f"{command} --all" if command.endswith(("retry", "discard")) else command for command in ended]


def lasting_commands() -> list[str]:
    """The commands that the alerts' sections name in passing and that run until they are stopped."""
    return [command for command in _in_passing("(?:consumer|reconciler) ") if command.startswith(LASTING)]


def alert_queries() -> list[str]:
    """The statements that the alerts' sections name in passing: MySQL's begin with SHOW, PostgreSQL's with SELECT."""
    return _in_passing("(?:SELECT|SHOW) ")


def _in_passing(begin: str) -> list[str]:
    _, _, alerts = text().partition("## Alerts")
    return sorted(set(re.findall(rf"`({begin}[^`<]+)`", alerts)))
