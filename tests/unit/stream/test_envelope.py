"""What is written is read: messages as Debezium's envelope says, and as the applier takes them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.leads.model import Change, ClaimRow, RequirementRow, Table, UserRow
from consumer.stream.checkpoint import Checkpoint, PreparedTransaction, decode, encode
from consumer.stream.envelope import LAST, MORE, NOBODY, READERS, EnvelopeWriter, LaneBlock, Undecodable, lane_block

ids = st.integers(1, 2**63 - 1)
counts = st.integers(1, 2**40)
keys = ids.map(str) | st.uuids().map(str) | st.text(min_size=1, max_size=9)
words = st.none() | st.text(max_size=20)


def claim(row: ClaimRow) -> str:
    return json.dumps({**row._asdict(), "created_at": "2025-01-01T00:00:00Z"}, ensure_ascii=False)


def requirement(row: RequirementRow) -> str:
    names = {"reason": "claim_requirement_reason"}
    return json.dumps({names.get(name, name): value for name, value in row._asdict().items()})


def user(row: UserRow) -> str:
    return json.dumps({"id": row.id, "current_signature_file_id": row.signature, "is_enabled": row.enabled})


images = st.one_of(
    st.tuples(
        st.just(Table.USERS), *[st.builds(UserRow, ids, st.none() | st.text(min_size=1, max_size=9), st.booleans())] * 2
    ),
    st.tuples(st.just(Table.CLAIMS), *[st.builds(ClaimRow, keys, ids, words)] * 2),
    st.tuples(
        st.just(Table.CLAIM_REQUIREMENTS),
        *[st.builds(RequirementRow, keys, st.none() | keys, words, words, words)] * 2,
    ),
)
written = {Table.USERS: user, Table.CLAIMS: claim, Table.CLAIM_REQUIREMENTS: requirement}


@given(images, st.sampled_from("cud"), st.none() | ids, st.booleans(), st.tuples(counts, counts, counts))
def test_every_row_that_is_written_is_read_as_it_was(
    row: tuple[Table, object, object],
    op: str,
    user_id: int | None,
    last: bool,
    numbers: tuple[int, int, int],
) -> None:
    table, old, new = row
    seq, ts_us, version = numbers
    moved = seq % 2 == 0
    before = None if op == "c" else old
    after = None if op == "d" else new
    text = written[table]
    writer = EnvelopeWriter('pre"fix', "mysql", "comp\\any", 3)
    writer.clock(17)
    writer.transaction("uuid:5", 9, "binlog.000001", 4, ts_us, version)
    message = writer.row(
        table,
        op,
        None if before is None else text(before),  # type: ignore[operator]
        None if after is None else text(after),  # type: ignore[operator]
        44,
        5,
        6,
        7,
        seq,
        "null" if user_id is None else str(user_id),
        moved,
    ) + (LAST if last else MORE)
    lane, change = READERS[table](message.encode())
    assert lane == LaneBlock(3, seq, version, user_id, last, moved)
    who = NOBODY if user_id is None else user_id
    assert change == Change(who, table, before, after, version, ts_us, last, moved)  # type: ignore[arg-type]
    document = json.loads(message)
    assert document["op"] == op
    assert document["source"] == {
        "connector": "mysql",
        "name": 'pre"fix',
        "db": "comp\\any",
        "table": table,
        "ts_ms": ts_us // 1000,
        "ts_us": ts_us,
        "server_id": 9,
        "gtid": "uuid:5",
        "file": "binlog.000001",
        "pos": 44,
        "row": 5,
    }
    assert document["transaction"] == {"id": "uuid:5", "total_order": 6, "data_collection_order": 7}
    assert document["ts_ms"] == 17


@pytest.mark.parametrize(
    ("user_id", "is_one"), [(-(2**63), False), (-(2**63) + 1, True), (2**63 - 1, True), (2**63, False)]
)
@pytest.mark.parametrize("table", ["users", "claims"])
def test_the_smallest_bigint_is_no_user_and_no_message_of_it_passes_for_nobodys(
    table: str, user_id: int, is_one: bool
) -> None:
    """It stands for nobody: a change of such a user would be passed over without a word."""
    writer = EnvelopeWriter("p", "mysql", "company", 1)
    writer.transaction(None, 9, "binlog.000001", 4, 1_000_000, 1_000_000)
    row = {"id": user_id} if table == "users" else {"id": 7, "user_id": user_id}
    for named in (str(user_id), "null"):
        message = writer.row(table, "c", None, json.dumps(row), 44, 0, 1, 1, 1, named, False) + LAST
        if is_one:
            assert READERS[table](message.encode())[1].user_id == (NOBODY if named == "null" else user_id)
        else:
            with pytest.raises(Undecodable):
                READERS[table](message.encode())
        block = lane_block(message.encode())
        assert block is not None
        assert block.user_id == (user_id if is_one and named != "null" else None)


def test_without_a_gtid_a_transaction_is_named_after_its_place() -> None:
    writer = EnvelopeWriter("p", "mariadb", "company", 1)
    writer.transaction(None, 9, "binlog.000001", 4, 1_000_000, 1_000_000)
    document = json.loads(writer.row("users", "c", None, '{"id":1}', 44, 0, 1, 1, 1, "1", False) + LAST)
    assert document["source"]["gtid"] is None
    assert document["source"]["connector"] == "mariadb"
    assert document["transaction"]["id"] == "binlog.000001:4"
    assert document["before"] is None
    assert "moved" not in document["lane"]


@given(counts, counts, counts)
def test_a_heartbeat_that_is_written_is_read_as_the_end_of_a_transaction(seq: int, version: int, ts_us: int) -> None:
    writer = EnvelopeWriter("p", "mysql", "company", 2)
    lane, change = READERS["heartbeats"](writer.heartbeat(seq, version, ts_us).encode())
    assert lane == LaneBlock(2, seq, version, None, True)
    assert change == Change(NOBODY, None, None, None, version, ts_us, True)


@given(
    st.lists(counts, min_size=1, max_size=20), st.text(max_size=40), counts, st.lists(st.integers(0, 11), max_size=4)
)
def test_a_checkpoint_is_read_as_it_was_written(seqs: list[int], gtid_set: str, pos: int, lanes: list[int]) -> None:
    checkpoint = Checkpoint(
        epoch=1,
        flavor="mysql",
        server="uuid",
        gtid_set=gtid_set,
        file="binlog.000001",
        pos=pos,
        version=5,
        next_seqs=seqs,
        rows=3,
        lanes_open=lanes,
        prepared=[PreparedTransaction("x", "binlog.000001", 9)],
    )
    assert decode(encode(checkpoint)) == checkpoint
