"""Numbers are without gaps, ends are marked, and a transaction may be cut and taken up again anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.lane import lane_of
from consumer.leads.model import RequirementRow
from consumer.reader.commit_times import CommitTimes
from consumer.reader.sequencer import Sequencer
from consumer.stream.checkpoint import PreparedTransaction
from consumer.stream.envelope import NOBODY, READERS, EnvelopeWriter, SingleRow, StreamPosition
from consumer.stream.errors import CheckpointUnreadable
from tests.unit.reader.kafka import LANES, Kafka, Sent, single

transactions = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), max_size=8)
"""Each transaction as the users of its rows."""


@given(transactions, st.lists(st.sampled_from(["commit", "crash", "go on"]), max_size=80), st.booleans())
def test_whatever_is_cut_and_repeated_each_row_arrives_once_in_order_with_its_end_marked(
    source: list[list[int]], fate: list[str], beats: bool
) -> None:
    kafka = Kafka()
    fates = iter(fate)
    crashed = True
    while crashed:
        crashed = False
        sequencer = kafka.sequencer()
        for pos in range(kafka.checkpoint.pos, len(source)):
            sequencer.begin(f"g:{pos + 1}", 1, "b.000001", pos, 1_000 * pos)
            for user in source[pos]:
                sequencer.row("users", "u", "{}", "{}", user, user, pos, 0)
                what = next(fates, "go on")
                if what == "commit":
                    kafka.commit(sequencer, pos)
                crashed = crashed or what == "crash"
                if crashed:
                    break
            if crashed:
                break
            sequencer.commit()
            if beats and sequencer.may_rest:
                sequencer.heartbeat(0)
            if next(fates, "go on") == "commit":
                kafka.commit(sequencer, pos + 1)
        else:
            kafka.commit(sequencer, len(source))
    check(source, kafka.committed)


def check(source: list[list[int]], sent: list[Sent]) -> None:
    for lane in range(LANES):
        messages = [message.value for message in sent if message.lane == lane]
        assert [message["lane"]["seq"] for message in messages] == list(range(1, len(messages) + 1))
        ends = [message["lane"]["version"] for message in messages if message["lane"]["last"]]
        versions = [message["lane"]["version"] for message in messages]
        assert versions == sorted(versions)
        touched = {pos for pos, users in enumerate(source) if any(lane_of(user, LANES) == lane for user in users)}
        rows = [message for message in messages if message["op"] != "h"]
        assert {version_of(pos) for pos in touched} <= set(ends)
        expected = [
            (pos, order, user)
            for pos, users in enumerate(source)
            for order, user in enumerate(users, start=1)
            if lane_of(user, LANES) == lane
        ]
        assert expected == [
            (message["source"]["pos"], message["transaction"]["total_order"], message["lane"]["user_id"])
            for message in rows
        ]
        for version in set(versions):
            of_version = [message for message in messages if message["lane"]["version"] == version]
            endings = [message["lane"]["last"] for message in of_version]
            first_end = endings.index(True)
            assert all(message["op"] == "h" for message in of_version[first_end + 1 :])


def version_of(pos: int) -> int:
    return max(1_000 * pos, 1)


def test_a_version_is_the_commit_time_but_never_repeats() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    for ts_us in (5_000, 5_000, 4_000, 9_000):
        sequencer.begin(None, 1, "b.000001", 4, ts_us)
        sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
        sequencer.commit()
    assert [message.value["lane"]["version"] for message in kafka.open] == [5_000, 5_001, 5_002, 9_000]
    assert [message.value["source"]["ts_us"] for message in kafka.open] == [5_000, 5_000, 4_000, 9_000]


def test_a_heartbeat_moves_every_lane_past_the_servers_clock() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.heartbeat(7_000)
    sequencer.heartbeat(6_000)
    assert [message.lane for message in kafka.open] == [0, 1, 2, 0, 1, 2]
    assert [message.value["lane"]["version"] for message in kafka.open] == [7_000] * 3 + [7_001] * 3
    assert all(message.value["lane"]["last"] and message.key == str(message.lane) for message in kafka.open)
    assert [message.value["lane"]["seq"] for message in kafka.open] == [1] * 3 + [2] * 3
    assert {message.topic for message in kafka.open} == {"p.heartbeats"}
    assert (sequencer.version, sequencer.ts_us, sequencer.applied_us) == (7_001, 6_000, 6_000)


def test_a_busy_servers_heartbeat_carries_the_last_transactions_version() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    for pos in (4, 9):
        sequencer.begin(None, 1, "b.000001", pos, 5_000)
        sequencer.row("users", "c", None, "{}", 1, 1, pos, 0)
        sequencer.commit()
    sequencer.heartbeat(0)
    beats = [message.value for message in kafka.open if message.value["op"] == "h"]
    assert [beat["lane"]["version"] for beat in beats] == [5_001] * LANES
    assert [beat["source"]["ts_us"] for beat in beats] == [5_000] * LANES


def test_a_row_goes_to_the_lane_of_its_user_and_an_orphan_to_that_of_its_claim_with_a_notice_in_every_other() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin(None, 1, "b.000001", 4, 5_000)
    sequencer.row("claims", "c", None, "{}", 8911, 8911, 4, 0)
    sequencer.orphan("claim_requirements", "c", None, '{"id":5,"claim_id":77}', None, 77, 4, 1)
    assert sequencer.rows == 2
    sequencer.commit()
    rows = [message for message in kafka.open if message.topic == "p.claims"]
    assert [(row.lane, row.key, row.value["lane"]["user_id"]) for row in rows] == [(lane_of(8911, LANES), "8911", 8911)]
    orphans = [message for message in kafka.open if message.topic == "p.claim_requirements"]
    assert [orphan.lane for orphan in orphans] == [lane_of(77, LANES)]
    notices = [message for message in kafka.open if message.topic == "p.heartbeats"]
    assert sorted(message.lane for message in orphans + notices) == list(range(LANES))
    row = orphans[0].value
    for notice in notices:
        own = {"op": "h", "lane": row["lane"] | {"seq": notice.value["lane"]["seq"]}}
        assert notice.value == row | own
    assert {(orphan.key, orphan.value["lane"]["user_id"]) for orphan in orphans} == {("77", None)}
    assert {orphan.value["transaction"]["total_order"] for orphan in orphans} == {2}


def test_an_orphan_with_a_likely_user_lies_with_that_user_and_every_lane_gets_the_notice() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin(None, 1, "b.000001", 4, 5_000)
    sequencer.orphan("claim_requirements", "c", None, '{"id":5,"claim_id":77}', 8911, 77, 4, 1)
    sequencer.commit()
    rows = [message for message in kafka.open if message.topic == "p.claim_requirements"]
    assert [(row.lane, row.key, row.value["lane"]["user_id"]) for row in rows] == [(lane_of(8911, LANES), "8911", 8911)]
    notices = [message for message in kafka.open if message.topic == "p.heartbeats"]
    assert sorted((notice.lane, notice.value["lane"]["user_id"]) for notice in notices) == [
        (lane, None) for lane in range(LANES)
    ]


def test_an_orphan_is_not_sent_again_where_its_transaction_was_cut() -> None:
    kafka = Kafka()
    for again in (False, True):
        sequencer = kafka.sequencer()
        sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
        sequencer.orphan("claim_requirements", "c", None, '{"id":5,"claim_id":77}', None, 77, 4, 1)
        if not again:
            kafka.commit(sequencer, 0)
    sequencer.commit()
    kafka.commit(sequencer, 1)
    sent = [(message.topic, message.lane) for message in kafka.committed if message.value["source"].get("table")]
    assert len(sent) == len(set(sent)) == LANES


def test_orders_count_all_rows_and_those_of_each_table() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin(None, 1, "b.000001", 4, 5_000)
    for table in ("users", "claims", "users", "claims", "claims"):
        sequencer.row(table, "c", None, "{}", 1, 1, 4, 0)
    sequencer.commit()
    sequencer.begin(None, 1, "b.000001", 99, 6_000)
    sequencer.row("claims", "c", None, "{}", 1, 1, 99, 0)
    sequencer.commit()
    assert sequencer.sent == len(kafka.open) == 6
    orders = [message.value["transaction"] for message in kafka.open]
    assert [order["total_order"] for order in orders] == [1, 2, 3, 4, 5, 1]
    assert [order["data_collection_order"] for order in orders] == [1, 1, 2, 2, 3, 1]


def test_no_heartbeat_may_come_while_a_cut_transaction_waits_for_its_rest() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin(None, 1, "b.000001", 4, 5_000)
    sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
    assert not sequencer.may_rest
    kafka.commit(sequencer, 4)
    resumed = kafka.sequencer()
    assert not resumed.may_rest
    resumed.begin(None, 1, "b.000001", 4, 5_000)
    resumed.row("users", "c", None, "{}", 1, 1, 4, 0)
    resumed.commit()
    assert resumed.may_rest
    assert [message.value["op"] for message in kafka.open] == ["h"]
    assert kafka.open[0].value["lane"]["version"] == 5_000


def test_a_notice_of_an_orphan_is_read_as_the_row_is_read() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin(None, 1, "b.000001", 4, 5_000)
    sequencer.orphan("claim_requirements", "c", None, '{"id":5,"claim_id":77}', None, 77, 4, 1)
    sequencer.commit()
    texts = {message.topic: json.dumps(message.value).encode() for message in kafka.open}
    change = READERS["claim_requirements"](texts["p.claim_requirements"])[1]
    assert change.user_id == NOBODY
    assert change.after == RequirementRow("5", "77", None, None, None)
    assert READERS["heartbeats"](texts["p.heartbeats"])[1] == change


def test_another_transaction_than_the_one_that_was_cut_is_refused() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:1", 1, "b.000001", 4, 5_000)
    sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
    kafka.commit(sequencer, 4)
    assert kafka.checkpoint.unfinished == "g:1"
    resumed = kafka.sequencer()
    with pytest.raises(CheckpointUnreadable, match="transaction g:1 are in Kafka, but the server continues with g:2"):
        resumed.begin("g:2", 1, "b.000001", 4, 5_000)


def test_without_a_gtid_a_transaction_is_told_from_another_by_its_place() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin(None, 1, "b.000001", 4, 5_000)
    sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
    kafka.commit(sequencer, 4)
    assert [sent.value["transaction"]["id"] for sent in kafka.committed] == ["b.000001:4"]
    assert kafka.checkpoint.unfinished == "b.000001:4"
    with pytest.raises(CheckpointUnreadable, match=r"the server continues with b\.000002:9;"):
        kafka.sequencer().begin(None, 1, "b.000002", 9, 5_000)


def test_a_checkpoint_between_transactions_holds_no_part_of_one_and_what_it_was_told() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:1", 1, "b.000001", 4, 5_000)
    sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
    sequencer.commit()
    undecided = [PreparedTransaction("x", "b.000001", 2)]
    checkpoint = sequencer.checkpoint("t", "g:1", "b.000002", 7, undecided)
    assert (checkpoint.rows, checkpoint.unfinished, checkpoint.version) == (0, "", 5_000)
    assert (checkpoint.server, checkpoint.gtid_set, checkpoint.file, checkpoint.pos) == ("t", "g:1", "b.000002", 7)
    assert checkpoint.prepared == undecided


@pytest.mark.parametrize("elsewhere", [4_000, 9_000])
def test_a_cut_transaction_keeps_its_version_and_time_on_a_server_that_committed_it_at_another(elsewhere: int) -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:1", 1, "b.000001", 4, 5_000)
    sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
    kafka.commit(sequencer, 4)
    kafka.commit(kafka.sequencer(), 4)
    resumed = kafka.sequencer()
    resumed.begin("g:1", 1, "b.000007", 99, elsewhere)
    for row in range(2):
        resumed.row("users", "c", None, "{}", 1, 1, 99, row)
    resumed.commit()
    resumed.begin("g:2", 1, "b.000007", 199, elsewhere)
    resumed.row("users", "c", None, "{}", 1, 1, 199, 0)
    resumed.commit()
    kafka.commit(resumed, 299)
    rows = [message.value for message in kafka.committed]
    assert [row["lane"]["version"] for row in rows] == [5_000, 5_000, max(5_001, elsewhere)]
    assert [row["source"]["ts_us"] for row in rows] == [5_000, 5_000, elsewhere]
    assert [row["lane"]["last"] for row in rows] == [False, True, True]
    assert (kafka.checkpoint.unfinished_version, kafka.checkpoint.unfinished_ts_us) == (0, 0)


def test_a_notice_reaches_every_lane_once_inside_its_transaction_and_a_cut_does_not_repeat_it() -> None:
    kafka = Kafka()
    for again in (False, True):
        sequencer = kafka.sequencer()
        sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
        sequencer.row("users", "u", "{}", "{}", 1, 1, 0, 0)
        sequencer.recheck("TRUNCATE of users")
        sequencer.recheck("TRUNCATE of users")
        if not again:
            kafka.commit(sequencer, 0)
    sequencer.row("users", "u", "{}", "{}", 1, 1, 0, 1)
    sequencer.commit()
    kafka.commit(sequencer, 1)
    notices = [sent for sent in kafka.committed if "recheck" in sent.value["lane"]]
    assert sorted((sent.topic, sent.lane, sent.key) for sent in notices) == [
        ("p.heartbeats", lane, f"{lane}") for lane in range(LANES)
    ]
    for lane in range(LANES):
        blocks = [sent.value["lane"] for sent in kafka.committed if sent.lane == lane]
        assert [block["seq"] for block in blocks] == list(range(1, len(blocks) + 1))
        assert {block["version"] for block in blocks} == {5_000}
        assert [block["last"] for block in blocks] == [False] * (len(blocks) - 1) + [True]
    assert {(sent.value["source"]["file"], sent.value["source"]["pos"]) for sent in notices} == {("b.000001", 0)}
    block, change = READERS["heartbeats"](json.dumps(notices[0].value).encode())
    assert (change.table, change.recheck, block.user_id) == (None, "TRUNCATE of users", None)


def test_a_notice_behind_the_place_where_its_transaction_was_cut_is_sent() -> None:
    kafka = Kafka()
    for again in (False, True):
        sequencer = kafka.sequencer()
        sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
        sequencer.row("users", "u", "{}", "{}", 1, 1, 0, 0)
        if not again:
            kafka.commit(sequencer, 0)
    sequencer.recheck("TRUNCATE of users")
    sequencer.commit()
    assert [sent.value["lane"]["recheck"] for sent in kafka.open] == ["TRUNCATE of users"] * LANES


@pytest.mark.parametrize("users", [None, [4, 7]])
def test_a_row_that_cannot_be_read_is_asked_for_once_a_transaction_and_not_again_behind_a_cut(
    users: list[int] | None,
) -> None:
    kafka = Kafka()
    lanes = list(range(LANES)) if users is None else [lane_of(user, LANES) for user in users]
    for again in (False, True):
        sequencer = kafka.sequencer()
        sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
        sequencer.unreadable(users, "damaged")
        assert sequencer.rows == 1, "it counts as one row"
        assert sequencer.may_rest is False
        if not again:
            sequencer.unreadable(users, "damaged")
            kafka.commit(sequencer, 0)
            assert [sent.lane for sent in kafka.committed] == lanes
    sequencer.unreadable(users, "damaged")
    sequencer.unreadable(users, "damaged, too")
    sequencer.commit()
    kafka.commit(sequencer, 1)
    assert [sent.lane for sent in kafka.committed] == lanes * 2
    for number, sent in enumerate(kafka.committed):
        block = sent.value["lane"]
        assert sent.topic == "p.heartbeats"
        assert block["recheck"] == ("damaged" if number < len(lanes) else "damaged, too")
        assert block["version"] == 5_000
        assert sent.key == f"{sent.lane if users is None else users[number % len(users)]}"
        _, change = READERS["heartbeats"](json.dumps(sent.value).encode())
        assert (change.table is None, change.at) == (users is None, 5_000)
        assert change.moved is (users is None)
    for lane in {*lanes}:
        blocks = [sent.value["lane"] for sent in kafka.committed if sent.lane == lane]
        assert [block["seq"] for block in blocks] == list(range(1, len(blocks) + 1))
        assert [block["last"] for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_where_the_next_row_lies_is_known_beforehand_but_not_of_one_that_lies_there_already() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
    assert sequencer.begun == ("b.000001", 0)
    assert sequencer.next_place(1) == (lane_of(1, LANES), 1)
    sequencer.row("users", "u", "{}", "{}", 1, 1, 0, 0)
    assert sequencer.next_place(1) == (lane_of(1, LANES), 2)
    kafka.commit(sequencer, 0)
    sequencer = kafka.sequencer()
    sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
    assert (sequencer.skipping, sequencer.next_place(1)) == (True, None)
    sequencer.row("users", "u", "{}", "{}", 1, 1, 0, 0)
    assert (sequencer.skipping, sequencer.next_place(1)) == (False, (lane_of(1, LANES), 2))


def test_a_checkpoint_before_the_place_where_a_transaction_was_cut_forgets_none_of_its_rows() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
    for row in range(2):
        sequencer.row("users", "u", "{}", "{}", 1, 1, 0, row)
    kafka.commit(sequencer, 0)
    resumed = kafka.sequencer()
    resumed.begin("g:1", 1, "b.000001", 0, 5_000)
    resumed.row("users", "u", "{}", "{}", 1, 1, 0, 0)
    kafka.commit(resumed, 0)
    assert kafka.checkpoint.rows == 2


def test_lanes_that_a_cut_left_open_are_closed_once() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:1", 1, "b.000001", 0, 5_000)
    sequencer.row("users", "u", "{}", "{}", 1, 1, 0, 0)
    kafka.commit(sequencer, 0)
    sequencer.commit()
    sequencer.begin("g:2", 1, "b.000001", 9, 6_000)
    sequencer.row("users", "u", "{}", "{}", 2, 2, 9, 0)
    sequencer.commit()
    assert [(sent.value["op"], sent.value["lane"]["version"]) for sent in kafka.open] == [("h", 5_000), ("u", 6_000)]
    kafka.commit(sequencer, 10)
    assert kafka.checkpoint.lanes_open == []


def test_the_same_reason_in_the_next_transaction_is_a_notice_once_more() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    for pos in (1, 2):
        sequencer.begin(f"g:{pos}", 1, "b.000001", pos, 5_000 * pos)
        sequencer.recheck("TRUNCATE of users")
        sequencer.commit()
    notices = [sent.value["lane"] for sent in kafka.open]
    assert sorted(block["version"] for block in notices) == [5_000] * LANES + [10_000] * LANES


def test_a_notice_between_transactions_has_a_version_of_its_own() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.heartbeat(7_000)
    sequencer.recheck_all("purged", 6_000)
    blocks = [sent.value["lane"] for sent in kafka.open[LANES:]]
    assert [(block["version"], block["recheck"], block["last"]) for block in blocks] == [
        (7_001, "purged", True)
    ] * LANES


@pytest.mark.parametrize("whole", [True, False])
def test_a_row_is_dated_by_its_source_and_versioned_by_the_server_that_we_read(whole: bool) -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    for number, applied in enumerate((9_000, 9_500), 1):
        if whole:
            sequencer.singles([single(number, 2_000 + number, applied)], [1])
        else:
            sequencer.begin(f"g:{number}", 1, "b.000001", number, 2_000 + number, applied)
            sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
            sequencer.commit()
    assert [message.value["source"]["ts_us"] for message in kafka.open] == [2_001, 2_002]
    assert [message.value["lane"]["version"] for message in kafka.open] == [9_000, 9_500]
    assert (sequencer.ts_us, sequencer.applied_us) == (2_002, 9_500)
    sequencer.heartbeat(0)
    assert {beat.value["source"]["ts_us"] for beat in kafka.open[2:]} == {9_500}


@pytest.mark.parametrize("whole", [True, False])
def test_transactions_of_the_same_microsecond_have_versions_of_their_own_and_are_all_counted(whole: bool) -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    for number in range(2):
        play(sequencer, [single(number, 9_000, 9_000), single(number, 9_000, 9_000)], whole=whole)
    assert [message.value["lane"]["version"] for message in kafka.open] == [9_000, 9_001, 9_002, 9_003]
    assert sequencer.sent == 4


def play(sequencer: Sequencer, rows: list[SingleRow], *, whole: bool) -> None:
    """Transactions of one row each, of user 1: as many at once, or each for itself."""
    if whole:
        sequencer.singles(rows, [1] * len(rows))
        return
    for gtid, server_id, file, begun, ts_us, table, op, before, after, *_, pos, _, applied_us, _ in rows:
        sequencer.begin(gtid, server_id, file, begun, ts_us, applied_us)
        sequencer.row(table, op, before, after, 1, 1, pos, 0)
        sequencer.commit()


NOW, SECOND = 1_700_000_000_000_000, 1_000_000


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("ts_us", "applied_us"), [(NOW + 60 * SECOND, NOW + SECOND), (NOW + SECOND, NOW + 60 * SECOND)]
)
def test_a_time_ahead_of_the_servers_clock_is_not_taken_whichever_of_both_it_is(
    ts_us: int, applied_us: int, whole: bool
) -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer(CommitTimes(lambda: NOW, lambda *_: None, mariadb=False))
    play(sequencer, [single(1, NOW, NOW), single(2, ts_us, applied_us)], whole=whole)
    second = kafka.open[1].value
    assert second["source"]["ts_us"] == NOW + SECOND
    assert second["lane"]["version"] in (NOW + SECOND, NOW + 1)


@pytest.mark.parametrize("whole", [True, False])
def test_mariadbs_times_are_held_against_those_before_them_in_every_batch(whole: bool) -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer(CommitTimes(lambda: NOW, lambda *_: None, mariadb=True))
    play(sequencer, [single(1, NOW, NOW)], whole=whole)
    play(sequencer, [single(2, SECOND, SECOND)], whole=whole)
    assert [message.value["source"]["ts_us"] for message in kafka.open] == [NOW, NOW]


@pytest.mark.parametrize(("age", "asked"), [(None, 1), (1.0, 0)])
def test_a_heartbeats_clock_confirms_times_for_as_long_as_it_was_read_ago(age: float | None, asked: int) -> None:
    clock: list[int] = []

    def now() -> int:
        clock.append(NOW)
        return NOW

    sequencer = Kafka().sequencer(CommitTimes(now, lambda *_: None, mariadb=False))
    if age is None:
        sequencer.heartbeat(NOW)
    else:
        sequencer.heartbeat(NOW, age_seconds=age)
    sequencer.begin("g:1", 1, "b.000001", 4, NOW + 2 * SECOND + SECOND // 2)
    assert len(clock) == asked


@pytest.mark.parametrize("whole", [True, False])
def test_a_clients_time_in_2030_moves_no_version_and_dates_no_row(whole: bool) -> None:
    kafka = Kafka()
    second, now, future = 1_000_000, 1_700_000_000_000_000, 1_900_000_000_000_000
    times = CommitTimes(lambda: now, lambda *_: None, mariadb=True)
    writer = EnvelopeWriter("p", "mariadb", "company", 1)
    sequencer = Sequencer(kafka.checkpoint, "p.{}".format, writer, kafka.send, times)
    commits = [now - 2 * second, future, now - second, second]
    if whole:
        sequencer.singles([single(number, at, at) for number, at in enumerate(commits, 1)], [1] * 4)
    else:
        for number, at in enumerate(commits, 1):
            sequencer.begin(f"g:{number}", 1, "b.000001", number, at, at)
            sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
            sequencer.commit()
    assert [message.value["lane"]["version"] for message in kafka.open] == [
        now - 2 * second, now - 2 * second + 1, now - second, now - second + 1
    ]  # fmt: skip
    dates = [message.value["source"]["ts_us"] for message in kafka.open]
    assert dates == [now - 2 * second, now - 2 * second, now - second, now - second]
    assert [message.value["source"]["ts_ms"] for message in kafka.open] == [date // 1000 for date in dates]


@pytest.mark.parametrize("whole", [True, False])
def test_a_late_replicas_rows_are_not_dated_by_those_of_another_server(whole: bool) -> None:
    kafka = Kafka()
    minute, now = 60_000_000, 1_700_000_000_000_000
    times = CommitTimes(lambda: now, lambda *_: None, mariadb=True)
    sequencer = Sequencer(
        kafka.checkpoint, "p.{}".format, EnvelopeWriter("p", "mariadb", "company", 1), kafka.send, times
    )
    commits = [(1, now - minute), (2, now - 9 * minute), (2, now - 8 * minute), (1, now - 2 * minute)]
    if whole:
        sequencer.singles([single(n, at, at, server) for n, (server, at) in enumerate(commits)], [1] * 4)
    else:
        for number, (server, at) in enumerate(commits):
            sequencer.begin(f"g:{number}", server, "b.000001", number, at, at)
            sequencer.row("users", "c", None, "{}", 1, 1, 4, 0)
            sequencer.commit()
    dates = [message.value["source"]["ts_us"] for message in kafka.open]
    assert dates == [now - minute, now - 9 * minute, now - 8 * minute, now - minute]


def test_a_heartbeat_says_in_every_lane_where_the_stream_stands() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.heartbeat(5_000, StreamPosition("s", "b.000002", 77))
    sequencer.heartbeat(6_000)
    places = [(beat.value["source"].get("file"), beat.value["source"].get("pos")) for beat in kafka.open]
    assert places == [("b.000002", 77)] * LANES + [(None, None)] * LANES


def test_a_heartbeat_shows_how_far_versions_are_ahead_of_a_clock_that_was_put_back() -> None:
    sequencer = Kafka().sequencer()
    sequencer.heartbeat(600_000_000)
    assert sequencer.ahead_us == 0
    sequencer.heartbeat(100_000_000)
    assert (sequencer.version, sequencer.ahead_us) == (600_000_001, 500_000_001)


def test_a_row_that_kafka_does_not_take_is_replaced_under_its_number_by_a_live_read_of_its_user() -> None:
    kafka = Kafka()
    told: list[tuple[object, ...]] = []
    writer = EnvelopeWriter("p", "mysql", "company", 1)

    def report(*said: object) -> None:
        told.append(said)

    sequencer = Sequencer(kafka.checkpoint, "p.{}".format, writer, kafka.send, None, 4_000, report)
    large = json.dumps({"id": 1, "type": "ä" * 1_600}, ensure_ascii=False)
    sequencer.begin("g:1", 1, "b.000001", 100, 10)
    sequencer.row("users", "c", None, '{"id":1}', 1, 1, 110, 0)
    sequencer.row("users", "u", '{"id":1}', large, 1, 1, 120, 1)
    sequencer.row("users", "c", None, '{"id":1}', 1, 1, 130, 0)
    sequencer.orphan("claim_requirements", "c", None, large, None, "c1", 140, 0)
    sequencer.commit()
    single = ("g:2", 1, "b.000001", 200, 20, "users", "u", large, large, 1, 1, 1, 1, 210, 230, 0, False)
    sequencer.singles([single], [1])
    assert [said[:5] for said in told] == [
        ("users", "u", "b.000001", 120, 1),
        ("claim_requirements", "c", "b.000001", 140, 0),
        ("users", "u", "b.000001", 210, 0),
    ]
    assert "ä" not in str(told)
    assert "message.max.bytes" in str(told[0][5])
    lane = [sent for sent in kafka.open if sent.lane == lane_of(1, LANES)]
    assert [sent.value["lane"]["seq"] for sent in lane] == list(range(1, len(lane) + 1))
    assert [(sent.topic, sent.value["lane"]["user_id"], sent.value["lane"]["last"]) for sent in lane] == [
        ("p.users", 1, False),
        ("p.heartbeats", 1, False),
        ("p.users", 1, False),
        ("p.heartbeats", None, True),
        ("p.heartbeats", 1, True),
    ]
    assert all(sent.value["lane"]["recheck"] for sent in lane if sent.topic == "p.heartbeats")


def test_a_row_of_many_bytes_and_few_enough_is_sent() -> None:
    kafka = Kafka()
    writer = EnvelopeWriter("p", "mysql", "company", 1)
    sequencer = Sequencer(kafka.checkpoint, "p.{}".format, writer, kafka.send, None, 4_000)
    sequencer.begin("g:1", 1, "b.000001", 100, 10)
    sequencer.row("users", "c", None, json.dumps({"id": 1, "type": "a" * 2_000}), 1, 1, 110, 0)
    sequencer.commit()
    assert [sent.topic for sent in kafka.open] == ["p.users"]


def test_a_message_holds_its_row_its_transaction_and_where_both_were() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    assert (sequencer.ts_us, sequencer.applied_us, sequencer.ahead_us, sequencer.rows, sequencer.sent) == (0,) * 5
    sequencer.begin("g:1", 7, "b.000001", 100, 5_000_000, 6_000_000)
    sequencer.row("users", "u", '{"id":1,"a":1}', '{"id":1,"a":2}', 1, 1, 110, 3)
    sequencer.row("claims", "c", None, '{"id":5}', 1, 1, 120, 4, True)
    assert (sequencer.rows, sequencer.sent) == (2, 1)
    sequencer.commit()
    assert (sequencer.ts_us, sequencer.applied_us, sequencer.version, sequencer.sent) == (
        5_000_000, 6_000_000, 6_000_000, 2,
    )  # fmt: skip
    first, second = kafka.open
    assert (first.topic, first.key, first.lane) == ("p.users", "1", lane_of(1, LANES))
    assert (second.topic, second.key, second.lane) == ("p.claims", "1", lane_of(1, LANES))
    assert (first.value["before"], first.value["after"]) == ({"id": 1, "a": 1}, {"id": 1, "a": 2})
    assert (second.value["before"], second.value["after"]) == (None, {"id": 5})
    assert [sent.value["op"] for sent in kafka.open] == ["u", "c"]
    for sent, row in ((first, (110, 3)), (second, (120, 4))):
        source = sent.value["source"]
        assert (source["server_id"], source["gtid"], source["file"], source["ts_us"]) == (
            7,
            "g:1",
            "b.000001",
            5_000_000,
        )
        assert (source["pos"], source["row"]) == row
        assert sent.value["lane"]["version"] == 6_000_000
    assert [sent.value["transaction"]["total_order"] for sent in kafka.open] == [1, 2]
    assert [sent.value["transaction"]["data_collection_order"] for sent in kafka.open] == [1, 1]
    assert [sent.value["lane"]["seq"] for sent in kafka.open] == [1, 2]
    assert [sent.value["lane"]["last"] for sent in kafka.open] == [False, True]


@pytest.mark.parametrize("user_id", [1, None])
def test_who_a_row_that_kafka_does_not_take_belongs_to_is_read_live_or_all_of_its_lane(user_id: int | None) -> None:
    kafka = Kafka()
    told: list[tuple[object, ...]] = []
    writer = EnvelopeWriter("p", "mysql", "company", 1)
    sequencer = Sequencer(
        kafka.checkpoint, "p.{}".format, writer, kafka.send, None, 4_000, lambda *said: told.append(said)
    )
    sequencer.begin("g:1", 1, "b.000001", 100, 10)
    sequencer.row("claims", "c", None, json.dumps({"id": 1, "type": "a" * 5_000}), user_id, 1, 110, 2)
    sequencer.commit()
    (sent,) = kafka.open
    assert sent.key == "1"
    block, change = READERS["heartbeats"](json.dumps(sent.value).encode())
    assert (block.user_id, change.moved, block.version) == (user_id, user_id is None, 10)
    ((table, op, file, pos, row, why),) = told
    assert (table, op, file, pos, row) == ("claims", "c", "b.000001", 110, 2)
    assert "claims" in str(why)
    assert sent.value["lane"]["recheck"] in str(why)


def test_transactions_of_one_row_are_sent_whole_as_one_by_one() -> None:
    rows = [single(number, 1_000 * number, 1_000 * number + 5) for number in range(1, 6)]
    sent: list[list[Sent]] = []
    for whole in (True, False):
        kafka = Kafka()
        sequencer = kafka.sequencer()
        if whole:
            sequencer.singles(rows, range(1, 6))
        else:
            for row, user_id in zip(rows, range(1, 6), strict=True):
                gtid, server_id, file, begun, ts_us, table, op, before, after, *_, pos, _, applied_us, _ = row
                sequencer.begin(gtid, server_id, file, begun, ts_us, applied_us)
                sequencer.row(table, op, before, after, user_id, user_id, pos, 0)
                sequencer.commit()
        assert (sequencer.sent, sequencer.rows, sequencer.version) == (5, 1, 5_005)
        assert (sequencer.ts_us, sequencer.applied_us) == (5_000, 5_005)
        sent.append(list(kafka.open))
    assert sent[0] == sent[1]
    with pytest.raises(ValueError, match="shorter"):
        Kafka().sequencer().singles(rows, [1])


def test_every_message_handed_over_is_counted_and_has_its_key() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.heartbeat(5_000)
    sequencer.begin("g:1", 1, "b.000001", 0, 6_000)
    sequencer.orphan("claim_requirements", "c", None, "{}", None, "c1", 10, 0)
    sequencer.cut()
    assert sequencer.sent == len(kafka.open)
    sequencer.row("users", "u", "{}", "{}", 1, 1, 20, 0)
    sequencer.recheck("statement")
    sequencer.unreadable([1], "damaged")
    sequencer.commit()
    assert sequencer.sent == len(kafka.open)
    before = len(kafka.open)
    sequencer.recheck_all("begun anew", 9_000)
    assert sequencer.sent == len(kafka.open) == before + LANES
    assert {(sent.lane, sent.key) for sent in kafka.open if sent.topic == "p.heartbeats"} == {
        *((lane, f"{lane}") for lane in range(LANES)),
        (lane_of(1, LANES), "1"),
    }
    reasons = ("statement", "damaged", "begun anew")
    asked = [READERS["heartbeats"](json.dumps(sent.value).encode())[1] for sent in kafka.open[LANES:]
             if sent.value["lane"].get("recheck")]  # fmt: skip
    assert [sum(one.recheck == reason for one in asked) for reason in reasons] == [LANES, 1, LANES]
    assert [{one.moved for one in asked if one.recheck == reason} for reason in reasons] == [{True}, {False}, {True}]
