"""Leads that PostgreSQL refuses: nothing of the call centre's own that refuses a lead's rows may stop a lane.

A refused lead is set aside: its changes are kept, it is not judged, and a recheck is queued that judges it as soon as
PostgreSQL takes it. The others of its batch go through. Which ones they are is found by halving the batch, level by
level, every half tried in a transaction that is undone. That costs about 2 · log2(n / r) + 4 trials per refused lead,
where r among n are refused, and each trial handles its own part of the batch only.

The work has a bound, TRIALS: enough to find several hundred refused leads among ten thousand one by one. Where more are
refused, something is wrong with the table rather than with single leads, and to go on halving would hold up the lane
for minutes a batch. The groups that are still suspected then, a few leads each and at least one of them refused, are
set aside whole; their rechecks tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, NoReturn

import psycopg

from consumer.applier.batches import Batch, is_orphan
from consumer.applier.replay import decide
from consumer.lane import lane_of
from consumer.leads.model import Change, Key
from consumer.store.conflicts import again_if_in_the_way
from consumer.store.errors import TransactionConflict
from consumer.store.leads import LeadStore
from consumer.store.refusal import is_refusal, reason_of
from consumer.stream.envelope import NOBODY

TRIALS: Final = 5_000
"""How many parts of one batch are tried at most."""


@dataclass(slots=True, frozen=True)
class Reach:
    """Leads that a batch concerns without a change under their name, as its transaction found them: those `waiting` to
    be judged, and the `owners` (claim, user) of the claims that orphans of its lanes lead to."""

    waiting: list[int] = field(default_factory=list)
    owners: list[tuple[Key, int]] = field(default_factory=list)

    def users(self, batch: Batch) -> set[int]:
        """All leads that the batch may alter."""
        return batch.user_ids.union(self.waiting, (user for _, user in self.owners))


class _Group(NamedTuple):
    """Some leads in order, what of the batch concerns them, and what PostgreSQL has against that."""

    users: list[int]
    batch: Batch
    error: psycopg.Error


class _UndoneError(Exception):
    """The end of a trial: PostgreSQL took everything, and none of it is to stay."""


def refused_leads(
    batch: Batch,
    reach: Reach,
    error: psycopg.Error,
    store: LeadStore,
    *,
    without: Collection[int] = (),
    wanted: Callable[[], bool] = lambda: True,
    past_unseen: bool = False,
) -> dict[int, str]:
    """user → reason of those leads of a batch, `without` some, for which PostgreSQL raised `error`. Nothing is written.

    Leads that are refused only together, as by a trigger that looks at whole statements, are refused all of them. Empty
    where PostgreSQL has nothing against them any longer. Rows that somebody holds are passed over, so that nobody is
    waited for in trial after trial; `past_unseen` as `LeadStore.transaction` takes it. Raises what that raises, and
    TransactionConflict as soon as the answer is not `wanted`.
    """
    refused: dict[int, str] = {}
    trials = 0

    def trial(users: list[int], part: Batch) -> psycopg.Error | None:
        nonlocal trials
        trials += 1
        if not wanted():
            raise TransactionConflict(
                "refused leads are not looked for any longer: the batch is not ours now, or we are to stop"
            )
        return again_if_in_the_way(_trial, part, users, reach, store, past_unseen, locked=True)

    users = sorted(reach.users(batch).difference(without))
    candidates = [_Group(users, _concerning(batch, users, store.lane_count), error)]
    while candidates:
        narrower: list[_Group] = []
        for group in candidates:
            if len(group.users) < 2 or trials >= TRIALS:
                refused.update(dict.fromkeys(group.users, reason_of(group.error)))
                continue
            found = []
            for half in _halves(group.users):
                part = _concerning(group.batch, half, store.lane_count)
                if (against := trial(half, part)) is not None:
                    found.append(_Group(half, part, against))
            if not found and (against := trial(group.users, group.batch)) is not None:
                refused.update(dict.fromkeys(group.users, reason_of(against)))
            narrower += found
        candidates = narrower
    return refused


def _halves(users: list[int]) -> tuple[list[int], list[int]]:
    middle = len(users) // 2
    return users[:middle], users[middle:]


def _trial(part: Batch, users: list[int], reach: Reach, store: LeadStore, past_unseen: bool) -> psycopg.Error | None:
    """What PostgreSQL has against these users' part of the batch."""
    chosen = frozenset(users)
    waiting = [user_id for user_id in reach.waiting if user_id in chosen]
    owners = [(claim_id, user_id) for claim_id, user_id in reach.owners if user_id in chosen]
    try:
        with store.transaction(past_held=True, past_unseen=past_unseen) as tx:
            outcome = decide(part, tx.load(users), waiting, owners, lanes=store.lane_count, rules=tx.rules)
            tx.write(outcome)
            tx.check_deferred()
            tx.before(part.versions, 1)  # waits for all the answers
            _undo()
    except _UndoneError:
        return None
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return error


def _undo() -> NoReturn:
    raise _UndoneError


def _concerning(batch: Batch, users: Iterable[int], lanes: int) -> Batch:
    """What of a batch concerns these users: their changes, orphans, and where transactions end."""
    chosen = frozenset(users)
    theirs = {lane_of(user_id, lanes) for user_id in chosen}
    parts = [
        replace(
            part,
            changes=list(_changes(part.changes, chosen)),
            user_ids=part.user_ids & chosen,
            rechecks={},
        )
        for part in batch.lanes
        if part.lane in theirs
    ]
    return replace(batch, lanes=parts)


def _changes(changes: Iterable[Change], chosen: frozenset[int]) -> Iterator[Change]:
    """The changes of the chosen and the orphans; of a run of others only its last end of a transaction, and its end."""
    end: Change | None = None
    rest: Change | None = None
    for change in changes:
        if change.table is not None and (change.user_id in chosen or is_orphan(change)):
            yield from filter(None, (end, rest))
            end = rest = None
            yield change
        elif change.last:
            end, rest = change._replace(user_id=NOBODY, table=None, before=None, after=None), None
        else:
            rest = change._replace(user_id=NOBODY, table=None, before=None, after=None)
    yield from filter(None, (end, rest))
