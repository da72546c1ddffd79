"""What `consumer settings` and `reconciler settings` show, and what they never show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

import consumer.cli
import reconciler.cli
from consumer.commands.settings import MASK, masked, settings
from consumer.ending import WRONG_SETTINGS

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LANES=4\n")
    (tmp_path / "password").write_text(f"{SECRET}\n")
    for name, value in {
        "REPLICA_DATABASE_URL": f"mysql://reader:{SECRET}@db:3306/company?ssl_mode=REQUIRED",
        "DATABASE_URL": f"postgresql://us:{SECRET}@centre:5432/calls?sslmode=require&password={SECRET}",
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
        "KAFKA_SASL_USERNAME": "us",
        "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"),
        "KAFKA_SSL_KEY_PASSWORD": SECRET,
    }.items():
        monkeypatch.setenv(name, value)


def test_every_setting_is_shown_with_its_value_and_where_that_is_from() -> None:
    found = {one.name: (one.value, one.origin) for one in settings()}
    assert found["REPLICA_DATABASE_URL"] == (f"mysql://reader:{MASK}@db:3306/company?ssl_mode=REQUIRED", "environment")
    assert found["LANES"] == ("4", ".env")
    assert found["READER_BATCH_ROWS"] == ("50000", "default")
    assert found["SHADOW_MODE"] == ("false", "default")
    assert found["KAFKA_SASL_USERNAME"] == ("us", "set")


def test_a_file_that_the_env_file_names_is_where_a_setting_is_from(tmp_path: Path) -> None:
    (tmp_path / "lanes").write_text("6\n")
    (tmp_path / ".env").write_text(f"LANES=4\nLANES_FILE={tmp_path}/lanes\n")
    found = {one.name: (one.value, one.origin) for one in settings()}
    assert found["LANES"] == ("6", f"{tmp_path}/lanes")


def test_no_secret_is_shown() -> None:
    found = settings()
    assert SECRET not in str(found)
    assert {one.name: one.value for one in found}["KAFKA_SASL_PASSWORD"] == MASK


def test_the_reconciler_shows_its_own_settings_and_no_secret_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_TOKEN", f"{SECRET}-of-the-reconciler")
    monkeypatch.setenv("HTTP_PORT", "8123")
    reconciler.cli.show_settings(as_json=True)
    told = capsys.readouterr().out
    found = {one["name"]: (one["value"], one["origin"]) for one in json.loads(told)}
    assert SECRET not in told
    assert found["API_TOKEN"] == (MASK, "environment")
    assert found["HTTP_PORT"] == ("8123", "environment")
    assert found["AGING_TIMEZONE"] == ("UTC", "default")
    assert found["LANES"] == ("4", ".env")
    assert "READER_BATCH_ROWS" not in found


def test_a_wrong_setting_of_the_reconciler_is_named_in_its_table_and_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRECALL_DEADLINE_MS", "0")
    with pytest.raises(typer.Exit) as ended:
        reconciler.cli.show_settings()
    assert ended.value.exit_code == WRONG_SETTINGS
    told = capsys.readouterr().out
    assert "PRECALL_DEADLINE_MS is wrong: it should be 1 or more" in told
    assert SECRET not in told


def test_a_concern_with_a_wrong_setting_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANES", "0")
    wrong = {one.problem for one in settings() if one.problem}
    assert wrong == {"LANES is wrong: it should be 1 or more"}


@pytest.mark.parametrize(
    ("content", "why"), [(None, r"cannot be read \(No such file or directory\)"), (b"\xff", "is no text in UTF-8")]
)
def test_a_file_that_cannot_be_read_is_what_is_wrong_with_kafkas_settings_alone(
    content: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "another"
    if content is not None:
        secret.write_bytes(content)
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(secret))
    for command in (consumer.cli.show_settings, reconciler.cli.show_settings):
        with pytest.raises(typer.Exit) as ended:
            command(as_json=True)
        assert ended.value.exit_code == WRONG_SETTINGS
        found = json.loads(capsys.readouterr().out)
        (problem,) = {one["problem"] for one in found if one["problem"]}
        assert re.search(rf"KAFKA_SASL_PASSWORD_FILE names .*/another, which {why}", problem)
        assert ("SHADOW_MODE", "false", "") in {(one["name"], one["value"], one["problem"]) for one in found}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://centre/calls", "postgresql://centre/calls"),
        ("postgresql://us@centre/calls?x=1", f"postgresql://us:{MASK}@centre/calls?x={MASK}"),
        ("mysql://u:p%40q@h:1/d", f"mysql://u:{MASK}@h:1/d"),
    ],
)
def test_of_a_url_everything_is_shown_that_is_no_secret(url: str, shown: str) -> None:
    assert masked(url) == shown
