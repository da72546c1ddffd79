"""`make sbom`: a CycloneDX bill of materials of what the image runs, dist/sbom.json, validated against its schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

PROJECT = Path(__file__).parents[2]
LOCK = PROJECT / "deploy" / "requirements.lock"
BILL = PROJECT / "dist" / "sbom.json"


def write(lock: Path, bill: Path) -> None:
    """Writes the bill of a lock file. Raises CalledProcessError, ValueError where it is not valid."""
    bill.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "cyclonedx_py", "requirements", str(lock), "--pyproject", str(PROJECT / "pyproject.toml"),
        "--mc-type", "application", "--spec-version", "1.6", "--output-reproducible", "--output-format", "JSON",
        "--output-file", str(bill),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.read_text())
    if problem is not None:
        raise ValueError(f"{bill} is no valid CycloneDX 1.6: {problem}")


if __name__ == "__main__":
    write(LOCK, BILL)
    print(f"{BILL.relative_to(PROJECT)} is a valid CycloneDX 1.6 bill of materials")
