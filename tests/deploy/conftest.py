"""One engine and one stack for all tests of this folder: bringing them up is most of the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.deploy import images
from tests.deploy.engine import Engine, engine
from tests.deploy.stack import Stack
from tests.servers.places import ServerError

IMAGE = "leadstream:latest"


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """An engine. Where DEPLOY_TESTS is `where-possible`, a machine that cannot run one is told of and passed over."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(engine())
        except ServerError as error:
            if os.environ.get("DEPLOY_TESTS") != "where-possible":
                raise
            pytest.skip(
                f"nothing of the image and the compose file was tried, because no Docker engine runs here: {error}"
            )
        yield found


@pytest.fixture(scope="session")
def parts(docker: Engine) -> dict[str, str]:
    """The images of the servers and the one that ours is built on, by the compose file's variables."""
    return images.provide(docker)


@pytest.fixture(scope="session")
def names(docker: Engine, parts: dict[str, str]) -> dict[str, str]:
    """The same, with ours built anew."""
    images.build_ours(docker, parts["BASE_IMAGE"], IMAGE)
    return parts


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
