"""How tests ended, from the reports that pytest writes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


class Cases:
    """The tests of all runs by name; a later run of a test counts."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._again: set[str] = set()

    def add(self, report: Path) -> None:
        """Takes up a report in JUnit's form."""
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest
            name = f"{case.get('classname')}.{case.get('name')}"
            if self._states.get(name) == "failed":
                self._again.add(name)
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self._states[name] = "failed"
            else:
                self._states[name] = "passed" if skipped is None else "skipped"
            if skipped is not None:
                self._reasons[name] = skipped.get("message", "")

    def counts(self) -> dict[str, object]:
        """Figures and names for the table."""
        count = Counter(self._states.values())
        reasons = Counter(self._reasons[name] for name, state in self._states.items() if state == "skipped")
        return {
            **{state: count[state] for state in ("passed", "failed", "skipped")},
            "second_try": sum(self._states[name] == "passed" for name in self._again),
            "failures": sorted(name for name, state in self._states.items() if state == "failed"),
            "skips": dict(sorted(reasons.items())),
        }
