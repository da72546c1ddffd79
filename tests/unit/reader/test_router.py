"""Which user a row belongs to, which rows are a delete and a create, and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.binlog.events import (
    Begin,
    Commit,
    Event,
    Heartbeat,
    Id,
    Rollback,
    RowChange,
    SchemaChange,
    Single,
    Statement,
    UnreadableRow,
)
from consumer.binlog.position import OrderedPosition
from consumer.capture import CAPTURED, OF_CLAIMS
from consumer.lane import lane_of
from consumer.mysql.foreign_keys import Action, ForeignKeys
from consumer.reader.claim_owners import UNKNOWN, Answer, ClaimOwners
from consumer.reader.router import RolledBack, Router
from consumer.reader.sequencer import Sequencer
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.envelope import EnvelopeWriter
from tests.spelled_out import spelled_out

LANES = 5
BEGIN = Begin("g:1", 1, "b.000001", 4, 1_000)
COMMIT = Commit("b.000001", 99)


class Trial:
    """A router whose messages are kept; `users` is what the replica answers."""

    def __init__(
        self,
        users: dict[int, int | None] | None = None,
        rows: int = 0,
        left_out: Sequence[Begin] = (),
        *,
        keys: ForeignKeys | None = None,
        ahead: bool = False,
        skip_unchanged: bool = False,
    ):
        self.sent: list[dict[str, Any]] = []
        self.lanes: list[int] = []
        self.asked: list[list[Id]] = []
        self.unread: list[Statement | SchemaChange | UnreadableRow] = []
        self.users = users or {}
        start = Checkpoint(
            epoch=1,
            flavor="mysql",
            server="s",
            gtid_set="",
            file="b.000001",
            pos=4,
            version=0,
            next_seqs=[1] * LANES,
            rows=rows,
            unfinished="g:1",
        )
        self.owners = ClaimOwners(1000, self.ask)
        self.sequencer = Sequencer(start, "p.{}".format, EnvelopeWriter("p", "mysql", "company", 1), self.keep)
        self.keys = keys or ForeignKeys()
        self.end: OrderedPosition = (9, 9) if ahead else (1, 99)
        self.router = Router(
            self.sequencer,
            self.owners,
            self.unread.append,
            frozenset(left_out),
            reached=lambda: (1, 99),
            foreign_keys=lambda: self.keys,
            skip_unchanged=skip_unchanged,
        )

    def keep(self, _topic: str, value: str | bytes, _key: str | bytes, lane: int) -> None:
        self.sent.append(json.loads(value))
        self.lanes.append(lane)

    def ask(self, claim_ids: list[Id]) -> Answer:
        self.asked.append(claim_ids)
        return Answer({claim_id: self.users[claim_id] for claim_id in claim_ids if claim_id in self.users}, self.end)

    def ties(self) -> list[tuple[str, str, int | None, dict[str, Any]]]:
        """Table, operation and user of messages that have ties, and these."""
        return [
            (message["source"]["table"], message["op"], message["lane"]["user_id"], message["lane"]["ties"])
            for message in sorted(
                [one for one in self.sent if one["op"] != "h"],
                key=lambda one: (one["source"]["ts_us"], one["transaction"]["total_order"]),
            )
            if "ties" in message["lane"]
        ]

    def place(self, table: str, op: str) -> tuple[int, int]:
        """Lane and number of the only such message."""
        (found,) = [
            (lane, message["lane"]["seq"])
            for lane, message in zip(self.lanes, self.sent, strict=True)
            if (message["source"]["table"], message["op"]) == (table, op)
        ]
        return found

    def feed(self, *events: Event) -> list[tuple[str, str, int | None]]:
        """Table, operation and user of what came out, in the source's order."""
        self.router.feed(list(events))
        rows = sorted(
            (message for message in self.sent if message["op"] != "h"),
            key=lambda message: (message["source"]["ts_us"], message["transaction"]["total_order"]),
        )
        return [(row["source"]["table"], row["op"], row["lane"]["user_id"]) for row in rows]


def image(number: int | None) -> str | None:
    return None if number is None else "{}"


def user(op: str, before: int | None, after: int | None) -> RowChange:
    return RowChange("users", op, image(before), image(after), before, before, after, after, 4, 0)


def claim(op: str, claim_id: int, before: int | None, after: int | None) -> RowChange:
    gone, come = (None if op == "c" else claim_id), (None if op == "d" else claim_id)
    return RowChange("claims", op, image(gone), image(come), gone, before, come, after, 4, 0)


def requirement(op: str, before: int | None, after: int | None, number: int = 1) -> RowChange:
    gone, come = (None if op == "c" else number), (None if op == "d" else number)
    return RowChange("claim_requirements", op, image(gone), image(come), gone, before, come, after, 4, 0)


def test_every_row_is_filed_under_its_user() -> None:
    trial = Trial()
    found = trial.feed(
        BEGIN, user("c", None, 10), claim("c", 1, None, 10), requirement("c", None, 1), claim("d", 1, 10, None), COMMIT
    )
    assert found == [
        ("users", "c", 10),
        ("claims", "c", 10),
        ("claim_requirements", "c", 10),
        ("claims", "d", 10),
    ]
    assert set(trial.lanes) == {lane_of(10, LANES)}
    assert [message["lane"]["last"] for message in trial.sent] == [False, False, False, True]
    assert trial.asked == []


def test_a_claim_that_moves_is_a_delete_there_and_a_create_here_and_its_requirements_follow_it() -> None:
    trial = Trial({1: 10})
    found = trial.feed(
        BEGIN, requirement("u", 1, 1), claim("u", 1, 10, 20), requirement("u", 1, 1), requirement("d", 1, None), COMMIT
    )
    assert found == [
        ("claim_requirements", "u", 10),
        ("claims", "d", 10),
        ("claims", "c", 20),
        ("claim_requirements", "u", 20),
        ("claim_requirements", "d", 20),
    ]
    assert trial.ties() == [
        ("claims", "d", 10, {"stays": True}),
        ("claims", "c", 20, {"after": [list(trial.place("claims", "d"))]}),
    ]
    assert moved_rows(trial) == []
    assert sorted(message["transaction"]["total_order"] for message in trial.sent) == [1, 2, 3, 4, 5]
    assert trial.asked == []


def test_a_requirement_that_moves_to_another_claim_is_a_delete_and_a_create() -> None:
    trial = Trial({1: 10, 2: 20})
    assert trial.feed(BEGIN, requirement("u", 1, 2), COMMIT) == [
        ("claim_requirements", "d", 10),
        ("claim_requirements", "c", 20),
    ]
    assert trial.asked == [[1, 2]]


def test_a_row_whose_key_changes_is_a_delete_and_a_create() -> None:
    trial = Trial()
    assert trial.feed(BEGIN, user("u", 10, 11), COMMIT) == [("users", "d", 10), ("users", "c", 11)]


def test_requirements_deleted_after_their_claim_in_one_transaction_find_their_user() -> None:
    trial = Trial()
    found = trial.feed(BEGIN, claim("d", 1, 10, None), requirement("d", 1, None), COMMIT)
    assert found == [("claims", "d", 10), ("claim_requirements", "d", 10)]
    trial.feed(BEGIN._replace(ts_us=2_000), requirement("d", 1, None), COMMIT)
    assert trial.asked == []
    assert [message["lane"]["user_id"] for message in trial.sent] == [10, 10, None]


def test_a_requirement_whose_claim_may_have_gone_meanwhile_is_an_orphan_in_every_lane() -> None:
    trial = Trial(ahead=True)
    assert trial.feed(BEGIN, requirement("u", 77, 77), COMMIT) == [("claim_requirements", "u", None)]
    assert sorted(trial.lanes) == list(range(LANES))
    assert trial.asked == [[77]]


def test_a_row_that_names_nobody_goes_to_its_own_lane_and_requirements_of_such_a_claim_to_that_claims() -> None:
    trial = Trial()
    found = trial.feed(
        BEGIN, claim("c", 5, None, None), requirement("c", None, 5), requirement("c", None, None, 6), COMMIT
    )
    assert sorted(found) == [
        ("claim_requirements", "c", None),
        ("claim_requirements", "c", None),
        ("claims", "c", None),
    ]
    assert sorted(trial.lanes) == sorted([lane_of(5, LANES), lane_of(5, LANES), lane_of(6, LANES)])


def test_all_claims_unknown_in_one_read_are_asked_for_at_once() -> None:
    trial = Trial({1: 10, 2: 20, 3: 30})
    trial.feed(BEGIN, requirement("c", None, 1), COMMIT, BEGIN._replace(ts_us=2_000), requirement("c", None, 2))
    trial.feed(requirement("c", None, 3), COMMIT)
    assert trial.asked == [[1, 2], [3]]


def test_rows_that_are_in_kafka_already_are_not_asked_for_but_still_teach_whose_a_claim_is() -> None:
    trial = Trial({9: 90}, rows=3)
    found = trial.feed(
        BEGIN,
        requirement("c", None, 9),
        claim("u", 1, 10, 20),
        requirement("c", None, 1),
        requirement("c", None, 9),
        COMMIT,
    )
    assert found == [("claim_requirements", "c", 20), ("claim_requirements", "c", 90)]
    assert trial.asked == [[9]]


def test_statements_and_schema_changes_are_said_aloud() -> None:
    trial = Trial()
    trial.feed(
        BEGIN, Statement("users", "UPDATE"), COMMIT, Heartbeat("b.000001", 99), SchemaChange("claims", "TRUNCATE")
    )
    assert trial.unread == [Statement("users", "UPDATE"), SchemaChange("claims", "TRUNCATE")]


def test_a_transaction_that_was_rolled_back_is_left_out_the_second_time() -> None:
    events = (BEGIN, user("c", None, 10), Rollback("b.000001", 50))
    trial = Trial()
    with pytest.raises(RolledBack) as caught:
        trial.feed(*events)
    again = Trial(left_out=[caught.value.begin])
    assert again.feed(*events, BEGIN._replace(pos=50, ts_us=2_000), user("c", None, 11), COMMIT) == [("users", "c", 11)]


def test_another_transaction_at_the_place_of_one_that_was_rolled_back_is_not_left_out() -> None:
    """Another server has others there, as after a failover, and no ROLLBACK would ever end the leaving out."""
    undone = BEGIN._replace(gtid="h:1")
    trial = Trial(left_out=[undone])
    assert trial.feed(BEGIN, user("c", None, 1), COMMIT) == [("users", "c", 1)]
    later = BEGIN._replace(gtid="g:2", pos=50, ts_us=2_000)
    trial = Trial(left_out=[BEGIN])
    assert trial.feed(BEGIN, user("c", None, 1), later, user("c", None, 2), COMMIT) == [("users", "c", 2)]


def test_rows_are_counted_by_table_and_operation() -> None:
    trial = Trial()
    trial.feed(BEGIN, user("c", None, 1), user("u", 1, 1), user("u", 1, 1), claim("u", 1, 1, 2), COMMIT)
    assert trial.router.counts == {
        **{table: {"c": 0, "u": 0, "d": 0} for table in CAPTURED},
        "users": {"c": 1, "u": 2, "d": 0},
        "claims": {"c": 0, "u": 1, "d": 0},
    }


def test_a_claim_of_which_the_answer_may_be_too_new_is_the_likely_users_and_every_lane_is_told() -> None:
    trial = Trial({77: 10}, ahead=True)
    assert trial.feed(BEGIN, requirement("u", 77, 77), COMMIT) == [("claim_requirements", "u", 10)]
    assert sorted(trial.lanes) == sorted([lane_of(10, LANES), *range(LANES)])
    assert sum(message["op"] == "h" for message in trial.sent) == LANES


@st.composite
def one_row_transactions(draw: st.DrawFn) -> list[Single]:
    """Transactions of one row, of few users and claims, so that claims move, go and come back."""
    ids = st.integers(1, 3)
    found = []
    for number in range(draw(st.integers(1, 12))):
        table = draw(st.sampled_from(["users", "claims", "claim_requirements"]))
        op = draw(st.sampled_from(["c", "u", "d"]))
        row_id = draw(ids)
        old = row_id if table == "users" else draw(st.none() | ids)
        new = row_id if table == "users" else draw(st.none() | ids)
        before, after = f'{{"id":{row_id},"ref":"{old}"}}', f'{{"id":{row_id},"ref":"{new}"}}'
        gone, come = op != "c", op != "d"
        change = RowChange(
            table,
            op,
            before if gone else None,
            after if come else None,
            row_id if gone else None,
            old if gone else None,
            row_id if come else None,
            new if come else None,
            70 + number,
            0,
        )
        gtid = draw(st.sampled_from([None, f"g:{number}"]))
        found.append(Single(gtid, 1, "b.000001", 40 + number, draw(st.integers(1, 2_000)), *change[:9], 99 + number))
    return found


@given(one_row_transactions())
def test_a_transaction_of_one_row_at_one_stroke_gives_what_it_gives_event_by_event(transactions: list[Single]) -> None:
    at_one_stroke, one_by_one = Trial({1: 7, 2: None}), Trial({1: 7, 2: None})
    at_one_stroke.router.feed(list(transactions))
    one_by_one.router.feed(spelled_out(transactions))
    assert at_one_stroke.sent == one_by_one.sent
    assert at_one_stroke.lanes == one_by_one.lanes
    assert at_one_stroke.asked == one_by_one.asked
    assert at_one_stroke.router.counts == one_by_one.router.counts
    reached = [trial.sequencer.checkpoint("s", "", "b.000001", 999, []) for trial in (at_one_stroke, one_by_one)]
    assert reached[0] == reached[1]


def moved_rows(trial: Trial) -> list[tuple[str, str, int | None]]:
    return [
        (message["source"]["table"], message["op"], message["lane"]["user_id"])
        for message in trial.sent
        if message["lane"].get("moved")
    ]


@pytest.mark.parametrize(
    ("action", "explicit", "left", "taken"),
    [
        (Action.CASCADE, False, {"leaves": True}, True),
        (Action.CASCADE, True, {"stays": True}, False),
        (Action.NONE, False, {"stays": True}, False),
        (Action.SET_NULL, False, None, False),
    ],
)
def test_what_becomes_of_the_claims_of_a_user_with_another_number_is_for_the_foreign_keys_to_say(
    action: Action, explicit: bool, left: dict[str, Any] | None, taken: bool
) -> None:
    trial = Trial(keys=ForeignKeys(user_renumbered=action))
    trial.feed(BEGIN, user("u", 10, 11)._replace(explicit=explicit), COMMIT)
    expected = [] if left is None else [("users", "d", 10, left)]
    if taken:
        expected.append(("users", "c", 11, {"was": 10, "after": [list(trial.place("users", "d"))]}))
    assert trial.ties() == expected
    assert moved_rows(trial) == []


@pytest.mark.parametrize("logged", [True, False])
def test_a_claim_of_a_user_with_another_number_is_asked_for_unless_the_stream_says_whose_it_is(logged: bool) -> None:
    trial = Trial({1: 11})
    trial.feed(BEGIN, claim("c", 1, None, 10), COMMIT)
    cascade = [claim("u", 1, 10, 11)] if logged else []
    trial.feed(BEGIN, *cascade, user("u", 10, 11), requirement("c", None, 1, 5), COMMIT)
    trial.feed(Single("g:2", 1, "b.000001", 99, 2_000, *requirement("c", None, 1, 6)[:9], 150))
    rows = [message for message in trial.sent if message["op"] != "h"]
    assert [row["lane"]["user_id"] for row in rows if row["source"]["table"] == "claim_requirements"] == [11, 11]
    assert trial.asked == ([] if logged else [[1]])


def test_the_claims_of_a_deleted_user_are_asked_for_once_the_transaction_is_over() -> None:
    trial = Trial({1: None, 2: 20})
    trial.feed(BEGIN, claim("c", 1, None, 10), claim("c", 2, None, 10), COMMIT)
    trial.feed(BEGIN, user("d", 10, None), requirement("d", 1, None), COMMIT)
    assert trial.asked == []
    trial.feed(BEGIN, requirement("c", None, 1, 5), requirement("c", None, 2, 6), COMMIT)
    assert trial.asked == [[1, 2]], "a foreign key may have set them to NULL, and somebody else given them to another"
    assert [message["lane"]["user_id"] for message in trial.sent if message["op"] == "c"][2:] == [None, 20]
    trial.feed(BEGIN, user("c", None, 10), claim("c", 3, None, 10), requirement("c", None, 3, 7), COMMIT)
    assert trial.asked == [[1, 2]], "what came after is confirmed"


@pytest.mark.parametrize("one_row", [True, False])
def test_a_deleted_user_is_noticed_in_a_transaction_of_one_row_too(one_row: bool) -> None:
    trial = Trial({1: 20})
    trial.feed(BEGIN, claim("c", 1, None, 10), COMMIT)
    gone = user("d", 10, None)
    trial.feed(*([Single("g:2", 1, "b.000001", 99, 2_000, *gone[:9], 150)] if one_row else [BEGIN, gone, COMMIT]))
    trial.feed(BEGIN, requirement("c", None, 1), COMMIT)
    assert trial.asked == [[1]]


def test_a_deleted_user_and_claim_take_along_what_cascades_and_leave_what_does_not() -> None:
    trial = Trial()
    trial.feed(BEGIN, claim("d", 1, 10, None), user("d", 10, None), COMMIT)
    assert trial.ties() == []
    for kept in (Trial(keys=ForeignKeys(*[Action.NONE] * 4)), trial):
        kept.sent.clear()
        kept.lanes.clear()
        gone = [claim("d", 1, 10, None), user("d", 10, None)]
        kept.feed(BEGIN, *(change._replace(explicit=kept is trial) for change in gone), COMMIT)
        assert kept.ties() == [("claims", "d", 10, {"stays": True}), ("users", "d", 10, {"stays": True})]


@pytest.mark.parametrize(
    "hiding",
    [
        Statement("claims", "UPDATE"),
        Statement(None, "XA COMMIT"),
        SchemaChange("claims", "RENAME"),
        SchemaChange("claims", "TRUNCATE"),
        SchemaChange("claims", "DROP"),
        SchemaChange("claims", "MODIFY"),
    ],
)
def test_whose_claims_are_counts_no_more_where_rows_changed_that_nobody_saw(hiding: Statement | SchemaChange) -> None:
    """A swapped table or a logged statement may give a claim to somebody else: the former user's lane never told."""
    trial = Trial({1: 20})
    trial.feed(BEGIN, claim("c", 1, None, 10), COMMIT)
    trial.feed(BEGIN, hiding, COMMIT)
    assert trial.feed(BEGIN, requirement("u", 1, 1), COMMIT)[1:] == [("claim_requirements", "u", 20)]


def test_what_is_seen_behind_rows_that_nobody_saw_says_nothing_of_whose_a_claim_was_before() -> None:
    trial = Trial({1: 20})
    rows = (requirement("u", 1, 1), Statement("claims", "UPDATE"), claim("u", 1, 20, 20))
    assert trial.feed(BEGIN, *rows, COMMIT)[0] == ("claim_requirements", "u", 20)
    assert next(message["lane"]["ties"] for message in trial.sent if message["op"] == "u") == {"likely": True}
    assert trial.asked == [[1]]


@pytest.mark.parametrize("verb", ["CREATE", "ALTER"])
def test_a_schema_change_that_moves_no_row_leaves_claims_with_their_users(verb: str) -> None:
    trial = Trial({1: 20})
    trial.feed(BEGIN, claim("c", 1, None, 10), COMMIT)
    trial.feed(BEGIN, SchemaChange("claims", verb), COMMIT)
    assert trial.feed(BEGIN, requirement("u", 1, 1), COMMIT)[1:] == [("claim_requirements", "u", 10)]
    assert trial.asked == []


def test_foreign_keys_are_asked_for_again_after_a_schema_change() -> None:
    trial = Trial()
    trial.feed(BEGIN, user("d", 10, None), COMMIT)
    trial.keys = ForeignKeys(*[Action.NONE] * 4)
    trial.feed(BEGIN, user("d", 11, None), COMMIT)
    assert trial.ties() == []
    trial.feed(BEGIN, SchemaChange("claims", "ALTER"), COMMIT, BEGIN._replace(ts_us=3_000), user("d", 12, None), COMMIT)
    assert trial.ties() == [("users", "d", 12, {"stays": True})]


@pytest.mark.parametrize("cascades", [True, False])
def test_a_claim_replaced_under_another_user_takes_over_what_its_deletion_left(cascades: bool) -> None:
    trial = Trial(keys=None if cascades else ForeignKeys(*[Action.NONE] * 4))
    trial.feed(BEGIN, claim("d", 1, 10, None), claim("c", 1, None, 20), COMMIT)
    left = [] if cascades else [("claims", "d", 10, {"stays": True})]
    assert trial.ties() == [*left, ("claims", "c", 20, {"after": [list(trial.place("claims", "d"))]})]
    assert moved_rows(trial) == []


def test_a_claim_with_another_id_takes_over_what_was_left_under_the_old_one_where_that_cascades() -> None:
    renumbered = RowChange("claims", "u", "{}", "{}", 1, 10, 2, 10, 4, 0)
    trial = Trial()
    trial.feed(BEGIN, renumbered, COMMIT)
    assert trial.ties() == [("claims", "d", 10, {"stays": True}), ("claims", "c", 10, {"was": 1})]
    for kept in (Trial(keys=ForeignKeys(*[Action.NONE] * 4)), Trial()):
        kept.feed(BEGIN, renumbered._replace(explicit=kept.keys.claim_deleted != Action.NONE), COMMIT)
        assert kept.ties() == [("claims", "d", 10, {"stays": True})]


def test_a_requirement_before_its_claim_waits_for_it_in_one_lane_and_the_claim_comes_after_it() -> None:
    trial = Trial()
    found = trial.feed(BEGIN, requirement("c", None, 77), COMMIT)
    assert found == [("claim_requirements", "c", None)]
    assert trial.lanes == [lane_of(77, LANES)]
    trial.feed(BEGIN._replace(ts_us=2_000), claim("c", 77, None, 3), requirement("c", None, 77, 2), COMMIT)
    place = trial.lanes[0], trial.sent[0]["lane"]["seq"]
    assert lane_of(3, LANES) != place[0]
    assert trial.ties() == [
        ("claim_requirements", "c", None, {"claimless": True}),
        ("claims", "c", 3, {"after": [list(place)], "sure": False}),
    ]
    assert [message["lane"]["user_id"] for message in trial.sent] == [None, 3, 3]
    assert trial.asked == [[77]]


@pytest.mark.parametrize("one_row", [True, False])
def test_the_claim_that_comes_is_noticed_in_a_transaction_of_one_row_too(one_row: bool) -> None:
    trial = Trial()
    trial.feed(BEGIN, requirement("c", None, 77), COMMIT)
    come = claim("c", 77, None, 3)
    trial.feed(*([Single("g:2", 1, "b.000001", 99, 2_000, *come[:9], 150)] if one_row else [BEGIN, come, COMMIT]))
    assert trial.ties()[-1][3] == {"after": [[trial.lanes[0], 1]], "sure": False}


def test_a_requirement_and_its_claim_after_it_in_one_transaction_need_no_question() -> None:
    trial = Trial({77: 3}, ahead=True)
    trial.feed(BEGIN, requirement("c", None, 77), claim("c", 77, None, 3), COMMIT)
    assert trial.asked == []
    assert trial.ties()[0][3] == {"claimless": True}
    assert trial.ties()[1][3] == {"after": [[lane_of(77, LANES), 1]], "sure": False}


def test_requirements_of_a_claim_that_left_its_user_follow_in_that_users_lane() -> None:
    trial = Trial(keys=ForeignKeys(*[Action.NONE] * 4))
    trial.feed(BEGIN, claim("d", 1, 10, None), requirement("d", 1, None), COMMIT)
    assert trial.lanes == [lane_of(10, LANES)] * 2
    assert [message["lane"]["user_id"] for message in trial.sent] == [10, None]
    trial.feed(BEGIN._replace(ts_us=2_000), claim("c", 1, None, 20), COMMIT)
    assert trial.ties()[-1] == ("claims", "c", 20, {"after": [[lane_of(10, LANES), 2]]})


def test_a_claim_is_marked_where_it_may_have_had_requirements_that_nobody_can_place() -> None:
    trial = Trial(ahead=True)
    trial.feed(BEGIN, requirement("c", None, 77), COMMIT)
    trial.feed(BEGIN._replace(ts_us=2_000), claim("c", 77, None, 3), COMMIT)
    assert moved_rows(trial) == [("claims", "c", 3)]


def test_a_claim_of_nobody_is_marked_when_somebody_gets_it_unless_the_stream_knows_it_whole() -> None:
    trial = Trial()
    trial.feed(BEGIN, claim("u", 1, None, 20), COMMIT)
    assert moved_rows(trial) == [("claims", "c", 20)]
    trial.feed(BEGIN._replace(ts_us=2_000), claim("u", 1, 20, None), COMMIT)
    trial.feed(BEGIN._replace(ts_us=3_000), requirement("c", None, 1), COMMIT)
    trial.feed(BEGIN._replace(ts_us=4_000), claim("u", 1, None, 30), COMMIT)
    assert moved_rows(trial) == [("claims", "c", 20)]
    assert trial.ties()[-1] == ("claims", "c", 30, {"after": [[lane_of(20, LANES), 3]]})


def test_departed_users_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.reader.claim_owners.DELETED_KEPT", 10)
    trial = Trial(dict.fromkeys(range(1000), 5))
    for number in range(100):
        trial.feed(BEGIN, claim("c", number, None, number), user("d", number, None), COMMIT)
        trial.feed(BEGIN, user("c", None, number), claim("c", 500 + number, None, number), COMMIT)
        confirmed = [claim_id for claims in trial.owners._deleted.values() for claim_id in claims]
        assert len(trial.owners._deleted) <= 10
        assert len(confirmed) == trial.owners._confirmed_count <= 10
        assert trial.owners.get(number) == UNKNOWN


def test_where_nobody_may_see_the_foreign_keys_whatever_goes_leaves_it_unknown_what_stays() -> None:
    trial = Trial(keys=ForeignKeys(*[Action.UNKNOWN] * 4))
    trial.feed(BEGIN, claim("d", 1, 10, None), user("d", 10, None), user("u", 11, 12), COMMIT)
    assert trial.ties() == [
        ("claims", "d", 10, {"unknown": True}),
        ("users", "d", 10, {"unknown": True}),
        ("users", "d", 11, {"unknown": True}),
    ]
    assert moved_rows(trial) == [("users", "c", 12)]


@pytest.mark.parametrize("table", CAPTURED)
def test_every_captured_table_has_a_way_to_its_user(table: str) -> None:
    trial = Trial({5: 7})
    ref = 1 if table == "users" else 5
    user_id = 7 if table in OF_CLAIMS else ref
    created = RowChange(table, "c", None, "{}", None, None, 1, ref, 4, 0)
    deleted = RowChange(table, "d", "{}", None, 1, ref, None, None, 4, 0)
    assert trial.feed(BEGIN, created, deleted, COMMIT) == [(table, "c", user_id), (table, "d", user_id)]


@pytest.mark.parametrize("table", CAPTURED)
def test_a_row_alone_goes_that_way_too_and_only_a_claim_says_whose_claims_are(table: str) -> None:
    trial = Trial({5: 7})
    ref = 1 if table == "users" else 5
    changed = RowChange(table, "u", "{}", "{}", 1, ref, 1, ref, 4, 0)
    found = trial.feed(alone(changed, 1), alone(changed, 2), alone(changed, 3))
    assert found == 3 * [(table, "u", 7 if table in OF_CLAIMS else ref)]
    assert trial.owners.get(1) == (5 if table == "claims" else UNKNOWN)


def touched(change: RowChange, after: str = '{"seen":1}') -> RowChange:
    """An update that changes `before` into `after`; the images of the other makers are all alike."""
    return change._replace(after=after)


def alone(change: RowChange, number: int) -> Single:
    """The same as the only row of a transaction."""
    return Single(f"g:{number}", 1, "b.000001", number, number * 1_000, *change[:9], number + 1, number * 1_000)


UNCHANGED = [
    user("u", 10, 10)._replace(before='{"id":10,"updated_at":1}', after='{"id":10,"updated_at":23}'),
    claim("u", 1, 10, 10),
    requirement("u", 1, 1),
]


@pytest.mark.parametrize("single", [False, True])
def test_updates_that_change_nothing_captured_are_left_out_where_that_is_set(single: bool) -> None:
    for skip, count in ((False, 4), (True, 1)):
        trial = Trial(users={1: 10}, skip_unchanged=skip)
        rows = [*UNCHANGED, touched(user("u", 10, 10))]
        events = [alone(row, n) for n, row in enumerate(rows, 1)] if single else [BEGIN, *rows, COMMIT]
        assert len(trial.feed(*events)) == count
        assert trial.router.counts["users"]["u"] == 2, "they are counted as the binlog has them"


def test_a_claim_whose_update_is_left_out_is_known_all_the_same() -> None:
    trial = Trial(skip_unchanged=True)
    assert trial.feed(BEGIN, claim("u", 1, 10, 10), requirement("c", None, 1), COMMIT) == [
        ("claim_requirements", "c", 10)
    ]
    assert not trial.asked


def test_what_is_left_out_says_how_far_the_stream_is() -> None:
    trial = Trial(users={1: 10}, skip_unchanged=True)
    trial.feed(*(alone(row, n) for n, row in enumerate(UNCHANGED, 7)))
    assert not trial.sent
    assert (trial.sequencer.version, trial.sequencer.ts_us) == (9_000, 9_000)
    assert trial.sequencer.may_rest


@given(st.lists(st.sampled_from([True, False]), min_size=1, max_size=12), st.integers(0, 12), st.booleans())
def test_the_setting_may_change_while_a_transaction_is_cut(changes: list[bool], cut: int, before: bool) -> None:
    """What is in Kafka of it is counted by the binlog's rows, whatever was sent of them."""
    rows = [touched(user("u", n, n)) if change else user("u", n, n) for n, change in enumerate(changes)]
    first = Trial(skip_unchanged=before)
    first.feed(BEGIN, *rows[:cut])
    first.sequencer.cut()
    second = Trial(rows=min(cut, len(rows)), skip_unchanged=not before)
    second.feed(BEGIN, *rows, COMMIT)
    sent = [message["lane"]["user_id"] for message in first.sent + second.sent if message["op"] != "h"]
    assert sorted(set(sent)) == sorted(sent), "none twice"
    assert {n for n, change in enumerate(changes) if change} <= set(sent), "and none of those that changed is missing"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"id":1,"status":"a","updated_at":1}', '{"id":1,"status":"b","updated_at":1}'),
        ('{"id":1,"created_at":1,"updated_at":1}', '{"id":1,"created_at":2,"updated_at":1}'),
        ('{"id":1,"status":",\\"updated_at\\":1"}', '{"id":1,"status":",\\"updated_at\\":2"}'),
        ('{"id":1,"status":null}', '{"id":1,"status":"null"}'),
    ],
)
def test_an_update_of_anything_else_is_sent(before: str, after: str) -> None:
    trial = Trial(skip_unchanged=True)
    assert trial.feed(BEGIN, user("u", 1, 1)._replace(before=before, after=after), COMMIT) == [("users", "u", 1)]
