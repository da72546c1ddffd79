"""Whom verify and sweeps suspect, held against what the rules say: SQL's description of them against Python's."""

from __future__ import annotations

from contextlib import closing
from random import Random

import pytest

from consumer.leads.model import NEVER, Claim, Lead, QueueType, Requirement
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import Exclusion, RuleFile
from consumer.leads.rules import Rules, queue_for
from consumer.store.leads import LeadStore
from tests.integration.reconciler.world import LANES, ReconcilerWorld, adopt_only

LEADS = 2000
STATUSES = ("open", "cancelled", "Cancelled ", "CLOSED", "", None, "öffen", "a=b")
DEMANDS = ("pending", "approved", "Approved", "waived", "", None, "-", "=")
TYPES = ("id", "ID_Document", "ours", "", None)
REASONS = ("not needed", "Not NEEDED ", "", None)
FILES = (
    RuleFile(),
    RuleFile(closed=("cancelled", "closed", ""), settled=("approved", "waived", "-")),
    RuleFile(closed=("open",), settled=None, outstanding=("pending", "", "=")),
    RuleFile(excluded=(Exclusion("id_document", "not needed"), Exclusion(None, "ours"), Exclusion("id"))),
)


def lead(user_id: int, random: Random) -> Lead:
    """Any lead that there may be, judged rightly or not, waiting or never judged."""
    claims = [10 * user_id + number for number in range(random.choice((0, 1, 1, 2, 3)))]
    known = [*claims, 10 * user_id + 9, None]
    requirements = [100 * user_id + number for number in range(random.choice((0, 1, 2, 3)))]
    stint = random.choice((0, 1, 1, 1, 1, 1))
    return Lead(
        user_id,
        exists=random.random() < 0.9,
        enabled=random.random() < 0.9,
        signature=random.choice((None, None, "file")),
        judge_after=random.choice((None, None, None, None, None, 5, NEVER)),
        stint=stint,
        queue_type=random.choice(list(QueueType)) if stint else None,
        claims={str(id_): Claim(str(id_), random.choice(STATUSES), 1) for id_ in claims},
        requirements={
            str(id_): Requirement(
                str(id_),
                None if (claim := random.choice(known)) is None else str(claim),
                random.choice(TYPES),
                random.choice(DEMANDS),
                random.choice(REASONS),
                1,
            )
            for id_ in requirements
        },
    )


def suspected(lead: Lead, rules: Rules) -> bool:
    """Whether a lead is to be looked at by what we hold of it alone."""
    if not lead.stint or lead.judge_after == NEVER:
        return True
    is_due = lead.judge_after is None or lead.rules_version < rules.version
    return is_due and queue_for(lead, rules)[0] is not lead.queue_type


@pytest.mark.parametrize("seed", [1, 2])
def test_whom_verify_suspects_is_who_is_in_another_queue_than_the_rules_say(
    mysql_world: ReconcilerWorld, seed: int
) -> None:
    world, random = mysql_world, Random(seed)
    leads = {user_id: lead(user_id, random) for user_id in range(1, LEADS + 1)}
    outcome = Outcome(leads=leads)
    for one in leads.values():
        outcome.claims |= {(one.user_id, id_) for id_ in one.claims}
        outcome.requirements |= {(one.user_id, id_) for id_ in one.requirements}
    with closing(LeadStore(world.postgres_url, LANES, False, "sweep")) as store, store.transaction() as tx:
        tx.load(leads)
        tx.write(outcome)
    for number, file in enumerate(FILES):
        if number:
            adopt_only(world, file)
        book = world.book()
        rules = book.rules()
        expected = [user_id for user_id, one in leads.items() if suspected(one, rules)]
        assert LEADS / 10 < len(expected) < LEADS * 9 / 10
        assert book.misjudged_in_range(0, LEADS) == expected
        assert book.misjudged(list(leads)) == expected
