"""One engine and one stack for all tests of this folder: bringing them up is most of the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy import images
from tests.deploy.engine import Engine, engine
from tests.deploy.stack import Stack

IMAGE = "leadstream:latest"


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """An engine that has our image and those that the compose file needs."""
    with engine() as found:
        yield found


@pytest.fixture(scope="session")
def names(docker: Engine) -> dict[str, str]:
    """The images, by the compose file's variables; ours built anew."""
    found = images.provide(docker)
    images.build_ours(docker, found["BASE_IMAGE"], IMAGE)
    return found


@pytest.fixture(scope="session")
def stack(docker: Engine, names: dict[str, str]) -> Iterator[Stack]:
    """Everything up and healthy, with data of its own and ports that Docker chooses."""
    ports = {"RECONCILER_PORT": "0", "PROMETHEUS_PORT": "0", "GRAFANA_PORT": "0"}
    files = ["docker-compose.yml"]
    if not images.has_grafana(docker):
        files.append("tests/deploy/without-grafana.yml")
    up = Stack(docker, {**names, **ports, "LEADSTREAM_IMAGE": IMAGE}, files=files)
    up.down()
    try:
        up.up()
        yield up
    finally:
        up.down()
