"""Why Kafka cannot be reached: its client says that once, by a callback, and afterwards only that nobody answers."""

from __future__ import annotations

import re
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from consumer.stream.errors import KafkaLost, KafkaRefused

NOISE: Final = re.compile(r" \(after \d+ms in state \w+[^)]*\)|^\S+(?:/\w+)?: (?=\w)")
"""What librdkafka adds for itself: how long a connection lasted, and its own name for the broker."""
TLS: Final = re.compile(r"SSL connection closed|PLAINTEXT broker listener|mismatch\?|connection closed by peer")
"""What it says where only one side speaks TLS, among other cases."""
TLS_HINT: Final = "; perhaps only one side speaks TLS: compare KAFKA_SECURITY_PROTOCOL with that listener"
SUMMARY: Final = KafkaError._ALL_BROKERS_DOWN
CUT_OFF: Final = (SUMMARY, KafkaError._TRANSPORT)
"""What a call fails with where brokers close each connection at once. That they do is in the client's log alone."""


class Trouble:
    """The last complaint of one client; to be its `error_cb`."""

    def __init__(self) -> None:
        self._last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Notes what the client says; that all brokers are down says nothing."""
        if error.code() != SUMMARY:
            self._last = error

    def over(self) -> None:
        """A call went through: what was said before explains no later failure."""
        self._last = None

    @property
    def is_refused(self) -> bool:
        """Whether Kafka does not let us in, which trying again does not get over."""
        return self._last is not None and self._last.code() == KafkaError._AUTHENTICATION

    def why(self, error: KafkaException) -> str:
        """What a call failed of, with what stood behind it."""
        reason: KafkaError = error.args[0]
        behind = self._last
        if behind is None:
            return reason.str() + (TLS_HINT if reason.code() in CUT_OFF else "")
        said = NOISE.sub("", behind.str()).strip()
        if TLS.search(said):
            said += TLS_HINT
        return said

    def lost(self, servers: str, what: str, error: KafkaException, hint: str = "") -> KafkaLost | KafkaRefused:
        """The error that a failed call amounts to: `what` is what Kafka did not do, as "give us topic x".

        KafkaRefused where Kafka does not let us in, which trying again does not get over.
        """
        if self.is_refused:
            return KafkaRefused(
                f"Kafka at {servers} does not let us in ({self.why(error)});"
                " correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD, or our certificate"
            )
        return KafkaLost(f"Kafka at {servers} did not {what} ({self.why(error)}){hint}")
