"""What every test shares: property tests that repeat themselves in CI, the order of files, and logs of failures."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.support import processes

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "explore")

TESTS: Final = Path(__file__).parent
LONGEST_FIRST: Final = (
    "integration/mysql/test_collations.py",
    "integration/reader/test_reader.py",
    "integration/runbook/test_runbook.py",
    "integration/reader/test_lost_checkpoint.py",
    "integration/reader/test_topics_changed.py",
    "integration/reader/test_ways_on.py",
    "integration/reader/test_passed_over.py",
    "integration/test_variants.py",
    "integration/binlog/test_network.py",
    "integration/security/test_fortress.py",
    "integration/test_demo.py",
    "integration/reconciler/test_serve.py",
    "integration/binlog/test_types.py",
    "integration/reconciler/test_page.py",
    "servers/test_private.py",
    "integration/binlog/test_positions.py",
    "integration/applier/test_bad_input.py",
    "integration/reader/test_moving.py",
    "integration/applier/test_exactly_once.py",
    "integration/security/test_mariadb.py",
    "integration/doctor/test_stream.py",
    "integration/reconciler/test_lag.py",
    "integration/reconciler/test_queries.py",
    "integration/observe/test_prometheus.py",
    "integration/reconciler/test_sweeps.py",
    "integration/test_status.py",
    "integration/compatibility/test_debezium.py",
    "integration/test_more_lanes.py",
    "integration/applier/test_hand_over.py",
    "integration/test_cascades.py",
    "integration/reconciler/test_stopping.py",
)
"""Files that take longer than half a minute: begun last, one of them would keep the other workers waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; a worker that is free takes the next file (`--no-loadscope-reorder`)."""
    rank = {TESTS / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


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
