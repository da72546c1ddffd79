"""One demo from beginning to end: prepare, run under load (and kills), drain, compare."""

from __future__ import annotations

import math
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.demo import transaction_log
from tests.demo.call_centre import CallCentre
from tests.demo.company import Company
from tests.demo.company_schema import COMPANY
from tests.demo.compare import Verdict, compare, compare_company
from tests.demo.oracle import NONE, Oracle
from tests.demo.pipeline import Addresses, Pipeline, State
from tests.demo.shape import Shape
from tests.demo.status_page import StatusPage
from tests.demo.view import Health, Scene, View
from tests.support.processes import Process

KINDS: Final = ("reader", "applier")
_FIRST_SWEEP: Final = 10.0
_SWEEP_SECONDS: Final = 60.0
_TICK: Final = 0.25
_KILLS_WITHIN: Final = 60.0  # of a demo without end


@dataclass(frozen=True)
class Options:
    """How long (s), how much (transactions/s), which story, which processes are killed how often, and whose tables.

    With `moves` claims move between customers. The status page is at `port`; 0: at any that is free.
    """

    seconds: float = 60.0
    rate: float = 50.0
    seed: int = 1
    customers: int = 2000
    kills: dict[str, int] = field(default_factory=dict)
    keep: bool = False
    shape: Shape = COMPANY
    moves: bool = True
    port: int = 0


def parse_kills(text: str) -> dict[str, int]:
    """`reader=5,applier=3` as numbers. Raises ValueError with a sentence."""
    kills = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, number = part.partition("=")
        if kind not in KINDS or not number.isdigit():
            raise ValueError(f"DEMO_KILLS has {part}; it should look like reader=5,applier=3")
        kills[kind] = int(number)
    return kills


class Demo:
    """Use as a context manager: in the end processes, databases and topics are gone, whatever happened.

    The logs stay where something was wrong.
    """

    def __init__(self, options: Options, servers: Addresses, folder: Path) -> None:
        self.options = options
        self.pipeline = Pipeline(servers, folder, shape=options.shape)
        self.company = Company(
            self.pipeline.mysql_url,
            self.pipeline.folder,
            rate=options.rate,
            seed=options.seed,
            moves=options.moves,
            shape=options.shape,
        )
        self.call_centre = CallCentre(self.pipeline.postgres_url, options.seed, options.shape.words.label(NONE))
        self._random = random.Random(f"kills {options.seed}")
        self._began = 0.0
        self.page = StatusPage(self.pipeline, options.port)
        self._sweeps = 0
        self._sweep_due = 0.0
        self._over = False
        self._right = False
        self.problems: list[str] = []
        """Sentences on what could not be deleted in the end."""

    def prepare(self, view: View) -> None:
        """The company's tables and first customers, setup, backfill, and a stream that flows.

        Raises ProcessFailed and NeverCame.
        """
        view.say(f"trial {self.pipeline.name}: logs below {self.pipeline.folder}")
        self.pipeline.create()
        self.company.load(self.options.customers)
        view.say(f"company: {self.company.customers:,} customers in MySQL")
        self.pipeline.prepare()
        view.say("setup and backfill: done")
        self.pipeline.start()
        self.pipeline.await_stream()  # a sweep beside a stream that has not begun is another story
        self.page.start()
        view.say(f"status page: {self.page.url}")
        time.sleep(1.1)  # MariaDB dates commits in whole seconds: the load begins in a later one than the backfill

    def run(self, view: View) -> None:
        """The load, the sweeps and the kills, until the time is over or Ctrl-C.

        Raises CompanyFailed, and ProcessFailed where a process ends that was not killed.
        """
        self.company.start()
        self._began = time.monotonic()
        self._sweep_due = self._began + _FIRST_SWEEP
        end = self._began + self.options.seconds
        kills = self._plan_kills()
        try:
            while time.monotonic() < end:
                while kills and time.monotonic() - self._began >= kills[0][0]:
                    self._kill(kills.pop(0)[1], view)
                self.company.check()
                self.pipeline.check()
                self.page.process.check()
                self._sweep()
                self.call_centre.work()
                view.show(self._scene(self.pipeline.state()))
                time.sleep(_TICK)
        except KeyboardInterrupt:
            view.say("Ctrl-C: the load stops; once more ends the demo at once")
        self.company.stop()
        self._over = True

    def finish(self, view: View) -> Verdict:
        """Waits for the pipeline, stops it and compares. Raises NeverCame, ProcessFailed and the drivers' errors."""
        view.say(f"load over: {self.company.committed:,} transactions committed; the pipeline drains")
        self.page.stop()
        began = time.monotonic()
        self.pipeline.drain(watch=lambda: view.show(self._scene(self.pipeline.state())))
        view.say(f"drained in {time.monotonic() - began:.1f} s; comparing")
        clock = self.pipeline.clock()
        self.pipeline.stop()
        shape = self.options.shape
        oracle = Oracle(shape.words)
        for path in self.company.transaction_logs:
            oracle.replay(transaction_log.read(path))
        verdict = compare(self.pipeline.postgres_url, oracle, clock, left_behind=not shape.foreign_keys)
        for sentence in compare_company(self.pipeline.mysql_url, oracle, shape):
            verdict.notes[0].append(sentence)
        self._right = verdict.right
        return verdict

    def linger(self, view: View) -> None:
        """Keeps the status page, with reader and appliers at work behind it, until Ctrl-C."""
        self.pipeline.start()
        self.page.start()
        view.say(f"the status page stays at {self.page.url} until Ctrl-C")
        try:
            while True:
                self.page.process.check()
                self.pipeline.check()
                time.sleep(_TICK)
        except KeyboardInterrupt:
            return

    def _plan_kills(self) -> list[tuple[float, str]]:
        within = self.options.seconds if math.isfinite(self.options.seconds) else _KILLS_WITHIN
        return sorted(
            (self._random.uniform(0.1, 0.95) * within, kind)
            for kind, number in self.options.kills.items()
            for _ in range(number)
        )

    def _kill(self, kind: str, view: View) -> None:
        process: Process = self.pipeline.reader if kind == "reader" else self._random.choice(self.pipeline.appliers)
        process.check()
        process.kill()
        process.start()
        view.say(f"{time.monotonic() - self._began:4.0f} s  {process.name} killed with SIGKILL and started again")

    def _sweep(self) -> None:
        if self.page.swept():
            self._sweeps += 1
        if not self.page.sweeping and time.monotonic() >= self._sweep_due:
            self._sweep_due += _SWEEP_SECONDS
            self.page.sweep()

    def _scene(self, state: State) -> Scene:
        elapsed = time.monotonic() - self._began
        last = sorted(moment for worker in self.company.workers for moment in list(worker.recent))
        return Scene(
            title=f"leadstream demo {self.pipeline.name}",
            elapsed=elapsed,
            left=self.options.seconds - elapsed if math.isfinite(self.options.seconds) else None,
            customers=self.company.customers,
            transactions=self.company.committed,
            rolled_back=self.company.rolled_back,
            sweeps=self._sweeps,
            calls=self.call_centre.calls,
            state=state,
            processes=[
                Health(process.name, process.pid, process.killed, time.monotonic() - process.started)
                for process in (*self.pipeline.processes, self.page.process)
            ],
            last=last,
            over=self._over,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.company.__exit__(kind, error, trace)
        self.call_centre.close()
        self.page.close()
        if self.options.keep:
            self.pipeline.end()
            return
        self.problems = self.pipeline.discard()
        if self._right:
            shutil.rmtree(self.pipeline.folder)
