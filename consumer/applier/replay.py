"""What a batch of the stream comes to: orphans find their leads, and each lane's changes go through the ledger. Pure.

An orphan is a change of a requirement whose claim was gone when the reader asked whose it is. It travels in the lane of
its claim's id, and as a notice in every other: the lane that holds the claim at that place in its order knows the user,
and the others pass it over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from consumer.applier.batches import Batch, claim_of, is_orphan
from consumer.lane import lane_of
from consumer.leads.ledger import replay
from consumer.leads.left_behind import LeftBehind, of_user
from consumer.leads.model import NEVER, Change, ClaimRow, Key, Lead, Table
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules


def decide(
    batch: Batch,
    leads: Mapping[int, Lead],
    waiting: Sequence[int],
    owners: Sequence[tuple[Key, int]],
    *,
    lanes: int,
    rules: Rules,
    refused: Mapping[int, str] = MappingProxyType({}),
    left: LeftBehind | None = None,
) -> Outcome:
    """The outcome of a batch.

    `leads` are all that we hold among the batch's users, those `waiting` to be judged because their lane has passed
    their `judge_after`, and the `owners` (claim, user) of orphans' claims before the batch. Leads that PostgreSQL
    `refused` (user → reason) take their changes but are not judged until a recheck. `left` is what was left behind
    before the batch, of what it concerns. Users whose message was set aside without a place are not judged either.
    """
    outcome = Outcome()
    waiting_in = _by_lane((user_id for user_id in waiting if user_id in leads), lanes)
    for part in batch.lanes:
        changes, user_ids = part.changes, part.user_ids
        if part.orphaned:
            here = {claim: user for claim, user in owners if lane_of(user, lanes) == part.lane}
            changes = list(_adopted(changes, here, left or {}, outcome))
            user_ids = user_ids.union(change.user_id for change in changes if change.table is not None)
        own = {user_id: lead for user_id in user_ids if (lead := leads.get(user_id)) is not None}
        own.update((user_id, leads[user_id]) for user_id in waiting_in.get(part.lane, ()))
        for user_id in part.unplaced:
            if user_id in leads:
                own[user_id] = leads[user_id]
        unjudged = {**refused, **part.unplaced} if part.unplaced else refused
        for user_id in unjudged:
            if user_id in user_ids or user_id in own:
                lead = own.setdefault(user_id, Lead(user_id))
                lead.judge_after = NEVER
                outcome.leads[user_id] = lead
        replay(changes, own, part.version_before, rules, outcome, unjudged, left)
        for user_id in part.unplaced:  # nobody knows where among the changes their message belongs
            if (lead := own.get(user_id)) is not None:
                lead.read_floor = max(lead.read_floor, part.version)
                lead.changed_at = max(lead.changed_at, part.version)
        outcome.rechecks.update(part.rechecks)
    outcome.rechecks.update(refused)
    return outcome


def _by_lane(user_ids: Iterable[int], lanes: int) -> dict[int, list[int]]:
    sorted_out: dict[int, list[int]] = {}
    for user_id in user_ids:
        sorted_out.setdefault(lane_of(user_id, lanes), []).append(user_id)
    return sorted_out


def _adopted(changes: Iterable[Change], owners: dict[Key, int], left: LeftBehind, outcome: Outcome) -> Iterator[Change]:
    """The changes of a lane, orphans under the user that held their claim at that point; the others lose their row.

    `owners` (claim → user of this lane) is where the lane stood before, and `left` what had been left for the users of
    this lane. An orphan still ends its source transaction.
    """
    leaving: dict[int | str, list[Key]] = {}
    for change in changes:
        if is_orphan(change):
            user_id = owners.get(claim_of(change) or "")
            if user_id is None:
                outcome.skipped["orphan of another lane"] += 1
                yield change._replace(table=None, before=None, after=None)
            else:
                yield change._replace(user_id=user_id)
            continue
        if isinstance(change.after, ClaimRow):
            owners[change.after.id] = change.user_id
        elif isinstance(change.before, ClaimRow):
            owners.pop(change.before.id, None)
        elif change.table is Table.USERS and change.after is None and not (change.ties and change.ties.stays):
            leaving[change.user_id] = [claim for claim, user in owners.items() if user == change.user_id]
            owners = {claim: user for claim, user in owners.items() if user != change.user_id}
        elif change.table is Table.USERS and change.ties and change.ties.was is not None:
            kept = left.get(of_user(change.ties.was))
            claims = leaving.pop(change.ties.was, None) or (kept.claims if kept else ())
            owners.update(dict.fromkeys(claims, change.user_id))
        yield change
