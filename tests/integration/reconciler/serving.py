"""`reconciler serve` as a process, and a client for it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.reconciler.world import World

PATIENCE = 60.0


class Served:
    """A running `reconciler serve`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.log = log
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Asks."""
        return self.client.get(path, params=parameters)

    def post(self, path: str, token: str | None, **fields: object) -> httpx.Response:
        """Starts a run."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.post(path, headers=headers, json=fields or None)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tells it to stop; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def until(condition: Callable[[], Any], what: str) -> None:
    """Waits until something is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it never came about that {what}"
        time.sleep(0.05)


@contextmanager
def serving(world: World, folder: Path, *, ready: str = "/health/ready", **settings: str) -> Iterator[Served]:
    """Serves a world on a free port, until what `ready` names answers well."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "serve.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            world.line("serve"),
            env=world.environment(**{"HTTP_PORT": str(port), "PRECALL_DEADLINE_MS": "2000", **settings}),
            stdout=output,
            stderr=output,
            cwd=Path(__file__).parents[3],
        )
    served = Served(process, port, log)
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return served.get(ready).status_code == 200
            except httpx.TransportError:
                return False

        until(answers, "the API was ready")
        yield served
    finally:
        served.client.close()
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)
