"""Where a judged state leaves a lead: stints closed and opened, conversions, what the call centre is to see.

Where the design leaves a choice, it is made so:

- A requirement counts as outstanding at a judged moment whatever became of its claim; only what is settled must be on
  an open claim. The moment that opens a stint belongs to it, the moment that closes it does not.
- A signature file that was paid before closes the stint as `signature_obtained` all the same, without a conversion.
- What ends a stay in no queue is named after the rule that kept the lead there last: a lead whose claims were all
  closed comes back by `claim_reopened`, even where the open claim is a new one.
- Rules that changed move a lead without anything having happened to it: such a stint earns nothing, and what the new
  rules alone settled or excluded is forgotten, so that it can complete nothing later either.
- A first sight resets no score. A queue entered and left within one replay is reported as left only.
"""

from __future__ import annotations

from typing import Final

from consumer.leads.model import (
    Conversion,
    ConversionType,
    Key,
    Lead,
    QueueChange,
    QueueType,
    Reason,
    Rule,
    Stint,
    held_text,
    numerically,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules, is_on_open_claim, outstanding, queue_for

_UNSIGNED: Final = QueueType.UNSIGNED_USERS
_OUTSTANDING: Final = QueueType.REQUIREMENTS_OUTSTANDING
_NONE: Final = QueueType.NONE

_LEFT_FOR_NONE: Final = {
    Rule.USER_GONE: Reason.USER_DELETED,
    Rule.USER_DISABLED: Reason.USER_DISABLED,
    Rule.CLAIMS_CLOSED: Reason.CLAIMS_CLOSED,
}
"""Reasons by the rule that decides now."""

_CAME_BACK: Final = {
    Rule.USER_GONE: Reason.USER_RETURNED,
    Rule.USER_DISABLED: Reason.USER_ENABLED,
    Rule.CLAIMS_CLOSED: Reason.CLAIM_REOPENED,
}
"""Reasons by the rule that kept the lead in `none` until now."""


ENTERED: Final = {_UNSIGNED: Reason.SIGNATURE_MISSING, _OUTSTANDING: Reason.REQUIREMENT_ADDED}
"""Reasons by the queue that a lead comes into out of none, where nothing kept it there."""


def judge(lead: Lead, at: int, rules: Rules, outcome: Outcome) -> None:
    """Puts a lead into the queue its state belongs in, `at` being the commit time (µs) of what brought it there.

    The first judgement opens stint 1 and never converts. Later, when the queue differs from the open stint's, the
    stint closes and the next one opens at that same moment, a µs after the closed one opened at the earliest: so the
    moments of one lead's stints, and with them its conversions, are all different. The state must be one that existed
    in MySQL: callers judge at the boundaries of source transactions only, and by the rules that the lead was judged by
    before (`rejudge` and `judge_late` bring it to newer ones).
    """
    verdict = queue_type, rule = queue_for(lead, rules)
    if lead.stint == 0:
        lead.rules_version = rules.version
        _open(lead, verdict, at, Reason.FIRST_SEEN, outcome)
        outcome.queue_changes[lead.user_id] = QueueChange(
            lead.user_id, queue_type, frozenset(), entered=False, first_sight=True, reason=Reason.FIRST_SEEN, at=at
        )
    elif queue_type is not lead.queue_type:
        reason, settled = _why(lead, verdict, rules)
        at = max(at, lead.opened_at + 1)
        _close(lead, at, reason, settled, outcome)
        _add_queue_change(lead, queue_type, at, reason, outcome)
        _open(lead, verdict, at, reason, outcome)
    elif rule is not lead.rule:
        lead.rule = rule
        outcome.leads[lead.user_id] = lead
    if queue_type is _OUTSTANDING:
        seen = outstanding(lead, rules)
        if not lead.outstanding_seen.issuperset(seen):
            lead.outstanding_seen = lead.outstanding_seen.union(seen)
            outcome.leads[lead.user_id] = lead


def rejudge(lead: Lead, at: int, old: Rules, new: Rules, outcome: Outcome) -> None:
    """Brings a lead from the rules it was judged by to newer ones; nothing about its rows has changed.

    Where it belongs elsewhere now, its stint closes as `rules_changed`, at `at` (µs) but after it opened, and
    never with a conversion. The state must be the one that the lead was judged in last.
    """
    verdict = queue_type, rule = queue_for(lead, new)
    lead.rules_version = new.version
    outcome.leads[lead.user_id] = lead
    if queue_type is not lead.queue_type:
        at = max(at, lead.opened_at + 1)
        _close(lead, at, Reason.RULES_CHANGED, (), outcome)
        _add_queue_change(lead, queue_type, at, Reason.RULES_CHANGED, outcome)
        _open(lead, verdict, at, Reason.RULES_CHANGED, outcome)
    else:
        lead.rule = rule
        lead.outstanding_seen = frozenset(
            id_ for id_ in lead.outstanding_seen if not _is_done_by_rules(lead, id_, old, new)
        )
    if queue_type is _OUTSTANDING:
        lead.outstanding_seen = lead.outstanding_seen.union(outstanding(lead, new))


def _is_done_by_rules(lead: Lead, requirement_id: Key, old: Rules, new: Rules) -> bool:
    """Whether a requirement that was outstanding is so no longer, or is settled, by nothing but the new rules."""
    requirement = lead.requirements.get(requirement_id)
    if requirement is None:
        return False
    owed_no_longer = old.is_outstanding(requirement) and not new.is_outstanding(requirement)
    return owed_no_longer or (new.settles(requirement.status) and not old.settles(requirement.status))


def judge_late(lead: Lead, at: int, known_until: int, rules: Rules, outcome: Outcome) -> None:
    """Judges a lead whose rules may be older than those in force: by its own first, then by these.

    What happened to it until now happened under the old rules, conversions included. `known_until` is the version (µs)
    up to which everything of its lane is known; 0 where there is no stream.
    """
    if lead.stint == 0 or lead.rules_version == rules.version:
        judge(lead, at, rules, outcome)
    else:
        old = rules.by(lead.rules_version)
        judge(lead, at, old, outcome)
        rejudge(lead, adopted_at(rules, known_until), old, rules, outcome)


def adopted_at(rules: Rules, known_until: int) -> int:
    """When rules took effect for a lead (µs): no later than its lane has come to, for more of that time may follow."""
    return min(rules.adopted_at, known_until) if known_until else rules.adopted_at


def _why(lead: Lead, verdict: tuple[QueueType, Rule], rules: Rules) -> tuple[Reason, tuple[Key, ...]]:
    """Why the open stint closes, the first reason that holds, and which requirements completed it."""
    queue_type, rule = verdict
    left = lead.queue_type
    reason = _LEFT_FOR_NONE.get(rule)
    if reason is not None:
        return reason, ()
    if queue_type is _UNSIGNED and left is not _NONE:
        return Reason.SIGNATURE_REMOVED, ()
    if left is _UNSIGNED:
        return Reason.SIGNATURE_OBTAINED, ()
    if left is _OUTSTANDING:
        settled = _settled_now(lead, rules)
        return (Reason.REQUIREMENTS_COMPLETED if settled else Reason.REQUIREMENTS_WITHDRAWN), settled
    came_back = _CAME_BACK.get(lead.rule) if lead.rule else None
    return came_back or ENTERED[queue_type], ()


def _settled_now(lead: Lead, rules: Rules) -> tuple[Key, ...]:
    """Requirements that were outstanding in this stint and are settled now, on an open claim; in order of id."""
    settled = []
    for id_ in sorted(lead.outstanding_seen, key=numerically):
        requirement = lead.requirements.get(id_)
        if requirement is None or not rules.settles(requirement.status):
            continue
        if is_on_open_claim(requirement, lead, rules):
            settled.append(id_)
    return tuple(settled)


def _close(lead: Lead, at: int, reason: Reason, settled: tuple[Key, ...], outcome: Outcome) -> None:
    """Closes the open stint and records the conversion it earned, if any: one per signature file at most."""
    left = lead.queue_type
    assert left is not None, "a lead with an open stint is in a queue"
    conversion_type, signature = None, None
    if reason is Reason.REQUIREMENTS_COMPLETED:
        conversion_type = ConversionType.REQUIREMENTS_COMPLETED
    elif reason is Reason.SIGNATURE_OBTAINED and lead.signature:
        file = held_text(lead.signature)
        if file not in lead.converted_signatures:
            conversion_type, signature = ConversionType.SIGNATURE_OBTAINED, file
            lead.converted_signatures |= {file}
    if conversion_type is not None:
        earlier = outcome.queue_changes.get(lead.user_id)
        reset_at = earlier.at if earlier is not None and earlier.entered else None
        outcome.conversions.append(
            Conversion(lead.user_id, lead.stint, left, conversion_type, at, signature, settled, reset_at)
        )
    key = (lead.user_id, lead.stint)
    opened = outcome.stints.get(key)
    opened_reason = opened.opened_reason if opened else None
    outcome.stints[key] = Stint(*key, left, lead.opened_at, opened_reason, at, reason, conversion_type, signature)


def _open(lead: Lead, verdict: tuple[QueueType, Rule], at: int, reason: Reason, outcome: Outcome) -> None:
    lead.stint += 1
    lead.queue_type, lead.rule = verdict
    lead.opened_at = at
    lead.outstanding_seen = frozenset()
    outcome.leads[lead.user_id] = lead
    outcome.stints[lead.user_id, lead.stint] = Stint(lead.user_id, lead.stint, verdict[0], at, reason)


def _add_queue_change(lead: Lead, queue_type: QueueType, at: int, reason: Reason, outcome: Outcome) -> None:
    """Adds the move out of the lead's queue into another to what the call centre's tables get."""
    left = frozenset([lead.queue_type] if lead.queue_type else [])
    entered, first_sight = queue_type is not _NONE, False
    earlier = outcome.queue_changes.get(lead.user_id)
    if earlier is not None:
        left |= earlier.left
        entered |= earlier.entered
        first_sight = earlier.first_sight
    outcome.queue_changes[lead.user_id] = QueueChange(lead.user_id, queue_type, left, entered, first_sight, reason, at)
