"""The judges of a trial find what they are there to find."""

from __future__ import annotations

import socket
import subprocess
import sys
import zlib

import pytest

from tests.chaos.applier_log import gave_up_lanes, holds_lanes
from tests.chaos.caseload import ChaosCaseload, Full
from tests.chaos.connections import cut
from tests.chaos.dialler import Judge
from tests.chaos.events import Told, compare_events
from tests.chaos.topics import Numbered, check_lane


def row(seq: int, version: int, *, last: bool, pos: int | None = None) -> Numbered:
    place = ("binlog.000001", version if pos is None else pos, seq, "u", True, True)
    return Numbered(seq, version, last, f"uuid:{version}", place)


def beat(seq: int, version: int) -> Numbered:
    return Numbered(seq, version, True, None, ("", 0, 0, "h", False, False))


RIGHT = [row(1, 10, last=False), row(2, 10, last=True), beat(3, 12), row(4, 20, last=False), beat(5, 20)]


def test_a_lane_without_gaps_whose_transactions_end_is_right() -> None:
    assert list(check_lane(RIGHT)) == []


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ([RIGHT[0], RIGHT[2]], "number 3 stands where 2 should"),
        ([RIGHT[0], RIGHT[0], RIGHT[1]], "number 1 stands where 2 should"),
        ([RIGHT[0]], "version 10: rows [] of 1 are marked as the last"),
        ([RIGHT[1]._replace(seq=1), RIGHT[1]], "version 10: rows [0, 1] of 2 are marked as the last"),
        ([row(1, 10, last=True), row(2, 9, last=True)], "number 2 has version 9 after 10"),
        ([RIGHT[0], RIGHT[0]._replace(seq=2, version=11, last=True)], "number 2 repeats the row at"),
    ],
)
def test_gaps_repeats_and_missing_ends_are_found(wrong: list[Numbered], complaint: str) -> None:
    assert any(complaint in problem for problem in check_lane(wrong)), list(check_lane(wrong))


SCORE = {
    "user_id": 1,
    "current_queue_type": None,
    "is_active": False,
    "current_score": 7,
    "total_attempts": 1,
    "last_reset_date": None,
}
ENTRY = {"id": "e", "user_id": 1, "queue_type": "unsigned_users", "status": "pending", "assigned_to_agent_id": None}


@pytest.mark.parametrize(
    ("what", "before", "after", "complaint"),
    [
        ("user_call_scores UPDATE", SCORE, SCORE | {"total_attempts": 0}, "overwrote ['total_attempts']"),
        ("user_call_scores UPDATE", SCORE, SCORE | {"current_score": 0}, "overwrote ['current_score']"),
        ("user_call_scores DELETE", SCORE, None, "none of our business"),
        ("call_queue UPDATE", ENTRY | {"status": "assigned"}, ENTRY | {"status": "closed"}, "status assigned → closed"),
        ("call_queue INSERT", None, ENTRY, "there was a pending entry already"),
        ("conversions UPDATE", {"user_id": 1}, {"user_id": 1}, "none of our business"),
    ],
)
def test_writes_beyond_the_design_are_found(
    what: str, before: dict[str, object] | None, after: dict[str, object] | None, complaint: str
) -> None:
    judge = Judge(None)
    judge.take("call_queue", None, ENTRY)
    judge.look(what, before, after)
    assert complaint in judge.problems[0]


@pytest.mark.parametrize(
    ("shown", "second", "score", "complaints"),
    [(True, 3, 42, 0), (True, 3, 7, 1), (True, 5, 7, 0), (True, 5, 42, 1), (False, 3, 42, 1), (False, 3, 7, 0)],
)
def test_a_conversion_has_the_score_of_its_own_time_whenever_the_present_was_shown(
    shown: bool, second: int, score: int, complaints: int
) -> None:
    """A read of the fourth second was shown when the score was 42, and agents went on to 7."""
    judge = Judge(None)
    remembered = {"user_id": 1, "score": 42, "until_version": 1_700_000_004_000_000}
    judge.take("shown", None, remembered)
    judge.take("user_call_scores", None, {"user_id": 1, "current_score": 7, "total_attempts": 3, "last_call_at": None})
    if not shown:
        judge.take("shown", remembered, None)
    judge.look(
        "conversions INSERT",
        None,
        {
            "user_id": 1,
            "final_score": score,
            "total_call_attempts": 3,
            "last_call_at": None,
            "converted_at": f"2023-11-14T22:13:2{second}",
        },
    )
    assert len(judge.problems) == complaints


STARTED, ASSIGNED, IDLE, REVOKED, LOST, TAKEN = (
    '{"event": "applier_started", "owner": "host:1"}',
    '{"event": "lanes_assigned", "lanes": [1, 2]}',
    '{"event": "lanes_assigned", "lanes": []}',
    '{"event": "lanes_revoked", "lanes": [1, 2]}',
    '{"event": "lanes_lost", "lanes": [1, 2]}',
    '{"event": "lane_taken", "lanes": [1]}',
)


@pytest.mark.parametrize(
    ("lines", "holds"),
    [
        ([], False),
        ([STARTED, "%4|SESSTMOUT|rdkafka#consumer-1| {"], False),
        ([STARTED, ASSIGNED, '{"event": "batch_retried"}'], True),
        ([STARTED, ASSIGNED, REVOKED], False),
        ([STARTED, ASSIGNED, REVOKED, IDLE], False),
        ([STARTED, ASSIGNED, LOST, ASSIGNED], True),
        ([STARTED, ASSIGNED, '{"event": "trying', STARTED], False),
    ],
)
def test_who_holds_lanes_is_read_off_the_log(lines: list[str], holds: bool) -> None:
    assert holds_lanes(lines) is holds


def test_an_applier_that_only_goes_on_has_not_noticed_that_it_was_overtaken() -> None:
    assert not gave_up_lanes(['{"event": "batch_retried"}', ASSIGNED])
    assert all(gave_up_lanes([line]) for line in (LOST, TAKEN, REVOKED))


def test_a_full_lane_has_the_rows_asked_for_and_no_other_lane_has_any() -> None:
    caseload = ChaosCaseload(0, 8, 1)
    for _ in range(375):
        caseload.commit(caseload.initial())
    caseload.wanted = Full(1000, 0.5, 3, 12)
    draft = caseload.next()
    assert len(draft.steps) >= 1000
    assert {zlib.crc32(str(caseload._owner(step)).encode()) % 12 for step in draft.steps} == {3}
    assert "DO SLEEP(0.5)" in draft.statements
    assert caseload.next().name != draft.name


def test_events_that_are_missing_or_not_earned_or_out_of_order_are_found() -> None:
    earned = [Told("a", 1, 1), Told("b", 1, 3), Told("c", 2, 1)]
    assert compare_events(earned, [earned[0], earned[2], earned[0], earned[1], earned[0]]) == []
    assert compare_events(earned, earned[:2]) == [f"conversion {earned[2]} is not in the topic"]
    assert compare_events(earned[:2], earned) == [f"event {earned[2]} is no conversion"]
    assert len(compare_events(earned, [earned[1], earned[0], earned[2]])) == 1


def test_connections_are_cut_to_the_ports_given_and_to_no_other() -> None:
    talker = (
        "import socket, sys;"
        " kept, lost = (socket.create_connection(('127.0.0.1', int(port))) for port in sys.argv[1:]);"
        " assert lost.recv(1) == b''; kept.sendall(b'still here')"
    )
    with socket.create_server(("127.0.0.1", 0)) as kept, socket.create_server(("127.0.0.1", 0)) as lost:
        ports = [str(server.getsockname()[1]) for server in (kept, lost)]
        with subprocess.Popen([sys.executable, "-c", talker, *ports]) as process:
            (theirs, _), (ours, _) = kept.accept(), lost.accept()
            with theirs, ours:
                assert cut(process.pid, {int(ports[1])}) == 1
                assert (theirs.recv(20), ours.recv(1)) == (b"still here", b"")
            assert process.wait(30) == 0
