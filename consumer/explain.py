"""Why a customer is, or is not, in a queue: what we hold of one lead, in plain sentences. Pure; reads nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from consumer.leads.merge_row import put
from consumer.leads.model import NEVER, Key, Lead, LiveState, QueueType, Reason, Rule, numerically
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules, is_on_open_claim, queue_for
from consumer.store.lookups import CallCentreRow, LeadRecord, PastStint, PendingRecheck, RecordedConversion, ShownAhead
from consumer.versions import moment

_SHOWN: Final = 5
"""How many documents or claims a sentence names."""

OPENED: Final[dict[str, str]] = {
    Reason.FIRST_SEEN: "this is where we first saw them",
    Reason.USER_DELETED: "the customer was deleted",
    Reason.USER_DISABLED: "the customer was disabled",
    Reason.CLAIMS_CLOSED: "every claim was closed",
    Reason.SIGNATURE_REMOVED: "the signature was removed",
    Reason.SIGNATURE_OBTAINED: "the customer signed",
    Reason.REQUIREMENTS_COMPLETED: "the last document asked for came in",
    Reason.REQUIREMENTS_WITHDRAWN: "the documents are no longer asked for",
    Reason.USER_RETURNED: "the customer came back",
    Reason.USER_ENABLED: "the customer was enabled again",
    Reason.CLAIM_REOPENED: "a claim was opened or reopened",
    Reason.SIGNATURE_MISSING: "the signature was missing",
    Reason.REQUIREMENT_ADDED: "a document was asked for",
    Reason.RULES_CHANGED: "other rules were adopted",
}


@dataclass(frozen=True)
class Verdict:
    """Where some state belongs, by which rule, and that rule in words."""

    queue_type: QueueType
    rule: Rule
    because: str


@dataclass(frozen=True)
class Live:
    """What MySQL holds now: where that belongs, when it was read, and what of it differs from what we hold.

    `exists` False: MySQL has no such user. `drift` are kinds of difference; empty where both agree.
    """

    exists: bool
    verdict: Verdict
    as_of: datetime
    drift: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """A row as the newest change of it that we saw left it: `row` is user, claim or requirement; when it was committed,
    or a minute before it was read live."""

    row: str
    id: str
    status: str | None
    at: datetime


@dataclass(frozen=True)
class Explanation:
    """One customer, whole: for programs the facts, for people `sentences`.

    `agrees` says whether MySQL, read live, puts the lead where our open stint has it; None where either is unknown.
    `behind_seconds` is how far what we hold lags that read: up to such an age, a difference may still be on its way.
    `changes` are the last changes seen of the rows we hold, of each its newest, newest first.
    """

    user_id: int
    queue_type: QueueType | None
    verdict: Verdict | None
    since: datetime | None
    as_of: datetime | None
    stints: list[PastStint]
    conversions: list[RecordedConversion]
    call_centre: CallCentreRow | None
    recheck: PendingRecheck | None
    shown: ShownAhead | None
    changes: list[Seen]
    live: Live | None
    agrees: bool | None
    behind_seconds: float | None
    sentences: list[str]


def verdict(lead: Lead, rules: Rules) -> Verdict:
    """Where a lead belongs and why, in words."""
    queue_type, rule = queue_for(lead, rules)
    return Verdict(queue_type, rule, _because(lead, rule, rules))


def lead_of(user_id: int, live: LiveState) -> Lead:
    """What MySQL holds of a user as a lead that was never judged; of a user that is gone nothing else counts."""
    if live.user is None:
        return Lead(user_id)
    lead, written = Lead(user_id), Outcome()
    for row in live.rows():
        put(lead, row, 0, written)
    return lead


def last_changes(lead: Lead) -> list[Seen]:
    """The newest changes among the rows that we hold of a lead, newest first."""
    rows: list[tuple[int, str, str, str | None]] = [(lead.version, "user", str(lead.user_id), None)]
    rows += [(claim.version, "claim", claim.id, claim.status) for claim in lead.claims.values()]
    rows += [(asked.version, "requirement", asked.id, asked.status) for asked in lead.requirements.values()]
    newest = sorted((row for row in rows if row[0]), key=lambda row: row[0], reverse=True)[:_SHOWN]
    return [Seen(row, id_, status, moment(version)) for version, row, id_, status in newest]


def explain(held: LeadRecord, live: Live | None, rules: Rules, *, without_live: str | None = None) -> Explanation:
    """What we hold of one lead and, where MySQL was read, whether it agrees.

    `without_live` says in a sentence why MySQL was not read.
    """
    lead = held.lead
    own = None if lead is None else verdict(lead, rules)
    queue_type = None if lead is None else lead.queue_type
    agrees = None if live is None or queue_type is None else live.verdict.queue_type is queue_type
    known_at = max(held.lane_version, lead.read_floor if lead else 0)
    behind = None if live is None or not known_at else max(0.0, (live.as_of - moment(known_at)).total_seconds())
    changes = [] if lead is None else last_changes(lead)
    sentences = [
        *_status(held, own),
        *_past(held),
        *_seen(changes),
        *_calls(held, queue_type, rules),
        *_mysql(live, agrees, behind),
    ]
    if without_live is not None:
        sentences.append(without_live)
    return Explanation(
        held.user_id,
        queue_type,
        own,
        moment(lead.opened_at) if lead is not None and lead.stint else None,
        moment(known_at) if known_at else None,
        held.stints,
        held.conversions,
        held.call_centre,
        held.recheck,
        held.shown,
        changes,
        live,
        agrees,
        None if behind is None else round(behind, 1),
        sentences,
    )


def _because(lead: Lead, rule: Rule, rules: Rules) -> str:
    if rule is Rule.USER_GONE:
        return "there is no such customer in MySQL"
    if rule is Rule.USER_DISABLED:
        return "the customer is disabled (is_enabled is 0)"
    if rule is Rule.CLAIMS_CLOSED:
        statuses = sorted({str(claim.status) for claim in lead.claims.values()})
        return f"every claim is closed ({_named('claim', lead.claims)}: {', '.join(statuses)})"
    if rule is Rule.NO_SIGNATURE:
        return "the customer has not signed (current_signature_file_id is empty)"
    if rule is Rule.REQUIREMENT_OUTSTANDING:
        owed = [
            asked.id
            for asked in lead.requirements.values()
            if rules.is_outstanding(asked) and is_on_open_claim(asked, lead, rules)
        ]
        return f"the customer signed and still owes {_named('requirement', owed)}"
    _: Literal[Rule.NOTHING_OWED] = rule
    return "the customer signed and owes no document on an open claim"


def _status(held: LeadRecord, own: Verdict | None) -> list[str]:
    lead = held.lead
    if lead is None or own is None:
        return [f"We know nothing of user {held.user_id} yet."]
    waiting = _waiting(lead, held)
    if lead.queue_type is None:
        return [f"User {lead.user_id} has not been judged yet.", *waiting]
    place = "in no queue" if lead.queue_type is QueueType.NONE else f"in {lead.queue_type}"
    since = _when(moment(lead.opened_at))
    if lead.queue_type is own.queue_type:
        return [f"User {lead.user_id} is {place} since {since}, because {own.because}.", *waiting]
    return [
        f"User {lead.user_id} is {place} since {since}.",
        f"By the rows we hold now they belong in {own.queue_type}, because {own.because}.",
        *waiting,
    ]


def _waiting(lead: Lead, held: LeadRecord) -> list[str]:
    sentences = []
    if lead.judge_after == NEVER:
        sentences.append("Too little is known to judge them: they wait to be read live from MySQL.")
    elif lead.judge_after is not None and lead.judge_after > held.lane_version:
        sentences.append(f"They are judged again when the stream has passed {_when(moment(lead.judge_after))}.")
    if held.recheck is not None:
        tries = f", after {held.recheck.attempts} tries" if held.recheck.attempts else ""
        sentences.append(
            f"A recheck is queued since {_when(held.recheck.asked_at)}{tries}, because {held.recheck.reason}."
        )
    return sentences


def _past(held: LeadRecord) -> list[str]:
    sentences = []
    for stint in held.stints:
        place = "in no queue" if stint.queue_type == QueueType.NONE else f"in {stint.queue_type}"
        opened = OPENED.get(stint.opened_reason, stint.opened_reason)
        sentence = f"Stint {stint.number}: {place} from {_when(stint.opened_at)}, because {opened}"
        if stint.closed_at is None:
            sentence += ", until now"
        else:
            closed = OPENED.get(stint.closed_reason or "", stint.closed_reason or "unknown")
            sentence += f", until {_when(stint.closed_at)}, when {closed}"
        if stint.conversion_type is not None:
            sentence += f": a conversion, {stint.conversion_type}"
        sentences.append(sentence + ".")
    return sentences


def _seen(changes: list[Seen]) -> list[str]:
    if not changes:
        return []
    named = [
        f"{change.row} {change.id}{f' ({change.status})' if change.status else ''} at {_when(change.at)}"
        for change in changes
    ]
    return [f"The last changes seen of the rows we hold, of each its newest: {', '.join(named)}."]


def said_never(last_outcome: str | None, rules: Rules) -> bool:
    """Whether a customer must not be called after this outcome, whatever queue they belong in."""
    return last_outcome is not None and last_outcome.strip(" ").lower() in rules.never


def _calls(held: LeadRecord, queue_type: QueueType | None, rules: Rules) -> list[str]:
    sentences = []
    counted = sum(1 for stint in held.stints if stint.conversion_type is not None)
    if counted != len(held.conversions):
        sentences.append(
            f"The stints hold {counted} conversions and the call centre's table {len(held.conversions)}; others write"
            " that table too, or SHADOW_MODE was on."
        )
    if held.call_centre is None:
        if queue_type is not None:
            sentences.append("The call centre has no score for them (user_call_scores has no such row).")
        return sentences
    seen, outcome = held.call_centre.current_queue_type, held.call_centre.last_outcome
    never = said_never(outcome, rules)
    if never:
        sentences.append(f"They must not be called, whatever queue they belong in: the last call ended with {outcome}.")
    if held.shown is not None:
        return sentences + _shown_ahead(held.shown, held, seen, rules, never=never)
    expected = QueueType.NONE if never else queue_type
    if expected is not None and seen != rules.label(expected):
        sentences.append(
            f"The call centre's table says {seen or 'nothing'} instead. With SHADOW_MODE=true that is the old system's"
            " business; otherwise another program wrote it, and reconciler verify --repair puts it right."
        )
    return sentences


def _shown_ahead(shown: ShownAhead, held: LeadRecord, seen: str | None, rules: Rules, *, never: bool) -> list[str]:
    """Why what agents see need not be what we hold: nothing is to be repaired, and `verify` leaves it alone."""
    queue_type = None if held.lead is None else held.lead.queue_type
    if shown.until is not None:
        queue_type = QueueType(shown.queue_type)
    expected = QueueType.NONE if never else queue_type
    differs = expected is not None and seen != rules.label(expected)
    if shown.until is None:
        sentence = (
            f"Another session held their rows of the call centre at {_when(shown.since)}; an applier puts them right as"
            " soon as they are free."
        )
        return [f"{sentence} The call centre's table says {seen or 'nothing'} until then." if differs else sentence]
    if moment(held.lane_version) < shown.until:
        when = f"when the stream has passed {_when(shown.until)}"
    elif held.lead is None or not held.lead.stint or held.lead.judge_after == NEVER:
        when = "when they have been read live again: the stream has passed that read"
    else:
        when = "as soon as an applier gets the rows of the call centre: the stream has passed that read"
    place = "in no queue" if shown.queue_type == QueueType.NONE else f"in {shown.queue_type}"
    sentence = (
        f"Agents see them {place} since {_when(shown.since)}, ahead of their history, because MySQL, read live, had"
        f" them there; what we hold is shown {when}."
    )
    if not differs:
        return [sentence]
    instead = f"The call centre's table says {seen or 'nothing'} instead, until then"
    return [sentence, f"{instead}: another program wrote it, or held the row."]


def _mysql(live: Live | None, agrees: bool | None, behind: float | None) -> list[str]:
    if live is None:
        return []
    read = f"MySQL, read at {_when(live.as_of)},"
    if agrees is None and not live.exists:
        return [f"{read} has no such customer."]
    place = "no queue" if live.verdict.queue_type is QueueType.NONE else live.verdict.queue_type
    says = f"puts them in {place}, because {live.verdict.because}"
    if agrees is None:
        return [f"{read} {says}."]
    if not agrees:
        return [f"{read} {says}: that is not what we hold.", _on_its_way(behind)]
    if live.drift:
        differs = f"the same queue, but what we hold differs ({', '.join(live.drift)})"
        return [f"{read} {says}: {differs}.", _on_its_way(behind)]
    return [f"{read} says the same."]


def _on_its_way(behind: float | None) -> str:
    """Whether a difference is drift, or nothing but the stream's lag."""
    if behind:
        return (
            f"What we hold is {behind:,.1f} s older than that read, so the difference may still be on its way; where it"
            " lasts longer than the lag, reconciler verify --repair puts it right."
        )
    return "What we hold is as new as that read, so the stream missed it; reconciler verify --repair puts it right."


def _named(noun: str, keys: Collection[Key]) -> str:
    ids = sorted(keys, key=numerically)
    shown = ", ".join(ids[:_SHOWN])
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{noun}{'s' if len(ids) > 1 else ''} {shown}{more}"


def _when(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
