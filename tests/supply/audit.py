"""`make audit`: asks pip-audit whether weaknesses of the locked packages are known.

Fails where one is found. Where no vulnerability service can be reached, nothing was audited; that is said, in so many
words, and is no failure: a machine without a way out must still be able to build.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
SERVICES = ("pypi", "osv")
SECONDS = 240


@dataclass(frozen=True)
class Verdict:
    """What one service said: weaknesses as `package version: id (fixed in …)`, packages it knew and did not know."""

    weaknesses: list[str]
    audited: int
    unknown: int


def verdict(report: dict[str, Any]) -> Verdict:
    """The verdict in a JSON report of pip-audit."""
    weaknesses, audited, unknown = [], 0, 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown += 1
            continue
        audited += 1
        for found in package["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "nothing yet"
            weaknesses.append(f"{package['name']} {package['version']}: {found['id']} (fixed in {fixed})")
    return Verdict(weaknesses, audited, unknown)


def ask(service: str, lock: Path) -> Verdict | None:
    """Has the service look at a lock file; None where it does not answer."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip",
        "--vulnerability-service", service, "--format", "json", "--progress-spinner", "off", "--timeout", "10",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    return verdict(json.loads(done.stdout)) if done.stdout.startswith("{") else None


def main() -> int:
    """1 where a weakness is known, else 0."""
    lock = PROJECT / "requirements.lock"
    for service in SERVICES:
        found = ask(service, lock)
        if found is None or not found.audited:
            print(f"audit: the vulnerability service {service} cannot be reached or knows none of our packages")
            continue
        for weakness in found.weaknesses:
            print(f"audit: {weakness}")
        print(
            f"audit: {service} knew {found.audited} packages of {lock.name}, {found.unknown} it did not know;", end=" "
        )
        print(f"{len(found.weaknesses)} weaknesses")
        return 1 if found.weaknesses else 0
    print(f"audit: NOT AUDITED: no vulnerability service can be reached from here, so nothing is known of {lock.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
