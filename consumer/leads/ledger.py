"""Changes in, queue changes and conversions out: the stream's way through the rules, pure and without I/O.

Where the design leaves a choice, it is made so:

- "Its lane has passed version v" is known at the first change or heartbeat above v, before that is applied, and at the
  end of the transaction v itself. So a lead that waited is judged as it stood at v, and the change that showed the
  lane to be past v is judged on its own.
- A change that leaves what we hold as it was cannot alter a judgement, so its lead is not judged again.
- A judgement is dated `changed_at`, but never before the open stint opened.
- Rules newer than those a lead was judged by are applied before its changes are, to the state it was judged in. A lead
  that waits has no such state: it is judged by its old rules when its time has come, and by the new ones after that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from consumer.leads.judge import adopted_at, judge, judge_late, rejudge
from consumer.leads.left_behind import CAME_EARLIER, LeftBehind, leave, take_claimless, take_over
from consumer.leads.merge_row import merge
from consumer.leads.model import NEVER, TABLES_OF_CLAIM, Change, Lead, Table
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules


def replay(
    changes: Sequence[Change],
    leads: dict[int, Lead],
    lane_version: int,
    rules: Rules,
    outcome: Outcome,
    set_aside: Collection[int] = (),
    left: LeftBehind | None = None,
) -> int:
    """Applies one lane's changes, in the lane's order, to the leads and judges them at transaction boundaries.

    `leads` are the working copies of every lead that we hold among those the changes name, and of any more whose
    `judge_after` the lane has passed; a user that is absent is unknown and is added. `lane_version` is the version of
    the lane's last completed transaction or heartbeat, and so is what is returned. Both `leads` and `outcome` are
    altered in place. The changes may begin and end inside a source transaction: how a lane is cut into replays makes no
    difference to stints and conversions.

    A new user, inserted before our eyes, is known whole and judged at once, even where a change of a claim that is only
    to move in was filed under it before. Of any other unknown lead too little is known: it takes changes, waits for a
    live read (`judge_after` NEVER), and a recheck is asked for. Users that are `set_aside` are among the leads, with
    `judge_after` NEVER, and keep it whatever comes.

    `left` is what was left behind under the names that `names_in` gives for the changes; it is altered too. A lead gets
    what was left for a user or claim that comes. Where that is not known whole (or `moved`, see Change), where a
    change's row could not be read, and where rows were missed in the midst of a source transaction, the leads concerned
    wait for a live read. Where changes are lost, whoever's they were, all leads do that are known by then. Who waits
    already, for a live read or the lane, waits for a read that holds what was missed.
    """
    left = {} if left is None else left
    rejudge_all(leads.values(), lane_version or (changes[0].version if changes else 0), rules, outcome)
    waiting = _Waiting(leads, rules, outcome)
    due = waiting.judge_passed(lane_version)
    touched: dict[int, Lead] = {}
    version, rules_version = lane_version, rules.version
    missed: Change | None = None
    for change in changes:
        version = change.version
        table = change.table
        if table is None and change.recheck is not None:
            for half_known in leads.values():
                if change.moved or half_known.user_id in touched or (half_known.judge_after or 0) > lane_version:
                    _await_read(half_known, change.recheck, outcome, missed=change)
            if version > lane_version:  # it stands in a transaction: whoever changes in the rest may have before
                missed = change
        if version > due:
            due = waiting.judge_passed(version - 1)
        if table is None:
            pass  # it ends a transaction at the most
        elif change.ties is not None and change.ties.claimless:
            take_claimless(change, left, outcome)
        elif change.ties is not None and change.ties.likely:
            if change.user_id not in leads:  # of a lead that we hold, a notice says the same
                leads[change.user_id] = _meet(change, outcome)
        else:
            user_id = change.user_id
            lead = leads.get(user_id)
            if lead is None:
                lead = leads[user_id] = _meet(change, outcome)
            elif lead.judge_after == NEVER and _is_insert(change) and not lead.version and user_id not in set_aside:
                lead.judge_after = None  # known whole after all: what we met it by was filed under it too early
            if change.before is None or change.ties is not None:
                if _come_or_go(change, lead, left, outcome):
                    touched[user_id] = lead
            elif merge(change, lead, outcome):
                touched[user_id] = lead
        if change.last:
            lane_version = max(lane_version, version)
            if missed is not None:
                for half_known in touched.values():
                    _await_read(half_known, missed.recheck or "", outcome, missed=missed)
                missed = None
            if touched:
                for lead in touched.values():
                    if lead.judge_after is None:
                        if lead.rules_version == rules_version:
                            judge(lead, lead.changed_at, rules, outcome)
                        else:
                            judge_late(lead, lead.changed_at, version, rules, outcome)
                touched.clear()
            if version >= due:
                due = waiting.judge_passed(version)
    if missed is not None:  # the rest of this transaction comes with another replay, which does not know
        for lead in leads.values():
            _await_read(lead, missed.recheck or "", outcome, missed=missed)
    for lead in touched.values():
        lead.judge_after = max(lead.judge_after or 0, version)
    return lane_version


def rejudge_all(leads: Iterable[Lead], known_until: int, rules: Rules, outcome: Outcome) -> None:
    """Brings leads that were judged by older rules, and do not wait, to these.

    `known_until` is the version (µs) that their lane has come to; 0 where there is no stream.
    """
    for lead in leads:
        if lead.rules_version != rules.version and lead.judge_after is None and lead.stint:
            rejudge(lead, adopted_at(rules, known_until), rules.by(lead.rules_version), rules, outcome)


def _come_or_go(change: Change, lead: Lead, left: LeftBehind, outcome: Outcome) -> bool:
    """Applies a change by which a row comes, or goes and leaves something behind; whether what we hold was altered."""
    if change.after is None:
        if change.before is None:
            reason = change.recheck or "a change could not be read"
            _await_read(lead, reason, outcome, unknown=True, missed=change)
            return False
        leave(change, lead, left, outcome)
        return merge(change, lead, outcome)
    altered = merge(change, lead, outcome)
    if change.moved and altered:
        _await_read(lead, "user or claim moved in", outcome, unknown=True)
    if change.table in TABLES_OF_CLAIM or (not left and change.ties is None):
        return altered
    more, incomplete = take_over(change, lead, left, outcome)
    if more:
        lead.changed_at = change.at
        outcome.leads[lead.user_id] = lead
    if incomplete is not None:
        _await_read(lead, incomplete, outcome, unknown=True)
    elif change.ties is not None and not change.ties.sure:
        outcome.rechecks.setdefault(lead.user_id, CAME_EARLIER)
    return altered or more


def _is_insert(change: Change) -> bool:
    """Whether a user's own row comes, and everything that belongs to it with it or later."""
    return change.table is Table.USERS and change.before is None and change.after is not None and not change.moved


def _meet(change: Change, outcome: Outcome) -> Lead:
    """The working copy of a lead of which the stream brings the first change."""
    lead = Lead(change.user_id)
    if not _is_insert(change):
        _await_read(lead, "met in the stream before anything was known of it", outcome)
    return lead


def _await_read(
    lead: Lead, reason: str, outcome: Outcome, *, unknown: bool = False, missed: Change | None = None
) -> None:
    """Has a lead read live before it is judged again; `unknown`: even if the user is inserted before our eyes.

    `missed` is a change whose rows are not known: a live read has to hold it for certain, and what it led to happened
    no later.
    """
    if unknown:
        lead.version = max(lead.version, 1)
    if missed is not None:
        lead.read_floor = max(lead.read_floor, missed.version - 1)
        lead.changed_at = max(lead.changed_at, missed.at)
    lead.judge_after = NEVER
    outcome.rechecks[lead.user_id] = reason
    outcome.leads[lead.user_id] = lead


class _Waiting:
    """The leads of a replay that are judged only when the lane has passed their `judge_after`."""

    def __init__(self, leads: dict[int, Lead], rules: Rules, outcome: Outcome) -> None:
        waiting = [(lead.judge_after, lead.user_id, lead) for lead in leads.values() if lead.judge_after is not None]
        self._latest_first = sorted(waiting, key=lambda entry: entry[:2], reverse=True)
        self._rules = rules
        self._outcome = outcome

    def judge_passed(self, version: int) -> int:
        """Judges those that waited for this version or an earlier one; returns the earliest still waited for."""
        waiting = self._latest_first
        while waiting and waiting[-1][0] <= version:
            judge_after, user_id, lead = waiting.pop()
            if lead.judge_after == judge_after:
                lead.judge_after = None
                self._outcome.leads[user_id] = lead
                judge_late(lead, lead.changed_at, version, self._rules, self._outcome)
        return waiting[-1][0] if waiting else NEVER
