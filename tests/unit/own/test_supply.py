"""The audit fails for a known weakness and only says so where nothing could be asked; the bill names every package."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.supply import audit, sbom

CLEAN = {"name": "psycopg", "version": "3.3.0", "vulns": []}
WEAK = {"name": "jinja2", "version": "3.1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"], "aliases": []}]}
UNKNOWN = {"name": "typer", "skip_reason": "Dependency not found"}


def test_a_report_is_told_apart_into_weaknesses_packages_known_and_unknown() -> None:
    found = audit.verdict({"dependencies": [CLEAN, WEAK, UNKNOWN], "fixes": []})
    assert found == audit.Verdict(["jinja2 3.1.0: PYSEC-1 (fixed in 3.1.6)"], audited=2, unknown=1)


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ([audit.Verdict(["jinja2 3.1.0: PYSEC-1 (fixed in 3.1.6)"], 2, 0)], 1, "jinja2 3.1.0: PYSEC-1"),
        ([audit.Verdict([], 2, 1)], 0, "pypi knew 2 packages of requirements.lock, 1 it did not know; 0 weaknesses"),
        ([audit.Verdict([], 0, 90), audit.Verdict([], 90, 0)], 0, "osv knew 90 packages"),
        ([None, audit.Verdict(["x 1: CVE-1 (fixed in nothing yet)"], 90, 0)], 1, "CVE-1"),
        ([audit.Verdict([], 0, 90), None], 0, "NOT AUDITED: no vulnerability service can be reached from here"),
    ],
)
def test_the_audit_fails_for_a_weakness_and_says_when_it_could_ask_nobody(
    answers: list[audit.Verdict | None],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = iter(answers)
    monkeypatch.setattr(audit, "ask", lambda _service, _lock: next(waiting))
    assert audit.main() == code
    assert words in capsys.readouterr().out


def test_the_bill_of_materials_is_valid_and_names_every_package_that_the_image_runs(tmp_path: Path) -> None:
    bill = tmp_path / "sbom.json"
    sbom.write(sbom.LOCK, bill)
    found = {component["name"] for component in json.loads(bill.read_text())["components"]}
    assert found == set(re.findall(r"^([a-z0-9._-]+)==", sbom.LOCK.read_text(), re.MULTILINE))
