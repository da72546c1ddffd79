"""How a command says what went wrong: a sentence to a person at a terminal, a line of the log to a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs
from typer.testing import CliRunner

from consumer.cli import app as consumer
from consumer.commands import status
from consumer.ending import FAILED, fail
from consumer.stopping import Stop
from consumer.store.errors import StoreError
from reconciler import cli
from reconciler.runs import aging
from reconciler.runs.aging import Aged
from reconciler.runs.run_log import AlreadyRunning, LanesChanged
from reconciler.runs.sweeps import SweepScope

SILENT = "PostgreSQL at db:5432 does not answer; start the server"


@pytest.fixture(autouse=True)
def logs_of_a_command() -> Iterator[None]:
    """Ends with the test: a command logs to a stderr that is closed behind it."""
    yield
    structlog.reset_defaults()


def test_a_program_reads_an_error_as_a_line_of_the_log() -> None:
    with capture_logs() as lines:
        assert fail(StoreError(SILENT), FAILED) == FAILED
    assert [(line["event"], line["kind"], line["reason"]) for line in lines] == [
        ("command_failed", "StoreError", SILENT)
    ]


def test_a_person_at_a_terminal_reads_the_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert fail(StoreError(SILENT), FAILED) == FAILED
    assert capsys.readouterr().err == f"{SILENT}\n"


class Failing:
    """Sweeps of which none can begin."""

    def run(self, name: str, _: SweepScope) -> Any:
        raise AlreadyRunning(f"{name} is running already") if name == "new-users" else StoreError(SILENT)


def test_what_keeps_a_sweep_from_beginning_is_reported_as_by_every_other_command() -> None:
    with Stop() as stop, capture_logs() as lines:
        assert cli._sweep_all(cast(Any, Failing()), ["new-users", "new-requirements"], SweepScope(), stop) == []
    assert [(line["event"], line["kind"]) for line in lines] == [
        ("command_failed", "AlreadyRunning"),
        ("command_failed", "StoreError"),
    ]


class Outdated:
    """Sweeps that reckon with another number of lanes than there is."""

    def run(self, *_: object) -> Any:
        raise LanesChanged("there are 24 lanes now")


def test_sweeps_that_are_repeated_end_where_the_number_of_lanes_is_another() -> None:
    with Stop() as stop, pytest.raises(LanesChanged):
        cli._sweep_all(cast(Any, Outdated()), ["new-users", "new-requirements"], SweepScope(), stop)


@pytest.mark.parametrize(("refused", "code"), [(0, 0), (2, FAILED)])
def test_an_aging_of_which_postgresql_refused_scores_fails(
    monkeypatch: pytest.MonkeyPatch, refused: int, code: int
) -> None:
    tools = SimpleNamespace(postgres=None, runs=None, discovery=SimpleNamespace(shadow_mode=False))

    @contextmanager
    def opened() -> Iterator[tuple[Any, Stop]]:
        with Stop() as stop:
            yield tools, stop

    monkeypatch.setattr(cli, "_tools", opened)
    monkeypatch.setattr(aging, "age", lambda *_, **__: {date(2026, 3, 2): Aged(3, refused)})
    needed = {"REPLICA_DATABASE_URL": "mysql://db/company", "DATABASE_URL": "postgresql://db/leads"}
    result = CliRunner().invoke(cli.app, ["age"], env={**needed, "LOG_FORMAT": "json"})
    assert (result.exit_code, result.stdout) == (code, "3 scores aged by one for 2026-03-02\n")
    assert ("PostgreSQL refused 2 scores" in result.stderr) is bool(refused)


def test_status_reports_a_silent_server_as_every_other_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    found = status.Status(None, None, None, None, None, None, None, None, None, [], [SILENT])
    monkeypatch.setattr(status, "status", lambda *_: found)
    needed = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "DATABASE_URL": "postgresql://db/leads", "LOG_FORMAT": "json"}
    result = CliRunner().invoke(consumer, ["status", "--json"], env=needed)
    assert result.exit_code == FAILED
    (line,) = map(json.loads, result.stderr.splitlines())
    assert (line["event"], line["kind"], line["reason"]) == ("command_failed", "SilentServer", SILENT)
    assert json.loads(result.stdout)["problems"] == [SILENT]
