"""`reconciler serve` as a process, and a client for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import PATIENCE, until

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
        """Starts a run, which may outlast the answer."""
        return self.client.post(path, headers=_bearer(token), json=fields or None)

    def run(self, path: str, token: str, **fields: object) -> dict[str, Any]:
        """Starts a run and waits for its end; returns its outcome, error and counts."""
        return run_to_its_end(self.client, path, token, **fields)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tells it to stop; returns the exit code."""
        return self.process.stop(number)


def run_to_its_end(client: httpx.Client, path: str, token: str, **fields: object) -> dict[str, Any]:
    """Starts a run at the API and waits for its end, however long that takes; returns its outcome, error and counts."""
    name = path.rsplit("/", 1)[-1]

    def newest() -> dict[str, Any]:
        records = client.get("/v1/runs", headers=_bearer(token)).raise_for_status().json()
        return next((record for record in records if record["name"] == name), {})

    def start() -> httpx.Response | None:
        answer = client.post(path, headers=_bearer(token), json=fields or None)
        is_beside_another = answer.status_code == httpx.codes.CONFLICT and "is running already" in answer.text
        return None if is_beside_another else answer

    until(lambda: newest().get("finished_at", "there was none"), f"no other {name} was under way", seen=newest)
    before = newest().get("started_at")
    answer = until(start, f"{name} could be started", seen=newest)
    assert answer is not None
    assert answer.status_code in (httpx.codes.OK, httpx.codes.ACCEPTED), answer.text
    if answer.status_code == httpx.codes.OK:
        ended: dict[str, Any] = answer.json()
        return ended

    def end() -> dict[str, Any] | None:
        record = newest()
        return record if record.get("finished_at") and record["started_at"] != before else None

    record = until(end, f"{name}, which was under way, ended", seen=newest)
    assert record is not None
    return {"name": name, "outcome": record["outcome"], "error": record["error"], **record["counts"]}


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@contextmanager
def serving(world: ReconcilerWorld, *, ready: str = "/health/ready", **settings: str) -> Iterator[Served]:
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
