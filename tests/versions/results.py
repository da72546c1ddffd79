"""What was run when, as JSON; a page of the reference is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parent / "results.json"


def keep(name: str, outcome: Mapping[str, object]) -> None:
    """Puts one combination's outcome in the place of its last one."""
    every = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.write_text(json.dumps({**every, name: outcome}, indent=2, ensure_ascii=False) + "\n")
