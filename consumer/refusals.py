"""Leads that PostgreSQL refuses: a constraint or a trigger of the call centre's own must not stop a lane.

A refused lead is set aside: its changes are kept, it is not judged, and a recheck is queued that judges it as soon as
PostgreSQL takes it. The others of its batch go through. Which ones they are is found by halving the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NoReturn

import psycopg

from consumer.decide import decide
from consumer.leads.model import Change
from consumer.leads.rules import Rules
from consumer.store.leads import LeadStore
from consumer.stream.batches import Batch
from consumer.stream.envelope import NOBODY

REFUSALS: Final = ("22", "23", "44", "P0")
"""SQLSTATE classes that speak of a row: data exceptions, constraints, check options, exceptions raised by triggers."""
MOST: Final = 20
"""So many refused leads are told apart; where there are more, the whole rest of the batch is set aside with them."""


class _UndoneError(Exception):
    """Ends a trial: PostgreSQL took everything, and none of it is to stay."""


def is_refusal(error: psycopg.Error) -> bool:
    """Whether PostgreSQL refused a row, not the work as such."""
    return error.sqlstate is not None and error.sqlstate.startswith(REFUSALS)


def reason_of(error: psycopg.Error) -> str:
    """Why, without a word of what the row holds."""
    place = ", ".join(filter(None, (error.diag.table_name, error.diag.constraint_name)))
    return f"PostgreSQL refused it with {error.sqlstate}{f' ({place})' if place else ''}"


def refused_leads(batch: Batch, waiting: Sequence[int], store: LeadStore, rules: Rules) -> dict[int, str]:
    """user → reason of those leads of a batch that PostgreSQL refuses. Nothing stays written.

    `waiting` are leads that are judged in this batch without a change of their own. Raises what `LeadStore` raises.
    """
    refused: dict[int, str] = {}
    untried = [sorted(batch.user_ids.union(waiting))]
    while untried:
        users = untried.pop()
        error = _trial(batch, users, waiting, store, rules)
        if error is None:
            continue
        if len(users) == 1 or len(refused) >= MOST:
            refused.update(dict.fromkeys(users, reason_of(error)))
        else:
            middle = len(users) // 2
            untried += [users[middle:], users[:middle]]
    return refused


def _trial(
    batch: Batch, users: Sequence[int], waiting: Sequence[int], store: LeadStore, rules: Rules
) -> psycopg.Error | None:
    """What PostgreSQL has against these users' part of the batch."""
    chosen = frozenset(users)
    parts = [
        replace(
            part,
            changes=[change if change.user_id in chosen else _ending(change) for change in part.changes],
            user_ids=part.user_ids & chosen,
            orphaned=False,
        )
        for part in batch.lanes
    ]
    due = [user_id for user_id in waiting if user_id in chosen]
    try:
        with store.transaction() as tx:
            outcome = decide(replace(batch, lanes=parts), tx.load(users), due, (), lanes=store.lane_count, rules=rules)
            tx.write(outcome)
            tx.check_deferred()
            tx.pending(batch.versions, 1)  # waits for all the answers
            _undo()
    except _UndoneError:
        return None
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return error


def _undo() -> NoReturn:
    raise _UndoneError


def _ending(change: Change) -> Change:
    return change._replace(user_id=NOBODY, table=None, before=None, after=None)
