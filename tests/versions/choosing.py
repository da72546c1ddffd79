"""A plugin of pytest that leaves those tests which touch a server, or do not: `-p tests.versions.choosing`.

What a test touches is told by its name, its file's name, and its fixtures.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the two options."""
    parser.addoption("--touching", metavar="KIND", help="only tests that touch this kind of server")
    parser.addoption("--not-touching", metavar="KIND", help="no test that touches this kind of server")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects what is not wanted."""
    wanted, unwanted = config.getoption("--touching"), config.getoption("--not-touching")
    kept = [
        item
        for item in items
        if (wanted is None or touches(item, wanted)) and (unwanted is None or not touches(item, unwanted))
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def touches(item: pytest.Item, kind: str) -> bool:
    """Whether a test says that it needs a kind of server: by a parameter, a fixture, or a name."""
    parameters, fixtures = item.name.lower(), getattr(item, "fixturenames", ())
    return kind in parameters or kind in item.path.stem or any(kind in name for name in fixtures)
