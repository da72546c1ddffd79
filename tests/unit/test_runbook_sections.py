"""The runbook's links lead somewhere, and every block of commands is one that the test of the runbook runs."""

from __future__ import annotations

import re

from tests.integration.runbook.text import alert_commands, alert_queries, lasting_commands, sections, text
from tests.servers.places import PROJECT


def test_each_alert_has_a_section_of_its_name() -> None:
    alerts = re.findall(r"^ +- alert: (\w+)$", (PROJECT / "deploy" / "prometheus" / "alerts.yml").read_text(), re.M)
    headings = [section.heading for section in sections()]
    assert alerts
    assert alerts == headings[headings.index("Alerts") + 1 :]


def test_links_within_the_runbook_lead_to_sections() -> None:
    links = re.findall(r"\]\(#([^)]+)\)", text())
    assert set(links) <= {section.anchor for section in sections()}


def test_every_block_of_commands_is_one_that_the_test_runs() -> None:
    fences = re.findall(r"^```(\w*)$", text(), re.MULTILINE)
    assert set(fences[::2]) == {"sh"}
    assert sum(len(section.blocks) for section in sections()) == len(fences) / 2 > 10
    assert "consumer doctor" in alert_commands()
    assert "reconciler serve" in lasting_commands()
    assert len(alert_queries()) > 2
