"""What every test shares: property tests that repeat themselves in CI, the order and groups of tests, and logs of
failures."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests.support import processes
from tests.support.grouping import Grouped

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "explore")

TESTS: Final = Path(__file__).parent
LONGEST_FIRST: Final = (
    "integration/runbook/test_runbook.py",
    "integration/security/test_fortress.py",
    "integration/mysql/test_collations.py",
    "integration/test_demo.py",
    "integration/observe/test_prometheus.py",
    "integration/reader/test_ways_on.py",
    "integration/reader/test_topics_changed.py",
    "integration/binlog/test_network.py",
    "integration/reconciler/web/test_page.py",
    "integration/binlog/test_positions.py",
    "servers/own/test_private.py",
    "integration/reader/test_taking_over.py",
    "integration/test_variants.py",
    "integration/reader/test_reader.py",
    "integration/reader/test_moving.py",
    "integration/reader/test_passed_over.py",
    "integration/test_moves.py",
    "integration/reconciler/test_queries.py",
    "integration/compatibility/test_debezium.py",
    "integration/test_status.py",
    "integration/test_more_lanes.py",
    "integration/test_ids.py",
    "integration/reconciler/test_lag.py",
    "integration/doctor/test_mysql.py",
    "integration/reconciler/web/test_serve.py",
)
"""Where tests are that take long by themselves or share what is long in setting up: begun last, one of them would keep
the other workers waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest first; whichever worker is free takes the next."""
    rank = {TESTS / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped | None:
    """Keeps together what shares a fixture."""
    return Grouped(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(scope="session", autouse=True)
def logs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the logs of processes where pytest keeps what tests write."""
    processes.keep_logs(tmp_path_factory.mktemp("logs"))


def pytest_runtest_setup() -> None:
    """Begins a test without the processes of those before."""
    processes.forget_ended()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the end of every process's log with a test that failed."""
    report = yield
    if report.failed:
        report.sections += [(f"the end of the log of {name}", tail) for name, tail in processes.tails()]
    return report
