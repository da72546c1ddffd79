"""Which versions of servers and of Python the tests were run with, from what `make test-versions` wrote down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parents[2] / "tests" / "versions" / "results.json"

_HEAD: Final = """# Versions

Made from [results.json](../../tests/versions/results.json), which `make test-versions` writes; not edited by
hand. Each line is one run of the tests that touch the server (of Python: the unit tests and a choice of the others),
by two workers, against a real one of that version; what failed beside other tests was tried once more alone, as in
`make test`, and is counted as it ended. Where "core" stands, only the tests were run that look most closely and take
least (`python -m tests.versions --core`).

| | as it names itself | run on | tests | passed | failed | skipped | on the second try | minutes |
|---|---|---|---|---|---|---|---|---|
"""
_MYSQL: Final = """
## MySQL

Everything is tested with MySQL 9.7 by `make test`. MySQL 8.0 and 8.4 could not be had as servers where this was
written: no run against them stands here. Their events were built byte by byte from the sources of those servers
instead, and are read by the unit tests in [test_mysql_8.py](../../tests/unit/binlog/test_mysql_8.py), whose docstrings
name the source file of each.
"""


def page() -> str:
    """The page."""
    results: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    names = sorted(results, key=lambda name: (name.split()[0], [int(part) for part in name.split()[1].split(".")]))
    lines = [_line(name, results[name]) for name in names]
    return _HEAD + "\n".join(lines) + "\n" + _details(names, results) + _MYSQL


def _line(name: str, outcome: dict[str, Any]) -> str:
    if "missing" in outcome:
        return f"| {name} | not to be had: {_cell(outcome['missing'])} | {outcome['date']} | | | | | | |"
    figures = [outcome[key] for key in ("passed", "failed", "skipped", "second_try")]
    tests = "core" if outcome["core"] else "all"
    cells = [name, outcome["reported"], outcome["date"], tests, *figures, round(outcome["seconds"] / 60, 1)]
    return f"| {' | '.join(map(str, cells))} |"


def _details(names: list[str], results: dict[str, dict[str, Any]]) -> str:
    """What was skipped and why, and what failed."""
    listed = []
    for name in names:
        listed += [f"- {name}, failed: `{test}`" for test in results[name].get("failures", ())]
        listed += [f"- {name}, {count} skipped: {_cell(why)}" for why, count in results[name].get("skips", {}).items()]
    return "\n## What did not run, and what failed\n\n" + "\n".join(listed) + "\n" if listed else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
