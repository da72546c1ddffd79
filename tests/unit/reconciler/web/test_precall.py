"""What a dialler hears before a call where a server is away: never a wrong thing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from threading import Event
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from consumer.leads.model import NEVER, Lead, QueueType, UserRow
from consumer.leads.rule_file import RuleFile
from consumer.leads.rules import Rules
from consumer.mysql.errors import ConnectionLost
from consumer.mysql.live_read import LiveLead, LiveRead
from consumer.settings import MySQLAddress
from consumer.store.errors import StoreUnavailable
from consumer.store.lanes import LanePoint
from consumer.store.lookups import Ahead
from consumer.versions import moment
from reconciler.monitor.servers import ServerMonitor
from reconciler.postgres import Held, Postgres
from reconciler.replica import ReplicaReads
from reconciler.web.precall import AnswerSource, NoAnswer, Precall, PrecallService, UnknownUser

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
UNSIGNED, OUTSTANDING, NONE = QueueType.UNSIGNED_USERS, QueueType.REQUIREMENTS_OUTSTANDING, QueueType.NONE


@dataclass
class Servers:
    """Both servers, each with what it holds of customer 1, or away."""

    live: LiveLead | None = None
    lead: Lead | None = None
    outcome: str | None = None
    shown: Ahead | None = None
    rules: Rules = field(default_factory=Rules)
    applied: int = NOW - 3600 * SECOND
    """How far the lanes have come (µs)."""
    store_up: bool = True

    def read_users(self, user_ids: list[int]) -> LiveRead:
        if self.live is None:
            raise ConnectionLost("away")
        return LiveRead(NOW, NOW, dict.fromkeys(user_ids, self.live))

    def held(self, _: list[int]) -> Held:
        if not self.store_up:
            raise StoreUnavailable("away")
        return Held(
            {} if self.lead is None else {1: self.lead}, {1: self.outcome},
            {} if self.shown is None else {1: self.shown}, self.rules,
        )  # fmt: skip


def signs(signature: str | None) -> LiveLead:
    return LiveLead(UserRow(1, signature, True), {}, {})


def unsigned(judge_after: int | None = None) -> Lead:
    return Lead(1, exists=True, stint=1, queue_type=UNSIGNED, judge_after=judge_after, read_floor=NOW - 7200 * SECOND)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    there = Servers()
    monkeypatch.setattr(ReplicaReads, "read_users", there.read_users)
    monkeypatch.setattr(Postgres, "held", there.held)
    return there


def asked(servers: Servers, *expected: QueueType) -> Precall:
    """The answer to the last of these checks, one after the other."""
    settings = SimpleNamespace(
        replica=SimpleNamespace(address=MySQLAddress("mysql://u@127.0.0.1:1/db"), replica_query_seconds=1.0),
        database=SimpleNamespace(conninfo=""),
        discovery=SimpleNamespace(smart_discovery_enabled=False, shadow_mode=False),
    )
    monitor = ServerMonitor(cast(Any, settings), Event(), ZoneInfo("UTC"))
    monitor._see(lanes={lane: LanePoint(servers.applied, 5) for lane in range(4)})

    async def ask() -> Precall:
        service = PrecallService(cast(Any, settings), monitor, 30_000)
        try:
            for queue_type in expected[:-1]:
                await service.precall(1, queue_type)
                servers.store_up = False
            return await service.precall(1, expected[-1])
        finally:
            await asyncio.to_thread(service.close)

    return asyncio.run(ask())


def test_without_the_replica_the_present_that_agents_see_goes_before_history_that_the_stream_has_yet_to_end(
    servers: Servers,
) -> None:
    servers.lead, servers.shown = unsigned(), Ahead(OUTSTANDING, NOW - SECOND)
    theirs = asked(servers, OUTSTANDING)
    assert (theirs.queue_type, theirs.agrees, theirs.source) == (OUTSTANDING, True, AnswerSource.STATE)
    assert theirs.as_of == moment(NOW - SECOND)
    assert asked(servers, UNSIGNED).agrees is False, "nobody is asked for a signature that was read already"


def test_history_that_has_passed_that_read_goes_before_it(servers: Servers) -> None:
    servers.lead, servers.shown, servers.applied = unsigned(), Ahead(NONE, NOW - SECOND), NOW
    assert asked(servers, UNSIGNED).agrees is True


def test_who_is_shown_by_a_read_alone_is_no_unknown_user(servers: Servers) -> None:
    with pytest.raises(UnknownUser):
        asked(servers, UNSIGNED)
    servers.shown = Ahead(UNSIGNED, NOW)
    assert asked(servers, UNSIGNED).agrees is True


def test_of_whom_changes_may_be_missing_nobody_says_as_of_when_that_is(servers: Servers) -> None:
    servers.lead = unsigned(judge_after=NEVER)
    assert asked(servers, UNSIGNED).as_of is None
    servers.shown = Ahead(NONE, NOW - 7200 * SECOND)
    assert asked(servers, UNSIGNED).agrees is False, "the last read is what is known"


def test_without_postgresql_nobody_is_called_by_us_who_may_have_said_never(servers: Servers) -> None:
    servers.live, servers.outcome = signs(None), "do_not_contact"
    assert asked(servers, UNSIGNED).queue_type is NONE
    servers.store_up = True
    with pytest.raises(NoAnswer, match="PostgreSQL does not answer, so nobody knows whether the customer must not be"):
        asked(servers, UNSIGNED, UNSIGNED)


def test_without_postgresql_what_mysql_denies_is_denied(servers: Servers) -> None:
    servers.live = signs("77")
    assert asked(servers, NONE, UNSIGNED).agrees is False
    servers.store_up = True
    assert asked(servers, NONE, NONE).agrees is True


def test_where_no_outcome_forbids_calls_mysql_alone_will_do(servers: Servers) -> None:
    servers.live, servers.rules = signs(None), Rules(RuleFile(never=()))
    assert asked(servers, UNSIGNED, UNSIGNED).agrees is True
