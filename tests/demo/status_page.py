"""`reconciler serve` beside the demo: the status page for a look, and the sweeps, which are started there."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.demo.pipeline import Pipeline
from tests.support.processes import Process, ProcessFailed

SWEEPS: Final = ("new-users", "new-requirements", "unsigned-conversions", "requirements-conversions")
ANSWER_SECONDS: Final = 60.0


class StatusPage:
    """The process, and where its page is once it has started."""

    def __init__(self, pipeline: Pipeline, port: int) -> None:
        """At port 0 it takes any that is free."""
        self.url = ""
        self._token = secrets.token_hex(16)
        env = {**pipeline.env, "HTTP_PORT": str(port), "API_TOKEN": self._token}
        self.process = Process("serve", "reconciler", ["serve"], env, pipeline.folder)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="sweeps")
        self._sweeping: Future[bool] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers. Raises ProcessFailed, NeverCame."""
        before = len(self.process.lines())
        self.process.start()
        self.process.until(lambda: self._serving(before), "the status page was served")
        self.url = f"http://127.0.0.1:{self._serving(before)}/"
        self.process.until(self._answers, "the status page answered")

    def sweep(self) -> None:
        """Starts the four sweeps, unless the last ones are still under way."""
        if not self.sweeping:
            self._sweeping = self._worker.submit(self._sweep)

    @property
    def sweeping(self) -> bool:
        """Whether sweeps are under way."""
        return self._sweeping is not None and not self._sweeping.done()

    def swept(self) -> bool:
        """Whether sweeps have ended since this was asked last. Raises ProcessFailed where one failed."""
        if self._sweeping is None or not self._sweeping.done():
            return False
        done, self._sweeping = self._sweeping, None
        return done.result()

    def stop(self) -> None:
        """Waits for the sweeps under way, and ends the process in good order. Raises ProcessFailed."""
        if self._sweeping is not None:
            self._sweeping.result()
            self._sweeping = None
        self.process.terminate()
        self.process.succeed()

    def close(self) -> None:
        """Ends the process, and all that it runs, at once."""
        self.process.end()
        self._worker.shutdown()

    def _serving(self, before: int) -> int:
        """The port that it has logged since then; 0: none yet."""
        lines = self.process.lines()[before:]
        address = next((line["address"] for line in lines if line.get("event") == "reconciler_started"), ":0")
        return int(address.rpartition(":")[2])

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}health/live", timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - an address of ours
                return bool(answer.status == HTTPStatus.OK)
        except (URLError, OSError):
            return False

    def _sweep(self) -> bool:
        for name in SWEEPS:
            request = Request(  # noqa: S310
                f"{self.url}sweeps/{name}", json.dumps({}).encode(), {"Authorization": f"Bearer {self._token}"}
            )
            request.add_header("Content-Type", "application/json")
            try:
                with urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310
                    continue
            except HTTPError as error:
                if error.code != HTTPStatus.CONFLICT:  # the hour's own sweep runs just now
                    raise ProcessFailed(f"the sweep {name} answered {error.code}: {error.read().decode()}") from error
            except (URLError, OSError) as error:
                raise ProcessFailed(f"the sweep {name} was not answered ({error})") from error
        return True
