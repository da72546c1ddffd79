"""Servers for the short trials: all of their own, to be restarted at will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.chaos.trial import Ground


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground.prepare(stack)
