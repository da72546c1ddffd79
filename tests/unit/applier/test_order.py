"""The files that are taken up first are there."""

from __future__ import annotations

from tests.conftest import LONGEST_FIRST, TESTS


def test_every_file_that_is_taken_up_first_exists() -> None:
    assert [name for name in LONGEST_FIRST if not (TESTS / name).is_file()] == []
