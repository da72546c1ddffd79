"""`reconciler serve` as a process, and a client for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.integration.reconciler.world import World
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import PATIENCE

TOKEN = "a-token-for-this-test"


class Served:
    """A running `reconciler serve`."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Asks."""
        return self.client.get(path, params=parameters)

    def post(self, path: str, token: str | None, **fields: object) -> httpx.Response:
        """Starts a run."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.post(path, headers=headers, json=fields or None)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tells it to stop; returns the exit code."""
        return self.process.stop(number)


@contextmanager
def serving(world: World, *, ready: str = "/health/ready", **settings: str) -> Iterator[Served]:
    """Serves a world on a free port, until what `ready` names answers well."""
    port = free_port()
    served = Served(world.start("serve", **({"HTTP_PORT": str(port), "PRECALL_DEADLINE_MS": "2000"} | settings)), port)

    def answers() -> bool:
        try:
            return served.get(ready).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    with served.client:
        served.process.until(answers, "the API was ready")
        yield served
    if served.process.pid is not None:
        served.process.stop()
