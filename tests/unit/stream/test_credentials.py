"""How long a password that Kafka refuses is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from consumer.settings import KafkaSettings, load
from consumer.stream.credentials import AWAIT_SECONDS, Credentials


class Client(Producer):
    """One that notes what it is given."""

    given: tuple[str, str] | None = None

    def set_sasl_credentials(self, username: str, password: str) -> None:
        self.given = username, password


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    written = tmp_path / "password"
    written.write_text("old\n")
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "KAFKA_SASL_USERNAME": "us",
        "KAFKA_SASL_PASSWORD_FILE": str(written),
    }.items():
        monkeypatch.setenv(name, value)
    return written


@pytest.fixture
def client() -> Client:
    return Client({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr("consumer.stream.credentials.time.monotonic", lambda: now[0])
    return now


@pytest.mark.usefixtures("file")
def test_whoever_was_never_let_in_has_the_wrong_password(client: Client) -> None:
    assert not Credentials(load(KafkaSettings)).may_help(client)


@pytest.mark.usefixtures("file")
def test_whoever_was_let_in_waits_for_the_new_one_and_not_for_ever(client: Client, clock: list[float]) -> None:
    ours = Credentials(load(KafkaSettings))
    ours.accepted()
    assert ours.may_help(client)
    clock[0] += AWAIT_SECONDS - 1
    assert ours.may_help(client)
    clock[0] += 2
    assert not ours.may_help(client)


@pytest.mark.usefixtures("file")
def test_so_does_the_client_that_takes_its_place_and_no_longer(client: Client, clock: list[float]) -> None:
    ours = Credentials(load(KafkaSettings))
    ours.accepted()
    assert ours.may_help(client)
    clock[0] += AWAIT_SECONDS / 2
    following = ours.of_next_client()
    assert following.may_help(client)
    clock[0] += AWAIT_SECONDS / 2 + 1
    assert not following.of_next_client().may_help(client)


def test_a_new_password_is_given_to_the_client(client: Client, clock: list[float], file: Path) -> None:
    ours = Credentials(load(KafkaSettings))
    ours.accepted()
    assert ours.may_help(client)
    clock[0] += AWAIT_SECONDS + 1
    file.write_text("new\n")
    assert ours.may_help(client)
    assert client.given == ("us", "new")
