"""Why Kafka cannot be reached, as its client says it."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

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


def test_connections_that_are_closed_without_a_word_may_be_to_a_listener_that_speaks_tls() -> None:
    for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
        said = told(DOWN).why(KafkaException(KafkaError(code, "Failed to get metadata")))
        assert said.startswith("Failed to get metadata; perhaps only one side speaks TLS: compare KAFKA_SECURITY")


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
