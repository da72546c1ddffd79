"""What `consumer audit` says and how it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer import cli
from consumer.audit.audit import Audit, Nothing
from consumer.audit.rows import order
from consumer.commands import audit as command
from consumer.commands.audit import (
    DIFFERENT,
    INCOMPLETE,
    exit_code,
    log_of_runs,
    moment,
    recorded_if_it_fails,
    sentences,
    span,
)
from consumer.mysql.errors import SourceError
from consumer.settings import SettingsError
from consumer.store.errors import StoreUnavailable


def an_audit(**more: object) -> Audit:
    return Audit(0, 3_600_000, ("binlog.000007", 4), ("binlog.000008", 99), rows=3, messages=4, **more)  # type: ignore[arg-type]


def test_the_exit_code_tells_equal_from_different_and_from_not_looked_at() -> None:
    assert exit_code(an_audit()) == 0
    assert exit_code(an_audit(differences=1, gaps=["x"])) == DIFFERENT == 3
    assert exit_code(an_audit(gaps=["x"])) == INCOMPLETE == 4
    assert exit_code(an_audit(notes=["x"], noticed=1, undecided=1)) == 0


def test_the_first_sentence_is_the_verdict() -> None:
    assert sentences(an_audit())[0] == "3 rows, 4 messages: equal"
    assert sentences(an_audit(differences=2))[0] == "3 rows, 4 messages: 2 differences"
    assert sentences(an_audit(gaps=["x"]))[0] == "3 rows, 4 messages: equal as far as could be looked at"


def test_spans_and_times_are_read_as_people_write_them() -> None:
    assert (span("90m"), span("2d")) == (timedelta(minutes=90), timedelta(days=2))
    assert moment("2026-11-29T14:00") == datetime(2026, 11, 29, 14, tzinfo=UTC)
    assert moment("2026-11-29T14:00+02:00") == datetime(2026, 11, 29, 12, tzinfo=UTC)
    for wrong in ("", "0h", "1y", "h"):
        with pytest.raises(ValueError, match="no span"):
            span(wrong)


def test_places_are_ordered_by_the_files_number() -> None:
    assert order(("binlog.999999", 99)) < order(("binlog.1000000", 4))


def test_an_audit_that_could_not_be_recorded_is_refused_before_it_is_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert log_of_runs() is None
    for name, value in (("DATABASE_URL", "mysql://calls"), ("DATABASE_URL_FILE", str(tmp_path / "gone"))):
        with monkeypatch.context() as set_wrongly:
            set_wrongly.setenv(name, value)
            with pytest.raises(SettingsError, match="DATABASE_URL"):
                log_of_runs()


STARTED = datetime(2026, 3, 2, 3, 35, tzinfo=UTC)
HOUR_BEFORE = STARTED - timedelta(hours=1), STARTED


def test_an_audit_that_cannot_be_done_is_recorded_as_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[tuple[object, ...]] = []
    monkeypatch.setattr(command, "record_audit", lambda *run: recorded.append(run))
    with pytest.raises(SourceError), recorded_if_it_fails(STARTED, HOUR_BEFORE, "calls"):
        raise SourceError("the account may not read binlogs")
    assert recorded == [("calls", STARTED, HOUR_BEFORE, "failed", {}, "the account may not read binlogs")]
    with recorded_if_it_fails(STARTED, HOUR_BEFORE, "calls"):
        pass
    with pytest.raises(SourceError), recorded_if_it_fails(STARTED, HOUR_BEFORE, None):
        raise SourceError("the account may not read binlogs")
    with pytest.raises(Nothing), recorded_if_it_fails(STARTED, HOUR_BEFORE, "calls", chosen=True):
        raise Nothing("there is no binlog of then any more; ask for a later stretch")
    assert len(recorded) == 1
    with pytest.raises(Nothing), recorded_if_it_fails(STARTED, HOUR_BEFORE, "calls"):
        raise Nothing("there is no binlog of then any more; ask for a later stretch")
    with pytest.raises(SourceError), recorded_if_it_fails(STARTED, HOUR_BEFORE, "calls", chosen=True):
        raise SourceError("the account may not read binlogs")
    assert len(recorded) == 3


def test_the_command_records_an_audit_that_cannot_be_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> Audit:
        raise SourceError("the account may not read binlogs")

    recorded: list[tuple[object, ...]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://us@centre/calls")
    monkeypatch.setenv("REPLICA_DATABASE_URL", "mysql://us@db/company")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setattr("consumer.audit.audit.audit", fail)
    monkeypatch.setattr(command, "record_audit", lambda *run: recorded.append(run))
    with pytest.raises(SourceError):
        cli.audit(begin="2026-03-02T02:35", end="2026-03-02T03:35")
    ((conninfo, _, window, *rest),) = recorded
    assert (conninfo, window) == ("postgresql://us@centre/calls", HOUR_BEFORE)
    assert rest == ["failed", {}, "the account may not read binlogs"]


def test_what_was_wrong_with_the_audit_is_reported_where_postgresql_is_away_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnavailable("it cannot be reached")

    monkeypatch.setattr(command, "record_audit", refuse)
    with (
        capture_logs() as logged,
        pytest.raises(SourceError, match="binlogs"),
        recorded_if_it_fails(STARTED, HOUR_BEFORE, "calls"),
    ):
        raise SourceError("the account may not read binlogs")
    assert [(line["event"], line["reason"]) for line in logged] == [("run_not_recorded", "it cannot be reached")]
