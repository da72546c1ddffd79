"""The stream as an applier applies it, without Kafka: changes in batches of their own, through the real store."""

from __future__ import annotations

from consumer.applier import applier
from consumer.applier.batches import Batch, LaneBatch
from consumer.lane import lane_of
from consumer.leads.model import Change, ClaimRow, RequirementRow, Row, Table, UserRow
from consumer.leads.outcome import Outcome
from consumer.store.leads import LeadStore
from consumer.stream.envelope import NOBODY
from tests.integration.reconciler.world import LANES, ReconcilerWorld

_TABLES = {UserRow: Table.USERS, ClaimRow: Table.CLAIMS, RequirementRow: Table.CLAIM_REQUIREMENTS}


class Played:
    """An applier that owns every lane; its session stays open between batches, as a process's does."""

    def __init__(self, world: ReconcilerWorld) -> None:
        self.store = LeadStore(world.postgres_url, LANES, world.shadow, "stream")

    def close(self) -> None:
        """Ends its session."""
        self.store.close()

    def change(self, user_id: int, before: Row | None, after: Row | None, at: int, *, last: bool = True) -> Outcome:
        """One change, in a source transaction of its own where it is the last one."""
        row = after if after is not None else before
        assert row is not None
        return self._apply([Change(user_id, _TABLES[type(row)], before, after, at, at, last)])

    def beat(self, at: int) -> Outcome:
        """A heartbeat in every lane."""
        return self._apply([Change(NOBODY, None, None, None, at, at, last=True)])

    def _apply(self, changes: list[Change]) -> Outcome:
        by_lane: dict[int, list[Change]] = {}
        for change in changes:
            for lane in range(LANES) if change.table is None else [lane_of(change.user_id, LANES)]:
                by_lane.setdefault(lane, []).append(change)
        states, parts = self.store.lanes(by_lane), []
        for lane, own in by_lane.items():
            state = states[lane]
            version = max([state.version, *(change.version for change in own if change.last)])
            users = frozenset(change.user_id for change in own if change.table is not None)
            moves = (state.epoch, state.next_seq, state.next_seq + len(own), state.version, version)
            parts.append(LaneBatch(lane, *moves, {}, own, users, False, 0, (), {}))
        return applier.apply(Batch(1, parts, len(changes)), self.store)
