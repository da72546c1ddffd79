"""The safety net at work beside a stream: sweeps, backfill, verify and pre-call checks, over and over, as processes."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any, Final

import httpx
import psycopg

from tests.demo.oracle import Oracle
from tests.demo.pipeline import Pipeline
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import PATIENCE, NeverCame, until

_COMMANDS: Final = (
    ("run", "all", "--everyone"),
    ("backfill", "--restart"),
    ("verify", "--repair"),
    ("run", "all"),
)
_RUNS: Final = {
    "new-users", "new-requirements", "unsigned-conversions", "requirements-conversions", "backfill", "verify",
}  # fmt: skip
_ANSWERS: Final = {200, 404, 503}
_ENDS: Final = {0, 1, -signal.SIGKILL, -signal.SIGTERM}
"""Done; a server was away or the same ran elsewhere; killed by a fault; ended by us while it came or went."""
_TUNED: Final = ["call_centre_queue", "entry_missing"]
"""What a dialler empties or deletes is put right: no drift of ours."""
_PAUSE: Final = 0.05
_ANSWER_SECONDS: Final = 30.0
_PUBLISHED_SECONDS: Final = 120.0
_WHOLE_SECONDS: Final = 1800.0
"""How long a command may take that looks at everybody: after hours of a soak there are hundreds of thousands."""
_CHECKED: Final = 300
"""Customers asked about in the end."""
_SETTINGS: Final = {
    # Scores that age are no writes of the stream's, which the judge of writes looks at.
    "AGING_SKIPPED_WEEKDAYS": "monday,tuesday,wednesday,thursday,friday,saturday,sunday",
}


class SafetyNet:
    """`reconciler serve`, a dialler that asks it, and a shell that runs one command after the other, until `finish`."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        port = free_port()
        self._pipeline = pipeline
        self._random = Random(f"net {seed}")
        self._env = pipeline.env | _SETTINGS | {"HTTP_PORT": str(port)}
        self._serve = Process("serve", "reconciler", ["serve"], self._env, pipeline.folder)
        self._shell: Process | None = None
        self._url = f"http://127.0.0.1:{port}"
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._run, self._ask)]
        self._answers: Counter[int] = Counter()
        self._whole = 0
        self._problems: list[str] = []

    @property
    def process(self) -> Process:
        """`reconciler serve`."""
        return self._serve

    def start(self) -> None:
        """Begins."""
        self._serve.start()
        for thread in self._threads:
            thread.start()

    def kill(self) -> None:
        """Everything of it crashes; a service manager starts it again."""
        if self._shell is not None and self._shell.pid is not None:
            with suppress(ProcessLookupError):
                self._shell.send_signal(signal.SIGKILL)
        self._serve.check()
        self._serve.kill()
        begun = self._beginnings()
        self._serve.start()
        # Python ends at once by a SIGTERM that comes before it has loaded what takes it.
        until(lambda: self._beginnings() > begun, "the reconciler began again", pause=0.5)

    def _beginnings(self) -> int:
        return self._serve.text().count('"process_starting"')

    def finish(self) -> None:
        """Ends it in good order and waits."""
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._serve.terminate()
        if self._serve.pid is not None and (code := self._serve.wait()):
            self._problems.append(f"reconciler serve ended with {code}:\n{self._serve.tail()}")

    def conclude(self) -> None:
        """Each command once more, to its end, when the load is over and the stream has brought everything."""
        for command in _COMMANDS:
            shell = Process(f"net-{command[0]}", "reconciler", list(command), self._env, self._pipeline.folder)
            self._shell = shell
            shell.start()
            if code := shell.wait(_WHOLE_SECONDS):
                self._problems.append(f"{' '.join(command)} in the end ended with {code}:\n{shell.tail()}")

    def check_answers(self, oracle: Oracle) -> list[str]:
        """Asks before a call about some of everybody, and says whose queue is not the one of the oracle, read live."""
        users = self._random.sample(sorted(oracle.people), min(_CHECKED, len(oracle.people)))
        wrong: list[str] = []
        self._serve.start()
        with httpx.Client(base_url=self._url, timeout=PATIENCE) as client:
            self._serve.until(lambda: _is_ready(client), "reconciler serve was ready")
            for user in users:
                answer = _asked(client, user)
                right = oracle.people[user].queue
                if (answer.get("queue_type"), answer.get("source")) != (right, "replica"):
                    wrong.append(f"a pre-call check put user {user} into {answer}, not {right}")
            self._serve.until(lambda: _waiting(client) == 0, "every conversion was in its topic", _PUBLISHED_SECONDS)
        self._serve.terminate()
        self._serve.wait()
        return wrong

    def end(self) -> None:
        """Makes sure that it is gone."""
        self._over.set()
        self._serve.end()
        if self._shell is not None:
            self._shell.end()

    def judge(self) -> list[str]:
        """Sentences on what it did that it must not: it repairs nothing, for the stream brings everything."""
        problems = list(self._problems)
        for log in (self._serve.log, *self._pipeline.folder.glob("net-*.log")):
            if log.exists() and "Traceback" in log.read_text(errors="replace"):
                problems.append(f"there is a traceback in {log}")
        with psycopg.connect(self._pipeline.postgres_url) as connection:
            done = {name for (name,) in connection.execute("SELECT name FROM leadstream.runs WHERE outcome = 'ok'")}
            drift = connection.execute(
                "SELECT name, kind, sum(leads::int) FROM leadstream.runs, jsonb_each_text(counts -> 'drift')"
                " AS found (kind, leads) WHERE kind <> ALL(%s) GROUP BY 1, 2",
                [_TUNED],
            ).fetchall()
        problems += [
            f"{name} repaired {leads} leads that the stream had not missed: {kind}" for name, kind, leads in drift
        ]
        problems += [f"no {name} ever came to its end" for name in sorted(_RUNS - done)]
        if not self._answers[200]:
            problems.append(f"no pre-call check was answered: {dict(self._answers)}")
        return problems

    @property
    def told(self) -> str:
        """What it did, in a few words."""
        return (
            f"{self._whole} commands of the safety net came to their end while things went wrong; "
            f"{self._answers.total():,} pre-call checks, answered {dict(self._answers)}"
        )

    def _run(self) -> None:
        for number, command in zip(itertools.count(1), itertools.cycle(_COMMANDS), strict=False):
            if self._over.wait(_PAUSE):
                return
            shell = Process(f"net-{command[0]}", "reconciler", list(command), self._env, self._pipeline.folder)
            self._shell = shell
            shell.start()
            while shell.pid is not None:
                if self._over.wait(_PAUSE):
                    shell.terminate()
                    break
            code = shell.wait()
            self._whole += code == 0
            if code not in _ENDS:
                self._problems.append(f"run {number}, {' '.join(command)}, ended with {code}:\n{shell.tail()}")

    def _ask(self) -> None:
        """Asks until it is over, and beyond that until something was answered: a slow machine gets to it late."""
        with httpx.Client(base_url=self._url, timeout=PATIENCE) as client:
            given_up = float("inf")
            while not self._over.wait(_PAUSE) or (not self._answers[200] and time.monotonic() < given_up):
                if self._over.is_set():
                    given_up = min(given_up, time.monotonic() + PATIENCE)
                    time.sleep(_PAUSE)
                user = self._random.randint(1, 30_000)
                queue = self._random.choice(("unsigned_users", "requirements_outstanding", "none"))
                try:
                    status = client.get(f"/leads/{user}/precall", params={"expected": queue}).status_code
                except httpx.TransportError:
                    time.sleep(_PAUSE)
                    continue
                self._answers[status] += 1
                if status not in _ANSWERS:
                    self._problems.append(f"a pre-call check was answered with {status}")


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _waiting(client: httpx.Client) -> int | None:
    """How many conversions are not in their topic yet; None where that is not known yet."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("leadstream_conversion_events_waiting{"):
            return int(float(line.rpartition(" ")[2]))
    return None


def _asked(client: httpx.Client, user: int) -> dict[str, Any]:
    """The answer to a pre-call check, read live; whoever is not answered, or not from the replica, asks again."""
    answer: dict[str, Any] = {}

    def answered() -> bool:
        nonlocal answer
        told = client.get(f"/leads/{user}/precall", params={"expected": "none"})
        answer = told.json() if told.status_code == httpx.codes.OK else {"status": told.status_code}
        return told.status_code == httpx.codes.NOT_FOUND or answer.get("source") == "replica"

    with suppress(NeverCame):
        until(answered, f"a pre-call check of user {user} was answered", _ANSWER_SECONDS)
    return answer
