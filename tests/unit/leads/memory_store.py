"""A store in memory: only what an outcome says survives from one replay to the next."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TypeVar

from consumer.leads.ledger import replay
from consumer.leads.live_read import repair
from consumer.leads.model import Change, Conversion, Key, Lead, LiveState, QueueChange, Stint
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules

T = TypeVar("T")


def _kept(held: dict[Key, T], now: dict[Key, T], changed: set[tuple[int, Key]], user_id: int) -> dict[Key, T]:
    """The rows of a lead after a write: those that the outcome names as they are now, the others as they were."""
    named = {id_ for owner, id_ in changed if owner == user_id}
    return {id_: row for id_, row in held.items() if id_ not in named} | {
        id_: deepcopy(row) for id_, row in now.items() if id_ in named
    }


class MemoryStore:
    """Leads, stints and conversions of one lane."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.leads: dict[int, Lead] = {}
        self.stints: dict[tuple[int, int], Stint] = {}
        self.conversions: dict[tuple[int, int], Conversion] = {}
        self.rechecks: dict[int, str] = {}
        self.lane_version = 0
        self.last = Outcome()

    def replay(self, changes: Sequence[Change]) -> Outcome:
        """One batch: the leads that it names and those whose waiting ends with it are loaded."""
        upto = max([change.version for change in changes], default=self.lane_version)
        named = {change.user_id for change in changes if change.table is not None}
        waiting = {id_ for id_, lead in self.leads.items() if lead.judge_after is not None and lead.judge_after <= upto}
        leads = {id_: deepcopy(self.leads[id_]) for id_ in named | waiting if id_ in self.leads}
        outcome = Outcome()
        self.lane_version = replay(changes, leads, self.lane_version, self.rules, outcome)
        self._write(outcome)
        return outcome

    def repair(self, user_id: int, live: LiveState, floor: int, read_ended: int) -> Outcome:
        """One live read of one user."""
        outcome = Outcome()
        lead = deepcopy(self.leads[user_id]) if user_id in self.leads else Lead(user_id)
        self.rechecks.pop(user_id, None)
        repair(lead, live, floor, read_ended, self.rules, outcome)
        self._write(outcome)
        return outcome

    def stints_of(self, user_id: int) -> list[Stint]:
        """In order."""
        return [stint for key, stint in sorted(self.stints.items()) if key[0] == user_id]

    def told(self, user_id: int) -> QueueChange:
        """What the call centre was told of a lead by the last replay."""
        return self.last.queue_changes[user_id]

    def _write(self, outcome: Outcome) -> None:
        self.last = outcome
        for user_id, lead in outcome.leads.items():
            held = self.leads.get(user_id) or Lead(user_id)
            self.leads[user_id] = replace(
                lead,
                claims=_kept(held.claims, lead.claims, outcome.claims, user_id),
                requirements=_kept(held.requirements, lead.requirements, outcome.requirements, user_id),
            )
        assert {user for user, _ in outcome.claims | outcome.requirements} <= outcome.leads.keys()
        assert {user for user, _ in outcome.stints} <= outcome.leads.keys()
        for key, stint in sorted(outcome.stints.items()):
            before = self.stints.get(key)
            if before is not None:
                assert before.closed_at is None, "a closed stint is never written again"
                assert stint.opened_reason is None, "a stint opened earlier is only closed"
                assert (stint.queue_type, stint.opened_at) == (before.queue_type, before.opened_at)
                self.stints[key] = stint._replace(opened_reason=before.opened_reason)
            else:
                assert stint.opened_reason is not None
                self.stints[key] = stint
        for conversion in outcome.conversions:
            key = (conversion.user_id, conversion.stint)
            assert key not in self.conversions, "one conversion per stint at the most"
            assert self.stints[key].conversion_type is conversion.conversion_type
            self.conversions[key] = conversion
        self.rechecks.update(outcome.rechecks)
