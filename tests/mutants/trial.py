"""The trial of mutants: a pytest that has collected its tests once, and forks for each mutant a process that runs them.

A mutant dies where a test fails, or does not end.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings

from tests.mutants.faults import Mutant, functions

LONGEST: Final = 60
"""Seconds of CPU that a mutant may take: several times what the tests of a part take on the right code."""
PROPERTY: Final = 1000.0
"""Property tests come after examples, whatever these take."""
MEMORY: Final = 3 * 2**30
SURVIVED, KILLED, OUT_OF_TIME = "survived", "killed", "out of time"


class Trial:
    """A pytest plugin that holds mutants against the tests it collects; what became of each is in `fates`."""

    def __init__(self, mutants: list[Mutant], children: int, *, examples_only: bool) -> None:
        self.fates: dict[Mutant, str] = {}
        self._examples_only = examples_only
        self._mutants = mutants
        self._children = children

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Property tests do not shrink what they find, and are not judged by their speed."""
        settings.register_profile(
            "mutants",
            settings.get_profile("ci"),
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs the examples on the right code once, then on each mutant those that call its function, and after them
        the property tests."""
        items = {item.nodeid: item for item in session.items}
        examples = [item for item in session.items if not _has_properties(item)]
        if self._examples_only:
            items = {item.nodeid: item for item in examples}
        seconds, calls = _first_run(examples, {one.module for one in self._mutants})
        kills: Counter[tuple[str, str]] = Counter()
        running: dict[int, tuple[Mutant, int]] = {}
        waiting = list(reversed(self._mutants))
        while waiting or running:
            while waiting and len(running) < self._children:
                mutant = waiting.pop()
                key = f"{mutant.module}.{mutant.function}"
                by = sorted(
                    (name for name in items if name not in calls or key in calls[name]),
                    key=lambda name, key=key: (-kills[key, name], seconds.get(name, PROPERTY)),  # type: ignore[misc]
                )
                pid, out = _fork(mutant, [items[name] for name in by])
                running[pid] = mutant, out
            pid, status = os.wait()
            mutant, out = running.pop(pid)
            with os.fdopen(out) as pipe:
                killer = pipe.read()
            if killer:
                kills[f"{mutant.module}.{mutant.function}", killer] += 1
            ended = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            fate = SURVIVED if ended else KILLED if killer else OUT_OF_TIME
            self.fates[mutant] = fate
            if fate != KILLED:
                print(f"\n{fate}: {mutant.name}", file=sys.stderr, flush=True)
            elif not len(self.fates) % 50:
                print(f"\n{len(self.fates)} of {len(self._mutants)}", file=sys.stderr, flush=True)
        return True


def _has_properties(item: pytest.Item) -> bool:
    return bool(getattr(getattr(item, "obj", None), "is_hypothesis_test", False))


def _fork(mutant: Mutant, items: list[pytest.Item]) -> tuple[int, int]:
    """Starts the process of one mutant; returns its id, and a pipe that says which test killed it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    code = 2
    try:
        mutant.put()
        failed = _run(items, lambda _name, _seconds: None)
        os.write(writing, failed.encode())
        code = 1 if failed else 0
    finally:
        os._exit(code)


def _run(items: list[pytest.Item], report: Callable[[str, float], None]) -> str:
    """Runs tests until one fails; returns which."""
    for number, item in enumerate(items, 1):
        following = items[number] if number < len(items) else None
        began = time.process_time()
        failed = any(one.failed for one in runtestprotocol(item, log=False, nextitem=following))
        report(item.nodeid, time.process_time() - began)
        if failed:
            return item.nodeid
    return ""


def _first_run(items: list[pytest.Item], modules: set[str]) -> tuple[dict[str, float], dict[str, set[str]]]:
    """How long each test takes (s of CPU) and which of these modules' functions it calls, in a process of its own."""
    codes = {
        function.__code__: f"{module}.{name}" for module in modules for name, function in functions(module).items()
    }
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        code = 1
        try:
            seconds: dict[str, float] = {}
            calls: dict[str, list[str]] = {}
            seen: set[CodeType] = set()

            def called(frame: FrameType, event: str, _: Any) -> None:
                if event == "call" and frame.f_code in codes:
                    seen.add(frame.f_code)

            def report(name: str, took: float) -> None:
                seconds[name], calls[name] = took, [codes[one] for one in seen]
                seen.clear()

            sys.setprofile(called)
            failed = _run(items, report)
            sys.setprofile(None)
            with os.fdopen(writing, "w") as pipe:
                json.dump([failed, seconds, calls], pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        failed, seconds, found = json.load(pipe)
    os.waitpid(pid, 0)
    if failed:
        pytest.exit(f"{failed} fails on the right code", 1)
    return seconds, {name: set(called) for name, called in found.items()}


def try_mutants(mutants: list[Mutant], tests: list[Path], children: int, *, examples_only: bool) -> dict[Mutant, str]:
    """What became of each mutant. Raises RuntimeError where a test fails on the right code."""
    trial = Trial(mutants, children, examples_only=examples_only)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:timeout", "-o", "addopts=", "-o", "timeout=0"]
    pytest.main([*options, *map(str, tests)], plugins=[trial])
    if len(trial.fates) < len(mutants):
        raise RuntimeError("not every mutant was tried")
    return trial.fates
