"""What describes the captured tables elsewhere says the same as `consumer.capture`, and no queue is forgotten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec
import pytest

from consumer.capture import CAPTURED, MOMENTS, OF_CLAIMS
from consumer.explain import OPENED
from consumer.leads.judge import ENTERED
from consumer.leads.model import CALLED, OF_CLAIM, TABLES_OF_CLAIM, QueueType, Reason, Table
from consumer.stream.envelope import READERS, ClaimRequirements, Claims, Users
from consumer.stream.topics import HEARTBEATS
from reconciler.names import QUEUES
from reconciler.web.lists import KINDS

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
STRUCTS: Final[dict[Table, type[msgspec.Struct]]] = {
    Table.USERS: Users,
    Table.CLAIMS: Claims,
    Table.CLAIM_REQUIREMENTS: ClaimRequirements,
}
_GRANT: Final = re.compile(r"GRANT SELECT \(([^)]*)\)\s+ON company\.(\w+) TO")


def test_every_captured_table_is_one_of_the_ledgers() -> None:
    assert list(CAPTURED) == [table.value for table in Table] == [table.value for table in STRUCTS]
    assert TABLES_OF_CLAIM == OF_CLAIMS
    assert [row._fields[1] for row in OF_CLAIM] == [CAPTURED[table].ref for table in OF_CLAIMS]


@pytest.mark.parametrize("table", OF_CLAIMS)
def test_a_row_whose_claim_is_nobodys_may_be_told_of_to_every_lane(table: str) -> None:
    notice = {
        "before": None,
        "after": {"id": 7, "claim_id": 10},
        "source": {"ts_us": 1, "table": table},
        "lane": {"epoch": 1, "seq": 1, "version": 1, "user_id": None, "last": True},
    }
    assert READERS[HEARTBEATS](msgspec.json.encode(notice))[1].table == table


@pytest.mark.parametrize("table", Table)
def test_messages_are_read_with_every_captured_column_but_the_times(table: Table) -> None:
    columns = [name for name, kinds in CAPTURED[table.value].kinds.items() if kinds is not MOMENTS]
    assert [field.name for field in msgspec.structs.fields(STRUCTS[table])] == columns


@pytest.mark.parametrize("grants", ["mysql/10-grants.sql", "mariadb/grants.sql"])
def test_the_grants_are_for_the_captured_columns_and_no_others(grants: str) -> None:
    found = {table: tuple(columns.split(", ")) for columns, table in _GRANT.findall((DEPLOY / grants).read_text())}
    assert found == {table: captured.columns for table, captured in CAPTURED.items()}


def test_the_page_has_words_and_a_list_for_every_queue_and_explain_for_every_reason() -> None:
    assert set(QUEUES) == set(QueueType)
    assert {KINDS[queue_type].word for queue_type in QueueType} == set(QueueType)
    assert set(OPENED) == set(Reason) - {Reason.READ_LIVE}


def test_who_comes_into_a_queue_does_so_for_a_reason_of_its_own() -> None:
    assert tuple(ENTERED) == CALLED
    assert len(set(ENTERED.values())) == len(CALLED)
