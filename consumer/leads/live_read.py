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
from consumer.leads.model import NEVER, ClaimRow, Lead, LiveState, RequirementRow, Row, UserRow
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
    """A lead brought into agreement with a consistent live read of its rows in MySQL, and judged once.

    `floor` is the server's time (µs) before the read, less longer than any commit takes to become visible;
    `read_ended` is the server's time after it. The lead must be locked against the applier, and the stream must have
    nothing to bring any more that was committed before the floor: the caller sees to that. `known_until` is the
    version (µs) that its lane has come to, 0 where there is no stream: newer rules than the lead was judged by are
    dated no later, and applied to what we hold before the differences are.

    What becomes of it; "newer rows" are differences that the stream wrote above the floor, "blind" is a lead that waits
    for a read (`judge_after` NEVER), "unjudged" one with changes of the stream that nobody has judged:

    | the read's rows | the lead | taken | judged |
    |---|---|---|---|
    | any, its floor below `read_floor` | any | none | no: a removal or a later read came after it |
    | newer ones alone | any | none | no: the stream speaks last |
    | newer ones among others | blind | none | no: it may lack the requirements of a claim that moved in |
    | newer ones among others | any other | the others | by the stream, when the lane has passed the read |
    | no newer ones | never judged | all | at the floor: stint 1, no conversion |
    | no newer ones | blind, or unjudged where nothing differs | all | at the last change of the stream |
    | no newer ones | any other | all | at the end of the read |

    Where none are taken, a recheck is asked for if the read showed anything new, or the lead was never judged, or waits
    for a read. Of a known lead two states are known, the one we hold and the present one: one judgement is made,
    between them. What lay in between is not guessed, and no row's `updated_at` orders anything. A lead without
    differences is judged too.
    """
    differences = _differences(lead, live)
    taken = [difference for difference in differences if version_held(lead, difference.row) <= floor]
    if _is_overtaken(lead, floor, newer=len(taken) < len(differences), taken=bool(taken)):
        if differences or lead.stint == 0 or lead.judge_after == NEVER:
            outcome.rechecks[lead.user_id] = "what was read live had been overtaken by the stream"
        return
    at = _judged_at(lead, floor, read_ended, taken=bool(taken))
    if lead.stint and not _is_unjudged(lead) and lead.rules_version != rules.version:
        rejudge(lead, adopted_at(rules, known_until), rules.by(lead.rules_version), rules, outcome)
    _take(lead, taken, floor, outcome)
    if len(taken) == len(differences):
        judge_late(lead, at, known_until, rules, outcome)
    lead.judge_after = read_ended if lead.judge_after == NEVER else max(read_ended, lead.judge_after or 0)
    lead.read_floor = floor
    outcome.leads[lead.user_id] = lead


def _is_overtaken(lead: Lead, floor: int, *, newer: bool, taken: bool) -> bool:
    """Whether the stream, or a later read, knows better than this one."""
    return floor < lead.read_floor or (newer and (lead.judge_after == NEVER or not taken))


def _judged_at(lead: Lead, floor: int, read_ended: int, *, taken: bool) -> int:
    """The moment (µs) that a judgement of the lead is dated."""
    if lead.stint == 0:
        return floor
    from_stream = lead.judge_after == NEVER or (_is_unjudged(lead) and not taken)
    return lead.changed_at if from_stream else read_ended


def _is_unjudged(lead: Lead) -> bool:
    """Whether the stream brought changes that nobody has judged."""
    return lead.judge_after == NEVER or (lead.judge_after is not None and lead.changed_at > lead.read_floor)


def _take(lead: Lead, taken: list[_RowToTake], floor: int, outcome: Outcome) -> None:
    """Puts rows into the lead as the read has them."""
    for difference in taken:
        write = put if difference.present else remove
        write(lead, difference.row, floor, outcome)


class _RowToTake(NamedTuple):
    """A row that MySQL has otherwise than we do (`present`), or not at all."""

    row: Row
    present: bool


def _differences(lead: Lead, live: LiveState) -> list[_RowToTake]:
    """What is there first; what is gone comes last, claims before requirements before the user."""
    found = [_RowToTake(row, present=True) for row in live.rows() if not holds(lead, row)]
    return found + [_RowToTake(row, present=False) for row in _gone(lead, live)]


def _gone(lead: Lead, live: LiveState) -> Iterator[Row]:
    """What we hold and the read lacks: claims of a user who is gone, too.

    To `drift.differences` those are no reason for a repair, because they put nobody into a queue; where the lead is
    repaired for another reason, they are taken out together with it.
    """
    claims = {claim.id for claim in live.claims}
    requirements = {requirement.id for requirement in live.requirements}
    for claim in lead.claims.values():
        if claim.id not in claims:
            yield ClaimRow(claim.id, lead.user_id, claim.status)
    for held in lead.requirements.values():
        if held.id not in requirements:
            yield RequirementRow(held.id, held.claim_id, held.type, held.status, held.reason)
    if lead.exists and live.user is None:
        yield UserRow(lead.user_id, lead.signature, lead.enabled)
