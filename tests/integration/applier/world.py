"""A stream and a database of a trial's own, and appliers as processes that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from consumer.settings import KafkaSettings
from consumer.store.schema import setup as store_setup
from consumer.stream import topics
from tests.integration.applier.scribe import Row, Scribe
from tests.support.company_tables import key
from tests.support.processes import Process
from tests.support.waiting import PATIENCE, until
from tests.support.world import ProcessWorld

DATES = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-01T00:00:00Z"}


class ApplierWorld(ProcessWorld):
    """Topics with `lanes` partitions and a prepared database, both empty; no company."""

    scribe: Scribe
    """What writes to the topics as a reader would."""

    def __init__(self, bootstrap: str, postgres: str, lanes: int = 4) -> None:
        super().__init__(
            "applier",
            postgres=postgres,
            kafka=bootstrap,
            lanes=lanes,
            KAFKA_SESSION_TIMEOUT_MS="6000",
            KAFKA_HEARTBEAT_INTERVAL_MS="500",
        )
        self.lanes = lanes
        self.kafka = KafkaSettings(
            kafka_bootstrap_servers=bootstrap, topic_prefix=self.name, lanes=lanes, topic_replication_factor=1
        )
        self._appliers: list[Process] = []

    def _prepare(self) -> None:
        topics.prepare(self.kafka)
        store_setup.prepare(self.postgres_url, self.lanes, 1)
        self.scribe = Scribe(self.kafka)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of one statement."""
        with self.connect() as connection:
            return connection.execute(statement.encode()).fetchall()

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A session of one's own."""
        return psycopg.connect(self.postgres_url, autocommit=True)

    def value(self, statement: str) -> Any:
        """The one value of a statement."""
        return self.query(statement)[0][0]

    def applier(self, **more: str) -> Process:
        """Starts one more applier."""
        self._appliers.append(self.processes.start("consumer", "apply", **more))
        return self._appliers[-1]

    def applied(self) -> bool:
        """Whether every number that the scribe gave out is applied."""
        return dict(self.query("SELECT lane, next_seq FROM leadstream.lanes")) == dict(enumerate(self.scribe.next_seqs))

    def drain(self, within: float = PATIENCE) -> None:
        """Waits until everything is applied."""
        self.until(self.applied, "everything was applied", within)

    def until(self, condition: Callable[[], object], what: str = "it was so", within: float = PATIENCE) -> None:
        """Waits for a condition; the failure shows the appliers' last lines."""
        until(condition, what, within, seen=self.lines)

    def lines(self) -> str:
        """What the appliers have written, in whole lines."""
        return "".join(text[: text.rfind("\n") + 1] for text in (applier.text() for applier in self._appliers))

    def owners(self) -> set[str]:
        """Who moved the lanes last."""
        return {owner for (owner,) in self.query("SELECT DISTINCT owner FROM leadstream.lanes") if owner}


def user(number: int, signature: int | None = None) -> Row:
    """A row of `users`."""
    file = None if signature is None else str(signature)
    return {"id": number, "current_signature_file_id": file, "is_enabled": 1, **DATES}


def claim(number: int, user_id: int, status: str = "open") -> Row:
    """A row of `claims`."""
    return {"id": number, "user_id": user_id, "status": status, **DATES}


def requirement(number: int, claim_id: int, status: str = "pending") -> Row:
    """A row of `claim_requirements`; its id is `key` of the number."""
    row: Row = {"id": key(number), "claim_id": claim_id, "type": "payslip", "status": status}
    return {**row, "claim_requirement_reason": None, **DATES}


def life(number: int) -> Iterator[tuple[str, Row | None, Row | None, int]]:
    """Six changes of one customer: registers, opens a claim, is asked for two documents, signs, hands both in.

    They end in three stints (unsigned_users, requirements_outstanding, none) and both conversions, the second with the
    last change; in any other order they would not.
    """
    asked = [requirement(2 * number, number), requirement(2 * number + 1, number)]
    yield "users", None, user(number), number
    yield "claims", None, claim(number, number), number
    for row in asked:
        yield "claim_requirements", None, row, number
    yield "users", user(number), user(number, number), number
    for row in asked:
        yield "claim_requirements", row, {**row, "status": "approved"}, number


def live(scribe: Scribe, numbers: range, together: int = 10, each: Callable[[], None] = lambda: None) -> None:
    """Lives of many customers, interleaved, in Kafka transactions of one change of `together` customers."""
    for start in range(numbers.start, numbers.stop, together):
        group = range(start, min(start + together, numbers.stop))
        for changes in zip(*map(life, group), strict=True):
            with scribe:
                for change in changes:
                    scribe.transaction(change)
            each()


def faults(world: ApplierWorld, numbers: range) -> list[str]:
    """What is not as the lives of these customers must have left it."""
    found = []
    count = len(numbers)
    wanted = {
        "leads in none": ("SELECT count(*) FROM leadstream.leads WHERE queue_type = 'none'", count),
        "leads": ("SELECT count(*) FROM leadstream.leads", count),
        "waiting": ("SELECT count(*) FROM leadstream.leads WHERE judge_after IS NOT NULL", 0),
        "stints": ("SELECT count(*) FROM leadstream.stints", 3 * count),
        "open stints": ("SELECT count(*) FROM leadstream.stints WHERE closed_at IS NULL AND number = 3", count),
        "conversions": ("SELECT count(*) FROM conversions", 2 * count),
        "signatures": (
            "SELECT count(DISTINCT user_id) FROM conversions WHERE conversion_type = 'signature_obtained'", count
        ),
        "completions": (
            "SELECT count(DISTINCT user_id) FROM conversions WHERE conversion_type = 'requirements_completed'", count
        ),
        "gaps between stints": (
            """SELECT count(*) FROM leadstream.stints AS a JOIN leadstream.stints AS b
               ON a.user_id = b.user_id AND b.number = a.number + 1 WHERE a.closed_at <> b.opened_at""",
            0,
        ),
        "active scores": ("SELECT count(*) FROM user_call_scores WHERE is_active", 0),
        "pending entries": ("SELECT count(*) FROM call_queue WHERE status = 'pending'", 0),
        "rechecks": ("SELECT count(*) FROM leadstream.rechecks", 0),
    }  # fmt: skip
    for name, (statement, right) in wanted.items():
        value = world.value(statement)
        if value != right:
            found.append(f"{name}: {value}, not {right}")
    return found
