"""An applier whose Kafka or PostgreSQL is away, hangs, or does not let it in."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.integration.applier.world import ApplierWorld, live
from tests.integration.binlog.proxy import Proxy

pytestmark = pytest.mark.servers

NOWHERE = "127.0.0.1:1"
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'leadstream stream' AND state = 'idle in transaction'
"""
"""Batches of which PostgreSQL has done what it was asked so far."""


def test_it_says_why_kafka_cannot_be_reached_and_ends_when_asked_to(world: ApplierWorld) -> None:
    applier = world.applier(KAFKA_BOOTSTRAP_SERVERS=NOWHERE).wait_for("server_away")
    (away,) = (line for line in applier.lines() if line["event"] == "server_away")
    assert "Connection refused" in away["reason"]
    assert applier.stop() == 0
    assert "batch_retried" not in applier.text(), "it waited for its patience with one question first"


def test_tls_against_a_plaintext_listener_is_told_as_such(world: ApplierWorld) -> None:
    applier = world.applier(KAFKA_SECURITY_PROTOCOL="SSL").wait_for("server_away")
    assert re.search("SSL (handshake failed|connection closed)", applier.text())
    assert "perhaps only one side speaks TLS: compare KAFKA_SECURITY_PROTOCOL with that listener" in applier.text()
    assert applier.stop() == 0


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (":nobody-s-word@", "password authentication failed"),
        ("?sslmode=require", "does not support SSL"),
    ],
)
def test_a_login_that_postgresql_refuses_ends_it_with_the_reason(world: ApplierWorld, told: str, why: str) -> None:
    parts = urlsplit(world.postgres_url)
    url = (
        f"{world.postgres_url}{told}"
        if told.startswith("?")
        else world.postgres_url.replace(f":{parts.password}@", told)
    )
    applier = world.applier(DATABASE_URL=url)
    assert applier.wait() == 1
    (failed,) = (line for line in applier.lines() if line["event"] == "command_failed")
    assert why in failed["reason"]
    assert failed["reason"].endswith("correct DATABASE_URL, or our account there")
    assert "nobody-s-word" not in applier.text()
    assert "Traceback" not in applier.text()


def test_a_postgresql_that_is_away_is_waited_for(world: ApplierWorld) -> None:
    applier = world.applier(DATABASE_URL="postgresql://nobody:nothing@127.0.0.1:1/nowhere").wait_for("batch_retried")
    assert applier.stop() == 0


def test_it_ends_in_good_order_though_postgresql_hangs(world: ApplierWorld) -> None:
    """It takes connections and answers nothing; all that was under way is done again by the next one."""
    parts = urlsplit(world.postgres_url)
    with Proxy(str(parts.hostname), parts.port or 0) as proxy:
        through = world.postgres_url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{proxy.port}")
        applier = world.applier(DATABASE_URL=through)
        live(world.scribe, range(1, 11))
        world.drain()
        proxy.silent = True
        live(world.scribe, range(11, 21))
        world.until(lambda: world.value(WAITING) > 0, "a batch waited for its answers")
        applier.terminate()
        assert applier.wait() == 0
        applier.wait_for("sessions_cut").wait_for("process_stopped")
    world.applier()
    world.drain()
    assert world.value("SELECT count(*) FROM leadstream.stints WHERE conversion_type IS NOT NULL") == 40


def test_a_login_that_kafka_refuses_ends_it_with_the_reason(world: ApplierWorld) -> None:
    login = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "PLAIN"}
    applier = world.applier(**login, KAFKA_SASL_USERNAME="somebody", KAFKA_SASL_PASSWORD="s3cr3t")
    assert applier.wait() == 1
    assert "does not let us in" in applier.text()
    assert "correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD" in applier.text()
    assert "s3cr3t" not in applier.text()
