"""Settings: where a value may come from, and which of several counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.leads.rule_file import Exclusion, RuleFile, parse
from consumer.settings import (
    DatabaseSettings,
    DiscoverySettings,
    KafkaSettings,
    MySQLAddress,
    PasswordCommandFailed,
    ReplicaSettings,
    SettingsError,
    demand,
    dotenv,
    load,
    refuse_word_lists,
)
from reconciler.settings import ServeSettings


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")


def test_kafkas_properties_may_stand_in_the_env_file_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KAFKA_SECURITY_PROTOCOL=SASL_SSL\nLANES=4\n")
    kafka = load(KafkaSettings)
    assert kafka.lanes == 4
    assert kafka.librdkafka == {"bootstrap.servers": "kafka:9092", "security.protocol": "SASL_SSL"}


def test_the_environment_wins_over_a_named_file_and_that_over_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("from the file\n")
    (tmp_path / ".env").write_text(
        f"KAFKA_SASL_PASSWORD=from .env\nKAFKA_SASL_USERNAME=from .env\nKAFKA_SASL_PASSWORD_FILE={tmp_path}/password\n"
    )
    assert load(KafkaSettings).librdkafka["sasl.password"] == "from the file"
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "from the environment")
    properties = load(KafkaSettings).librdkafka
    assert (properties["sasl.password"], properties["sasl.username"]) == ("from the environment", "from .env")


@pytest.mark.parametrize("place", [".env", "environment"])
def test_a_file_may_be_named_for_any_setting_in_the_environment_and_in_the_env_file(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {}
    for name, value in {
        "DATABASE_URL": "postgresql://us:first@centre/calls",
        "REPLICA_DATABASE_URL": "mysql://us:first@db/company",
        "API_TOKENS": "dialler 0123456789abcdef run",
        "KAFKA_SASL_PASSWORD": "from the file",
        "LANES": "6",
    }.items():
        (tmp_path / name).write_text(f"{value}\n")
        named[f"{name}_FILE"] = str(tmp_path / name)
    older = "REPLICA_DATABASE_URL=mysql://older@db/company\nLANES=4\n"
    if place == ".env":
        (tmp_path / ".env").write_text(older + "".join(f"{name}={path}\n" for name, path in named.items()))
    else:
        (tmp_path / ".env").write_text(older)
        for name, path in named.items():
            monkeypatch.setenv(name, path)
    kafka, tokens = load(KafkaSettings), load(ServeSettings).api_tokens
    assert kafka.lanes == 6
    assert kafka.librdkafka["sasl.password"] == "from the file"
    assert kafka.renews_password
    assert tokens is not None
    assert tokens.get_secret_value() == "dialler 0123456789abcdef run"
    address, conninfo = load(ReplicaSettings).address, load(DatabaseSettings).conninfo
    assert (address.renewed_password(), conninfo.renewed()) == ("first", "postgresql://us:first@centre/calls")
    (tmp_path / "REPLICA_DATABASE_URL").write_text("mysql://us:second@db/company\n")
    (tmp_path / "DATABASE_URL").write_text("postgresql://us:second@centre/calls\n")
    assert (address.renewed_password(), conninfo.renewed()) == ("second", "postgresql://us:second@centre/calls")
    monkeypatch.setenv("LANES", "8")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "from the environment")
    kafka = load(KafkaSettings)
    assert (kafka.lanes, kafka.librdkafka["sasl.password"]) == (8, "from the environment")
    assert not kafka.renews_password


def test_an_env_file_that_is_no_text_is_named_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TOPIC_PREFIX=caf\xe9\n")
    sentence = ".env is no text in UTF-8; save it as UTF-8"
    for ask in (lambda: load(KafkaSettings), lambda: demand(KafkaSettings, DatabaseSettings), dotenv):
        with pytest.raises(SettingsError) as refused:
            ask()
        assert str(refused.value) == sentence


def test_a_password_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", "/nowhere/password")
    with pytest.raises(SettingsError, match=r"^KAFKA_SASL_PASSWORD_FILE names /nowhere/password, which cannot be read"):
        _ = load(KafkaSettings).librdkafka


def test_lists_of_words_that_are_still_set_are_refused_with_the_rules_that_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "types").write_text("newsletter, consent\n")
    (tmp_path / ".env").write_text("CLOSED_CLAIM_STATUSES=cancelled, lost\n")
    monkeypatch.setenv("SETTLED_REQUIREMENT_STATUSES", "approved,waived,approved")
    monkeypatch.setenv("EXCLUDED_REQUIREMENT_TYPES_FILE", str(tmp_path / "types"))
    with pytest.raises(SettingsError) as refused:
        refuse_word_lists()
    sentence, _, lines = str(refused.value).partition(":\n")
    assert sentence == (
        "CLOSED_CLAIM_STATUSES and SETTLED_REQUIREMENT_STATUSES and EXCLUDED_REQUIREMENT_TYPES are settings no longer,"
        " because the rules lie in PostgreSQL; unset them, write these lines to a file and run"
        " `consumer rules adopt FILE`"
    )
    assert parse(lines) == RuleFile(
        closed=("cancelled", "lost"),
        settled=("approved", "waived"),
        excluded=(Exclusion("newsletter"), Exclusion("consent")),
    )


def test_lists_of_words_that_are_set_to_nothing_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSED_CLAIM_STATUSES", "")
    refuse_word_lists()


def test_all_settings_that_are_wrong_are_told_at_once_and_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LANES": "0",
        "TOPIC_RETENTION_HOURS": "a week",
        "TOPIC_PREFIX": "a b",
        "SHADOW_MODE": "perhaps",
        "DISCOVERY_BATCH_SIZE": "1000000",
        "RECHECK_WAIT_SECONDS": "inf",
        "METRICS_PORT": "99999",
        "LOG_FORMAT": "xml",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        demand(KafkaSettings, DatabaseSettings, DiscoverySettings)
    assert str(refused.value).split("; ") == [
        "TOPIC_PREFIX is wrong: it should match ^[A-Za-z0-9._-]{1,80}$",
        "LANES is wrong: it should be 1 or more",
        "TOPIC_RETENTION_HOURS is wrong: it should be a whole number",
        "DATABASE_URL is not set", "set it in the environment, in .env or by DATABASE_URL_FILE",
        "SHADOW_MODE is wrong: it should be true or false",
        "DISCOVERY_BATCH_SIZE is wrong: it should be 10000 at most",
        "RECHECK_WAIT_SECONDS is wrong: it should be a number",
        "METRICS_PORT is wrong: it should be less than 65536",
        "LOG_FORMAT is wrong: it should be 'auto', 'json' or 'console'",
    ]  # fmt: skip


def test_a_password_that_is_renewed_in_its_file_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "url"
    file.write_text("mysql://us:first@db/company\n")
    monkeypatch.setenv("REPLICA_DATABASE_URL_FILE", str(file))
    address = load(ReplicaSettings).address
    assert address.renewed_password() == "first"
    file.write_text("mysql://us:sec%40nd@db/company\n")
    assert address.renewed_password() == "sec@nd"
    file.unlink()
    assert address.renewed_password() == "sec@nd"


def test_a_command_prints_the_password_of_each_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICA_DATABASE_URL", "mysql://us@db/company")
    monkeypatch.setenv("REPLICA_PASSWORD_COMMAND", f"cat '{tmp_path}/token'")
    address = load(ReplicaSettings).address
    for token in ("one", "another"):
        (tmp_path / "token").write_text(f"{token}\n")
        assert address.renewed_password() == token


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("false", "ended with exit code 1"),
        ("sh -c 'echo s3cr3t; exit 3'", "ended with exit code 3"),
        ("true", "printed nothing"),
        ("/nowhere/at-all", "cannot be run"),
        ("'", "cannot be run"),
    ],
)
def test_a_command_that_prints_no_password_is_told_without_what_it_printed(command: str, said: str) -> None:
    with pytest.raises(PasswordCommandFailed, match=said) as failed:
        MySQLAddress("mysql://us@db/company", command).renewed_password()
    assert "s3cr3t" not in str(failed.value)


def test_a_password_with_a_bare_percent_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cr%zzet@h/db")
    with pytest.raises(SettingsError, match="should be written %25") as refused:
        load(DatabaseSettings)
    assert "s3cr" not in str(refused.value)
