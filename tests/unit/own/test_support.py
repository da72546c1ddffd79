"""What waits and what runs processes in tests: failures say what was awaited, and logs survive their process."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import pytest

from tests.support.environments import environment
from tests.support.processes import Process, Processes, ProcessFailed, forking, tails
from tests.support.waiting import NeverCame, until

TALKS = 'import sys, time; print(\'{"event": "up"}\', flush=True); time.sleep(float(sys.argv[1])); sys.exit(3)'


def talking(folder: Path, seconds: float) -> Process:
    """A process that logs one line, sleeps and ends with 3."""
    return Process("talker", sys.executable, ["-c", TALKS, str(seconds)], os.environ, folder).start()


def test_waiting_returns_what_came_and_otherwise_says_what_how_long_and_what_was_seen_last() -> None:
    numbers = itertools.count()
    assert until(lambda: next(numbers) // 3, "a third number came") == 1
    with pytest.raises(NeverCame, match=r"never came about that it rained, in 0 s; seen last: \[\]"):
        until(list[int], "it rained", within=0)
    with pytest.raises(NeverCame, match="seen last: sunshine"):
        until(lambda: False, "it rained", within=0, seen=lambda: "sunshine")


def test_a_process_that_ends_while_it_is_waited_for_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = talking(tmp_path, 0).wait_for("up")
    with pytest.raises(ProcessFailed, match=r"ended by itself with exit code 3; the end of .*talker\.log:\n.*up"):
        process.wait_for("down")
    assert process.returncode == 3
    assert ("talker", process.tail()) in tails()


def test_a_process_is_gone_at_the_end_though_it_stands_still(tmp_path: Path) -> None:
    process = talking(tmp_path, 600).wait_for("up")
    assert process.pid is not None
    process.end()
    assert process.pid is None


def test_settings_of_a_shell_do_not_reach_our_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "of somebody's shell")
    told = environment(kafka="here:9092", lanes=4, METRICS_PORT="0")
    assert "KAFKA_SASL_PASSWORD" not in told
    assert (told["KAFKA_BOOTSTRAP_SERVERS"], told["LANES"], told["METRICS_PORT"]) == ("here:9092", "4", "0")


def test_a_forked_program_is_as_one_that_was_started(tmp_path: Path) -> None:
    """Its own session, environment and output; it ends with the same codes."""
    told = environment(mysql="mysql://nobody:none@127.0.0.1:1/none", TZ="Asia/Kathmandu")
    commands = (["--version"], ["no-such-command"], ["settings"], ["read", "--no-such-option"])
    real = [Processes(told, tmp_path).run("consumer", *command) for command in commands]
    with forking():
        forked = [Processes(told, tmp_path).run("consumer", *command) for command in commands]
        process = Processes(told, tmp_path).start("reconciler", "run", "all")
        assert process.pid is not None
        assert os.getsid(process.pid) == process.pid
        assert process.wait() == Processes(told, tmp_path).run("reconciler", "run", "all").returncode
    assert [(one.returncode, one.stdout, one.stderr) for one in forked] == [
        (one.returncode, one.stdout, one.stderr) for one in real
    ]
    assert "MYSQL" not in process.text()


def test_a_forked_program_is_killed_and_outlives_who_is_asked_for_it(tmp_path: Path) -> None:
    told = environment(mysql="mysql://nobody:none@127.0.0.1:1/none", kafka="127.0.0.1:1", prefix="none")
    with forking():
        process = Processes(told, tmp_path).start("consumer", "read")
        process.until(process.lines, "it logged something")
        assert process.poll() is None
        process.kill()
        assert process.returncode == -9
        assert process.pid is None
