"""How much lies in one folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
MOST: Final = 18
NUMBERED: Final = "consumer/store/schema/migrations/versions"
"""Migrations, of which there are more with every release."""


def test_no_folder_holds_more_modules_than_can_be_seen_at_once() -> None:
    modules = (path for part in ("consumer", "reconciler", "deploy", "tests") for path in (ROOT / part).rglob("*.py"))
    counted = Counter(
        str(path.parent.relative_to(ROOT)) for path in modules if path.name not in ("__init__.py", "conftest.py")
    )
    assert len(counted) > 1
    assert {folder: count for folder, count in counted.items() if count > MOST and folder != NUMBERED} == {}
