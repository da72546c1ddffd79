"""Kafka's password and certificates as they are now, for clients that last.

librdkafka takes both when a client is made. Another password can be given to it later; of another certificate it knows
only when it is made anew.
"""

from __future__ import annotations

import os
import time
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from consumer.settings import KafkaSettings, SettingsError

log = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
"""How often the password's file is read."""
AWAIT_SECONDS: Final = 120.0
"""How long a new password is awaited after Kafka refused the old one: it is renewed there and in the file one after the
other, and Kubernetes takes a minute or so to bring a secret into a pod."""
USERNAME: Final = "sasl.username"
PASSWORD: Final = "sasl.password"  # noqa: S105 - the name of a property

LOCATION: Final = ".location"
"""How properties end that name files of certificates and keys."""
Stamp = tuple[tuple[int, int, int], ...]
"""Of each file: its number, its size, and when it was written (ns)."""

Client = Producer | Consumer | AdminClient


class Credentials:
    """What one client of Kafka logs in with; for one thread at a time."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Made right before the client, which has the credentials of that moment. Raises SettingsError."""
        self._settings = settings
        self._given = self._now()
        self._files = self._seen = self._stamp()
        self.outdated = False
        """Whether files of certificates were renewed since the client was made, and are whole by now."""
        self._due = time.monotonic() + LOOK_SECONDS
        self._let_in = False
        self._refused_at: float | None = None

    def of_next_client(self) -> Credentials:
        """What the client logs in with that takes this one's place; what Kafka said to this one stays known."""
        following = Credentials(self._settings)
        following._let_in = self._let_in
        following._refused_at = self._refused_at if following._given == self._given else None
        return following

    def accepted(self) -> None:
        """Kafka let us in."""
        self._let_in = True
        self._refused_at = None

    def may_help(self, client: Client) -> bool:
        """Whether Kafka, which refused us, may let us in yet: there is a new password, or one is awaited."""
        if self.renew(client):
            self._refused_at = None
            return True
        if not self._let_in or not self._settings.renews_password:
            return False
        now = time.monotonic()
        if self._refused_at is None:
            self._refused_at = now
            log.warning("kafka_password_awaited", wait_seconds=AWAIT_SECONDS, hint="write the new one to its file")
        return now < self._refused_at + AWAIT_SECONDS

    def look(self, client: Client) -> None:
        """Gives the client the password that is in its file now, and looks at certificates; every few seconds."""
        if time.monotonic() < self._due:
            return
        self.renew(client)
        before, self._seen = self._seen, self._stamp()
        self.outdated = self._seen is not None and before == self._seen != self._files

    def renew(self, client: Client) -> bool:
        """Gives the client what is in the files now; whether that is something new to it."""
        self._due = time.monotonic() + LOOK_SECONDS
        try:
            now = self._now()
        except SettingsError as error:
            log.warning("kafka_password_unreadable", reason=str(error), hint="the one before may still do")
            return False
        if now in (self._given, None):
            return False
        assert now is not None
        try:
            client.set_sasl_credentials(*now)
        except KafkaException as error:
            log.warning("kafka_password_not_renewed", reason=error.args[0].str(), hint="start this process again")
            return False
        self._given = now
        log.info("kafka_password_renewed")
        return True

    def _stamp(self) -> Stamp | None:
        """What the files of certificates are now; None while one of them is not there."""
        try:
            paths = [path for name, path in sorted(self._settings.librdkafka.items()) if name.endswith(LOCATION)]
            found = [os.stat(path) for path in paths if os.path.isabs(path)]
        except (OSError, SettingsError):
            return None
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)

    def _now(self) -> tuple[str, str] | None:
        """User and password by the settings; None where Kafka is not asked for them."""
        properties = self._settings.librdkafka
        user, password = properties.get(USERNAME), properties.get(PASSWORD)
        return (user, password) if user and password else None  # a file that is empty is being written
