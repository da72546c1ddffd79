"""The whole pipeline behind companies whose tables differ from the usual: exact on MySQL and on MariaDB."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.demo.company_schema import MARIADB_VARIANTS, VARIANTS
from tests.demo.demo import Demo, Options
from tests.demo.former_schema import FORMER
from tests.demo.pipeline import Addresses
from tests.demo.shape import Shape
from tests.demo.view import LineView
from tests.servers import ensure

pytestmark = pytest.mark.servers

SECONDS = 6.0


@pytest.mark.parametrize("shape", [FORMER, *VARIANTS], ids=lambda shape: shape.name)
def test_conversions_and_queues_are_exact_on_mysql(shape: Shape, tmp_path: Path) -> None:
    must_be_exact("mysql", shape, tmp_path)


@pytest.mark.parametrize("shape", [FORMER, *VARIANTS, *MARIADB_VARIANTS], ids=lambda shape: shape.name)
def test_conversions_and_queues_are_exact_on_mariadb(shape: Shape, tmp_path: Path) -> None:
    must_be_exact("mariadb", shape, tmp_path)


def must_be_exact(kind: str, shape: Shape, folder: Path) -> None:
    """Lets the company work, stream and safety net follow it, and compares with the oracle."""
    servers = ensure((kind, "kafka", "postgres"))
    url = servers.mysql_url if kind == "mysql" else servers.mariadb_url
    addresses = Addresses(url, servers.postgres_url, servers.kafka_bootstrap)
    options = Options(seconds=SECONDS, rate=80, seed=12, customers=120, kills={"reader": 1}, shape=shape, moves=False)
    with Demo(options, addresses, folder) as demo, LineView(Console()) as view:
        demo.prepare(view)
        demo.run(view)
        # Where the stream brings everything, a sweep and a verify of everybody find nothing to repair.
        demo.pipeline.command("sweeps", "reconciler", "run", "all", "--everyone")
        demo.pipeline.command("verify", "reconciler", "verify")
        verdict = demo.finish(view)
    assert list(verdict.lines()) == []
    assert verdict.right, verdict.sentence
    assert verdict.conversions > 20
    assert demo.problems == []
