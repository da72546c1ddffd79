"""What tests between servers share: our programs start without importing what every one of them imports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import processes


@pytest.fixture(scope="session", autouse=True)
def quick_starts() -> Iterator[None]:
    """Storms, the demo, the unit tests of our commands and the containers start the real thing."""
    with processes.forking():
        yield
