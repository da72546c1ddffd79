"""What MySQL holds now, merged into what we hold: the reconciler's way through the rules, pure and without I/O.

A live read has no place in the lane. It holds every change up to its floor for certain, none that was committed after
it ended, and of those between (its last minute) it may hold some that the stream is still to bring, and lack some that
the stream brought already. Hence:

- A row that the stream wrote above the floor stays as it is: the stream speaks of it last. If the read differs
  there, the merged state may never have existed, and the lead is judged when its lane has passed the end of the read.
- A row that the stream removed above the floor left no trace but the raised `read_floor`: a read whose floor is older
  than that is refused and another one asked for.
- Everything else is taken from the read, and changes of the stream above the floor are applied over it once more; the
  lead is judged by the stream again only when its lane has passed the end of the read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from consumer.leads.judge import adopted_at, judge_late, rejudge
from consumer.leads.merge_row import holds, put, remove, version_held
from consumer.leads.model import NEVER, ClaimRow, Lead, LiveRow, LiveState, RequirementRow, Row, UserRow
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules


def repair(
    lead: Lead,
    live: LiveState,
    floor: int,
    read_ended: int,
    rules: Rules,
    outcome: Outcome,
    known_until: int = 0,
) -> None:
    """Makes a lead agree with a consistent live read of its rows in MySQL, and judges it once.

    `floor` is the server's time (µs) before the read, less longer than any commit takes to become visible;
    `read_ended` is the server's time after it. The lead must be locked against the applier, and the stream must have
    nothing to bring any more that was committed before the floor: the caller sees to that. `known_until` is the
    version (µs) that its lane has come to, 0 where there is no stream: newer rules than the lead was judged by are
    dated no later, and applied to what we hold before the differences are.

    A lead never judged gets stint 1 where the state belongs, opened at the floor, and no conversion. Of a known lead
    two states are known, the one we hold and the present one: one judgement is made, between them, dated `read_ended`.
    What lay in between is not guessed, and no row's `updated_at` orders anything.
    Where changes of the stream are waiting to be judged and the read adds nothing, or completes what they began
    (`judge_after` NEVER), the judgement is dated by them. A lead without differences is judged too.

    A read that was overtaken alters nothing, and a recheck is asked for if it showed anything new: overtaken by a
    removal in the stream, by a later read, in all that it shows by rows of the stream, or, where the lead waits for a
    read (`judge_after` NEVER), by any of them, because this read may lack the requirements of a claim that moved in.
    """
    fresh = lead.stint == 0
    blind = lead.judge_after == NEVER
    differences = _differences(lead, live)
    taken = [difference for difference in differences if version_held(lead, difference.row) <= floor]
    mixed = len(taken) < len(differences)
    if floor < lead.read_floor or (mixed and (blind or not taken)):
        if differences or fresh or blind:
            outcome.rechecks[lead.user_id] = "what was read live had been overtaken by the stream"
        return
    unjudged = blind or (lead.judge_after is not None and lead.changed_at > lead.read_floor)
    if not (fresh or unjudged) and lead.rules_version != rules.version:
        rejudge(lead, adopted_at(rules, known_until), rules.by(lead.rules_version), rules, outcome)
    for difference in taken:
        write = put if difference.present else remove
        write(lead, difference.row, floor, outcome)
    if not mixed:
        at = floor if fresh else lead.changed_at if unjudged and (blind or not taken) else read_ended
        judge_late(lead, at, known_until, rules, outcome)
    lead.read_floor = floor
    lead.judge_after = read_ended if blind else max(read_ended, lead.judge_after or 0)
    outcome.leads[lead.user_id] = lead


class _Difference(NamedTuple):
    """A row that MySQL has otherwise than we do (`present`), or not at all."""

    row: Row
    present: bool


def _differences(lead: Lead, live: LiveState) -> list[_Difference]:
    """What is there first; what is gone comes last, claims before requirements before the user."""
    found = [_Difference(row.row, present=True) for row in _rows(live) if not holds(lead, row.row)]
    return found + [_Difference(row, present=False) for row in _gone(lead, live)]


def _rows(live: LiveState) -> Iterator[LiveRow[Row]]:
    if live.user is not None:
        yield live.user
    yield from live.claims
    yield from live.requirements


def _gone(lead: Lead, live: LiveState) -> Iterator[Row]:
    claims = {claim.row.id for claim in live.claims}
    requirements = {requirement.row.id for requirement in live.requirements}
    for claim in lead.claims.values():
        if claim.id not in claims:
            yield ClaimRow(claim.id, lead.user_id, claim.status)
    for held in lead.requirements.values():
        if held.id not in requirements:
            yield RequirementRow(held.id, held.claim_id, held.type, held.status, held.reason)
    if lead.exists and live.user is None:
        yield UserRow(lead.user_id, lead.signature, lead.enabled)
