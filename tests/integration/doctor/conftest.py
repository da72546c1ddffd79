"""A company and a call centre on the shared servers, under accounts that may do nothing yet."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.reader.world import ReaderWorld
from tests.servers import kafka_tools


@pytest.fixture
def world() -> Iterator[ReaderWorld]:
    with ReaderWorld("mysql") as world:
        yield world


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Kafka's command-line tools are."""
    return kafka_tools.install(tmp_path_factory.mktemp("kafka-tools"))


def findings(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What `consumer doctor --json` found not to be ok, by `server name`."""
    checks = json.loads(result.stdout.splitlines()[-1])["checks"]
    return {f"{check['server']} {check['name']}": check for check in checks if check["state"] != "ok"}
