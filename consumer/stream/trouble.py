"""Why Kafka cannot be reached: its client says that once, by a callback, and afterwards only that nobody answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from consumer.stream.errors import KafkaLost, KafkaRefused

NOISE: Final = re.compile(r" \(after \d+ms in state \w+(?:[^()]|\([^()]*\))*\)|^\S+(?:/\w+)?: (?=\w)")
"""What librdkafka adds for itself: how long a connection lasted, and its own name for the broker."""
TLS: Final = re.compile(r"SSL connection closed|PLAINTEXT broker listener|mismatch\?|connection closed by peer")
"""What it says where only one side speaks TLS, among other cases."""
TLS_HINT: Final = "; perhaps only one side speaks TLS: compare KAFKA_SECURITY_PROTOCOL with that listener"
SILENT_HINT: Final = (
    "; perhaps nothing answers there, as where a broker hangs or something else has that port, or only one side speaks"
    " TLS: compare KAFKA_SECURITY_PROTOCOL with that listener"
)
SUMMARY: Final = KafkaError._ALL_BROKERS_DOWN
CUT_OFF: Final = (SUMMARY, KafkaError._TRANSPORT)
"""What a call fails with where brokers close each connection at once, or take it and never answer. Which of the two it
is, is in the client's log alone."""
UNANSWERED: Final = (*CUT_OFF, KafkaError._TIMED_OUT)
LOOK_SECONDS: Final = 0.5
"""How long a first question waits before we look at what the client says of its connections."""
SHORTEST_SECONDS: Final = 0.1

T = TypeVar("T")


class Client(Protocol):
    """A consumer or an admin client."""

    def poll(self, timeout: float, /) -> object:
        """Hands over what it has to say, to its `error_cb`."""


class Trouble:
    """The last complaint of one client; to be its `error_cb`."""

    def __init__(self) -> None:
        self._last: KafkaError | None = None
        self._complaints = 0
        self._down = False

    def __call__(self, error: KafkaError) -> None:
        """Notes what the client says; that all brokers are down says nothing of why."""
        if error.code() == SUMMARY:
            self._down = True
        else:
            self._last = error
            self._complaints += 1

    def over(self) -> None:
        """A call went through: what was said before explains no later failure."""
        self._last = None
        self._down = False

    def ask(self, client: Client, question: Callable[[float], T], seconds: float) -> T:
        """What Kafka answers a person within `seconds`, and sooner why not where every connection is refused.

        `question` takes the seconds that it may take. Its first two are short: a client says of its connections only
        between them. All brokers may be down at first, as where the first of two addresses refuses us: only where
        connections go on failing after that, nothing listens, and there is nothing to wait for. Raises KafkaException.
        """
        until, asked = time.monotonic() + seconds, 0
        while True:
            left, complaints = until - time.monotonic(), self._complaints
            try:
                found = question(max(SHORTEST_SECONDS, left if asked >= 2 else min(left, LOOK_SECONDS)))
            except KafkaException as error:
                client.poll(0)
                asked += 1
                unanswered = error.args[0].code() in UNANSWERED
                refused = asked >= 2 and self._down and self._complaints > complaints
                if not unanswered or refused or time.monotonic() >= until:
                    raise
            else:
                self.over()
                return found

    @property
    def is_refused(self) -> bool:
        """Whether Kafka does not let us in, which trying again does not get over."""
        return self._last is not None and self._last.code() == KafkaError._AUTHENTICATION

    def why(self, error: KafkaException) -> str:
        """What a call failed of, with what stood behind it."""
        reason: KafkaError = error.args[0]
        behind = self._last
        if behind is None:
            return reason.str() + (SILENT_HINT if reason.code() in CUT_OFF else "")
        words = NOISE.sub("", behind.str()).strip()
        return words + TLS_HINT if TLS.search(words) else words

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
