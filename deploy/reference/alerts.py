"""All alerts, from Prometheus's rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from deploy.alerts import RULES

ABOUT: Final = """# Alerts

Made by `make reference` from `deploy/prometheus/alerts.yml`; not edited by hand. Each name leads to what it means
and what to do. `page`: customers or money are affected now; `warn`: look at it within the day. Every alert keeps the
label `deployment`. The times are how long it has to be so.
"""
_SUMMARY: Final = re.compile(r"^\{\{ \$labels\.deployment \}\}: ")


def page() -> str:
    """The page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield ABOUT
    for group in yaml.safe_load((RULES / "alerts.yml").read_text(encoding="utf-8"))["groups"]:
        yield from (f"## {group['name'].removeprefix('leadstream-').capitalize()}", "")
        yield from ("| alert | severity | after | what it says |", "|---|---|---|---|")
        yield from map(_row, group["rules"])
        yield ""


def _row(rule: dict[str, Any]) -> str:
    name = rule["alert"]
    said = _SUMMARY.sub("", rule["annotations"]["summary"])
    said = re.sub(r"\{\{[^}]*\$value[^}]*\}\}", "…", said)
    said = re.sub(r"\{\{ ?\$labels\.(\w+)[^}]*\}\}", r"(\1)", said).replace("|", "\\|")
    link = f"[{name}](../how-to/runbook.md#{name.lower()})"
    return f"| {link} | {rule['labels']['severity']} | {rule.get('for', 'at once')} | {said} |"
