"""What is promised of the rows of each captured table alike: none is left out where leads are put together."""

from __future__ import annotations

from struct import unpack_from
from typing import Final

import pytest

from consumer.explain import lead_of
from consumer.leads.drift import differences
from consumer.leads.ledger import replay
from consumer.leads.left_behind import LeftBehind, of_claim
from consumer.leads.live_read import repair
from consumer.leads.merge_row import put, version_held
from consumer.leads.model import OF_CLAIM, Change, Lead, LiveState, Row, Table, Ties, UserRow
from consumer.leads.model import ClaimRow as Claim
from consumer.leads.model import RequirementRow as Requirement
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules
from consumer.store.columns import left_columns, left_of

RULES = Rules()
ROWS: Final[dict[Table, tuple[Row, Row]]] = {
    Table.USERS: (UserRow(1, "s", True), UserRow(1, "t", True)),
    Table.CLAIMS: (Claim("10", 1, "open"), Claim("10", 1, "lost")),
    Table.CLAIM_REQUIREMENTS: (
        Requirement("100", "10", "id", "approved", None),
        Requirement("100", "10", "id", "waived", None),
    ),
}
"""A row of each table as it stands, and with other words."""
BELONGING = [table for table in ROWS if table is not Table.USERS]


def live(table: Table | None = None, row: Row | None = None) -> LiveState:
    """A read of all rows; of one table with this row instead, or none, and then none that belong to it either."""
    user, *others = (row if one is table else rows[0] for one, rows in ROWS.items())
    if table is Table.CLAIMS and row is None:
        others = [None if isinstance(other, OF_CLAIM) else other for other in others]
    return LiveState(user, *([] if other is None else [other] for other in others))  # type: ignore[arg-type]


def held(*without: Table) -> Lead:
    """The lead that the stream made of all rows but those of some tables."""
    changes = [
        Change(1, table, None, row, version, version, True)
        for version, (table, (row, _)) in enumerate(ROWS.items(), 1)
        if table not in without
    ]
    leads: dict[int, Lead] = {}
    replay(changes, leads, 0, RULES, Outcome())
    return leads[1]


def elements(array: bytes) -> list[str]:
    """The texts of PostgreSQL's binary array without NULLs: a head of 20 bytes, then length and text of each."""
    found, start = [], 20
    while start < len(array):
        (length,) = unpack_from(">i", array, start)
        found.append(array[start + 4 : start + 4 + length].decode())
        start += 4 + length
    return found


def tables_that_differ(lead: Lead, read: LiveState) -> set[Table | None]:
    return {difference.table for difference in differences(lead, read, RULES)}


def test_there_is_a_row_of_every_table() -> None:
    assert list(ROWS) == list(Table)
    assert not differences(held(), live(), RULES)


@pytest.mark.parametrize("table", Table)
def test_a_row_with_other_words_is_found_and_repaired(table: Table) -> None:
    lead, read = held(), live(table, ROWS[table][1])
    assert tables_that_differ(lead, read) == {table}
    repair(lead, read, 50, 60, RULES, Outcome())
    assert lead_of(1, read) == lead_of(1, live(table, ROWS[table][1]))
    assert not tables_that_differ(lead, read)


@pytest.mark.parametrize("table", BELONGING)
def test_a_row_that_is_missing_or_gone_is_found_and_repaired(table: Table) -> None:
    for lead, read in ((held(table), live()), (held(), live(table, None))):
        if table is Table.CLAIMS:
            assert tables_that_differ(lead, read) >= {table}
        else:
            assert tables_that_differ(lead, read) == {table}
        repair(lead, read, 50, 60, RULES, Outcome())
        assert not tables_that_differ(lead, read)


@pytest.mark.parametrize("table", Table)
def test_a_row_has_the_version_of_the_change_that_wrote_it_and_an_older_one_changes_nothing(table: Table) -> None:
    lead = held()
    version = 1 + list(Table).index(table)
    assert version_held(lead, ROWS[table][0]) == version
    assert put(lead, ROWS[table][1], version - 1, Outcome()) is None


def test_what_is_judged_of_a_live_read_holds_all_of_its_rows() -> None:
    lead = lead_of(1, live())
    lead.stint = 1
    assert tables_that_differ(lead, live()) <= {None}


@pytest.mark.parametrize("lead", [held(), held(Table.CLAIMS)])
def test_a_user_takes_everything_along(lead: Lead) -> None:
    replay([Change(1, Table.USERS, ROWS[Table.USERS][0], None, 9, 9, True)], {1: lead}, 8, RULES, Outcome())
    stint = lead.stint, lead.queue_type, lead.rule, lead.opened_at
    assert lead == Lead(1, False, True, None, 9, 8, None, 9, *stint)


def test_a_claim_takes_what_belongs_to_it_along() -> None:
    lead = held()
    replay([Change(1, Table.CLAIMS, ROWS[Table.CLAIMS][0], None, 9, 9, True)], {1: lead}, 8, RULES, Outcome())
    assert not tables_that_differ(lead, live(Table.CLAIMS, None))


def test_what_belongs_to_a_claim_moves_with_it_and_is_kept_meanwhile() -> None:
    claim = ROWS[Table.CLAIMS][0]
    assert isinstance(claim, Claim)
    left: LeftBehind = {}
    goes = Change(1, Table.CLAIMS, claim, None, 9, 9, True, ties=Ties(stays=True))
    replay([goes], {1: held()}, 8, RULES, Outcome(), (), left)
    kept = left[of_claim("10")]
    (content,) = elements(left_columns({"name": kept})["content"])
    assert left_of(kept.version, content) == kept
    taker = held(*BELONGING)
    replay([Change(1, Table.CLAIMS, None, claim, 10, 10, True)], {1: taker}, 9, RULES, Outcome(), (), left)
    assert not tables_that_differ(taker, live())


@pytest.mark.parametrize("table", [table for table in BELONGING if isinstance(ROWS[table][0], OF_CLAIM)])
def test_what_belongs_to_nobodys_claim_is_kept_until_the_claim_comes(table: Table) -> None:
    left: LeftBehind = {}
    loose = Change(-1, table, None, ROWS[table][0], 5, 5, True, ties=Ties(claimless=True))
    replay([loose], {}, 4, RULES, Outcome(), (), left)
    taker = held(table)
    comes = Change(1, Table.CLAIMS, None, ROWS[Table.CLAIMS][0], 9, 9, True)
    taker.claims.clear()
    replay([comes], {1: taker}, 8, RULES, Outcome(), (), left)
    assert not tables_that_differ(taker, live())
