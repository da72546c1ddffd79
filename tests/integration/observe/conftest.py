"""The running system under load, scraped by a real Prometheus: set up once for all that look at it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest
from confluent_kafka import Producer

from tests.demo.company import Company
from tests.demo.pipeline import Addresses, Pipeline
from tests.integration.observe.prometheus import Prometheus
from tests.integration.reconciler.serving import run_to_its_end
from tests.servers import ensure
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import until

TOKEN: Final = "a-token-for-this-test"
CUSTOMERS: Final = 200
LOAD_SECONDS: Final = 8.0
FALSIFY: Final = """
UPDATE leadstream.leads SET enabled = NOT enabled
WHERE user_id = (SELECT min(user_id) FROM leadstream.leads WHERE present AND stint > 0)
"""
"""Makes what we hold of one customer differ from what MySQL holds."""


class Observed(Pipeline):
    """A pipeline whose processes each tell their metrics at a port of their own, `reconciler serve` among them."""

    def __init__(self, servers: Addresses, folder: Path) -> None:
        self.ports: dict[str, int] = {}
        settings = {"API_TOKEN": TOKEN, "LOG_FORMAT": "json", "PUBLISH_CONVERSIONS": "true"}
        super().__init__(servers, folder, lanes=4, settings=settings)
        self.serve = self.process("serve", "reconciler", "serve")

    def process(self, name: str, script: str, *arguments: str) -> Process:
        port = self.ports.setdefault(name, free_port())
        variable = "HTTP_PORT" if name == "serve" else "METRICS_PORT"
        return Process(name, script, list(arguments), {**self.env, variable: str(port)}, self.folder)

    @property
    def processes(self) -> list[Process]:
        return [self.reader, *self.appliers, self.serve]

    @property
    def targets(self) -> dict[str, list[int]]:
        """Ports by Prometheus's jobs."""
        appliers = [self.ports[process.name] for process in self.appliers]
        return {"reader": [self.ports["reader"]], "applier": appliers, "reconciler": [self.ports["serve"]]}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """What Prometheus knows of some seconds of load, a sweep of each kind, repaired drift, and a dead letter."""
    servers = ensure(("mysql", "kafka", "postgres"))
    folder = tmp_path_factory.mktemp("observed")
    addresses = Addresses(servers.mysql_url, servers.postgres_url, servers.kafka_bootstrap)
    with Observed(addresses, folder) as pipeline:
        pipeline.create()
        with Company(pipeline.mysql_url, pipeline.folder, rate=60, seed=7, moves=False) as company:
            company.load(CUSTOMERS)
            pipeline.prepare()
            pipeline.start()
            with Prometheus(folder, pipeline.targets) as found:
                until(lambda: found.query("count(up == 1)") == [4], "all four processes were scraped")
                until(lambda: found.query("sum(leadstream_lanes)") == [4], "every lane had an applier")
                _live_through(pipeline, company)
                yield found


def _live_through(pipeline: Observed, company: Company) -> None:
    company.start()
    end = time.monotonic() + LOAD_SECONDS
    _set_one_aside(pipeline)
    with httpx.Client(base_url=f"http://127.0.0.1:{pipeline.ports['serve']}", timeout=60) as reconciler:
        until(lambda: reconciler.get("/health/ready").status_code == 200, "the reconciler was ready")
        while time.monotonic() < end:
            company.check()
            pipeline.check()
            for user_id in range(1, 6):
                reconciler.get(f"/leads/{user_id}/precall", params={"expected": "none"})
            time.sleep(0.3)
        company.stop()
        pipeline.drain()
        with psycopg.connect(pipeline.postgres_url, autocommit=True) as connection:
            connection.execute(FALSIFY)
        run_to_its_end(reconciler, "/verify", TOKEN, repair=True)


def _set_one_aside(pipeline: Observed) -> None:
    producer = Producer({"bootstrap.servers": pipeline.servers.kafka})
    producer.produce(f"{pipeline.name}.users", value=b"no message of ours", partition=0)
    assert producer.flush(30) == 0
