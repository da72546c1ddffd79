"""Why Kafka cannot be reached, as its client says it."""

from __future__ import annotations

import socket

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.settings import KafkaSettings
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import KafkaLost, KafkaRefused
from consumer.stream.trouble import Trouble

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
TIMED_OUT = KafkaException(KafkaError(KafkaError._TIMED_OUT, "Failed to get metadata: Local: Timed out"))


def told(*complaints: KafkaError) -> Trouble:
    trouble = Trouble()
    for complaint in complaints:
        trouble(complaint)
    return trouble


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        (
            "kafka:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
            " (after 0ms in state CONNECT)",
            "Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
        ),
        (
            "kafka:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
            " (after 0ms in state CONNECT, 5 identical error(s) suppressed)",
            "Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
        ),
        (
            "ssl://kafka:9092/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"
            " (after 3ms in state SSL_HANDSHAKE)",
            "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?; perhaps only one side"
            " speaks TLS: compare KAFKA_SECURITY_PROTOCOL with that listener",
        ),
        (
            "ssl://kafka:9092/bootstrap: Disconnected: SSL connection closed by peer"
            " (after 3ms in state SSL_HANDSHAKE)",
            "Disconnected: SSL connection closed by peer; perhaps only one side speaks TLS: compare"
            " KAFKA_SECURITY_PROTOCOL with that listener",
        ),
        (
            "ssl://kafka:9092/bootstrap: SSL handshake failed: certificate verify failed"
            " (after 3ms in state SSL_HANDSHAKE)",
            "SSL handshake failed: certificate verify failed",
        ),
        (
            "nowhere:9092/bootstrap: Failed to resolve 'nowhere:9092': Name or service not known"
            " (after 12ms in state CONNECT)",
            "Failed to resolve 'nowhere:9092': Name or service not known",
        ),
    ],
)
def test_what_stands_behind_a_failure_is_told_without_the_clients_own_words(complaint: str, said: str) -> None:
    for code in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT):
        assert told(KafkaError(code, complaint), DOWN).why(TIMED_OUT) == said


def test_connections_without_a_word_may_be_to_a_listener_that_hangs_or_to_one_that_speaks_tls() -> None:
    for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
        said = told(DOWN).why(KafkaException(KafkaError(code, "Failed to get metadata")))
        assert said.startswith("Failed to get metadata; perhaps nothing answers there")
        assert said.endswith("or only one side speaks TLS: compare KAFKA_SECURITY_PROTOCOL with that listener")


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_port_that_takes_connections_and_never_answers_is_no_matter_of_tls_alone(
    monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", protocol)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = KafkaSettings(kafka_bootstrap_servers=servers, topic_prefix="nowhere")
        with CheckpointLog(settings, within=1.0) as checkpoints, pytest.raises(KafkaLost) as caught:
            checkpoints.require()
    assert "perhaps nothing answers there" in str(caught.value)
    assert "or only one side speaks TLS" in str(caught.value)


def test_where_nothing_stands_behind_it_the_failure_speaks_for_itself() -> None:
    for trouble in (told(), told(DOWN)):
        assert trouble.why(TIMED_OUT) == "Failed to get metadata: Local: Timed out"


def test_what_is_over_explains_no_later_failure() -> None:
    trouble = told(KafkaError(KafkaError._AUTHENTICATION, "kafka:9092/bootstrap: SASL authentication failed"))
    assert trouble.is_refused
    trouble.over()
    assert not trouble.is_refused
    assert isinstance(trouble.lost("kafka:9092", "give us x", TIMED_OUT), KafkaLost)


def test_a_refusal_is_no_loss_that_passes() -> None:
    refused = told(KafkaError(KafkaError._AUTHENTICATION, "kafka:9092/bootstrap: SASL authentication failed"))
    error = refused.lost("kafka:9092", "give us x", TIMED_OUT)
    assert isinstance(error, KafkaRefused)
    assert "does not let us in (SASL authentication failed)" in str(error)


class Client:
    """A client of Kafka's that says what it is told to say once it is polled."""

    def __init__(self, trouble: Trouble, *says: list[KafkaError]) -> None:
        self._trouble = trouble
        self._says = iter(says)

    def poll(self, _timeout: float) -> None:
        for complaint in next(self._says, []):
            self._trouble(complaint)


REFUSED = KafkaError(KafkaError._TRANSPORT, "kafka:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed")
LONG = 3600.0


def test_where_nothing_listens_nobody_waits_to_the_end() -> None:
    asked = []

    def question(seconds: float) -> str:
        asked.append(seconds)
        raise TIMED_OUT

    trouble = Trouble()
    with pytest.raises(KafkaException):
        trouble.ask(Client(trouble, [REFUSED, DOWN, REFUSED], [REFUSED, REFUSED]), question, LONG)
    assert len(asked) == 2
    assert sum(asked) < 5


@pytest.mark.parametrize(
    "says",
    [
        pytest.param([], id="nothing is said: a broker that is slow"),
        pytest.param([[REFUSED, DOWN]], id="one of two addresses refuses, and the other one is slow"),
        pytest.param([[REFUSED], [REFUSED]], id="one broker refuses, and another one is slow"),
    ],
)
def test_a_broker_that_is_slow_is_waited_for(says: list[list[KafkaError]]) -> None:
    asked = []

    def question(seconds: float) -> str:
        asked.append(seconds)
        if len(asked) < 3:
            raise TIMED_OUT
        return "answer"

    trouble = Trouble()
    assert trouble.ask(Client(trouble, *says), question, LONG) == "answer"
    assert asked[-1] > LONG / 2, "the answer itself may take as long as there is time"


def test_a_question_that_kafka_refuses_is_not_asked_again() -> None:
    asked = []

    def question(seconds: float) -> str:
        asked.append(seconds)
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))

    trouble = Trouble()
    with pytest.raises(KafkaException):
        trouble.ask(Client(trouble), question, LONG)
    assert len(asked) == 1


def test_a_port_at_which_nothing_listens_is_reported_long_before_the_deadline() -> None:
    settings = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1", topic_prefix="nowhere")
    with CheckpointLog(settings, within=LONG) as checkpoints, pytest.raises(KafkaLost) as caught:
        checkpoints.require()
    assert "127.0.0.1:1" in str(caught.value)
    assert "Connection refused" in str(caught.value)
