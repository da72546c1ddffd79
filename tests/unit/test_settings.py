"""Settings: where a value may come from, and which of several counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.settings import KafkaSettings, SettingsError, load


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


def test_a_password_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", "/nowhere/password")
    with pytest.raises(SettingsError, match=r"^KAFKA_SASL_PASSWORD_FILE names /nowhere/password, which cannot be read"):
        _ = load(KafkaSettings).librdkafka
