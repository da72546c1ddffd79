"""A lane's part of a batch: what it holds, and what of the fetching thread's work it must not show yet."""

from __future__ import annotations

from consumer.applier.applier import _rest_of
from consumer.applier.assigned_lane import Lane
from consumer.applier.batches import Batch
from consumer.leads.model import Change, Table, UserRow
from consumer.store.dead_letters import Content, DeadLetter, dead_letter
from consumer.store.lanes import LaneState
from consumer.stream.envelope import NOBODY


def lane() -> Lane:
    return Lane(3, LaneState(1, 5, 40, {"users": 7}), 100)


def change(user_id: int, version: int, *, last: bool = True) -> Change:
    return Change(user_id, Table.USERS, None, UserRow(user_id, None, True), version, version, last)


def letter(reason: str) -> DeadLetter:
    return dead_letter("users", 3, 30, reason, "no JSON", None, Content(b"5", b"?"))


def beat(version: int) -> Change:
    return Change(NOBODY, None, None, None, version, version, True)


def test_a_batch_says_from_where_to_where_it_moves_its_lane() -> None:
    one = lane()
    one.merge.push(0, 5, 9, change(8, 50))
    one.merge.push(3, 6, 2, beat(60))
    one.merge.push(0, 7, 10, change(8, 70, last=False))
    assert one.gather(99) == (3, True)
    part = one.take()
    assert part is not None
    assert (part.lane, part.epoch, part.expected_seq, part.next_seq) == (3, 1, 5, 8)
    assert (part.version_before, part.version) == (40, 60)
    assert part.offsets == {"users": 11, "heartbeats": 3}
    assert part.user_ids == {8}
    assert one.take() is None


def test_the_next_batch_goes_on_where_the_last_one_ended() -> None:
    one = lane()
    one.merge.push(0, 5, 9, change(8, 50))
    one.gather(99)
    one.take()
    one.merge.push(0, 6, 10, change(9, 55))
    one.gather(99)
    part = one.take()
    assert part is not None
    assert (part.expected_seq, part.next_seq, part.version_before, part.version) == (6, 7, 50, 55)


def test_heartbeats_alone_are_no_rows() -> None:
    one = lane()
    one.merge.push(3, 5, 0, beat(50))
    assert one.gather(99) == (1, False)


def test_a_message_set_aside_shows_only_after_it_was_gathered() -> None:
    one = lane()
    one.merge.push(0, 5, 9, change(8, 50))
    one.gather(99)
    one.merge.pass_over(1, 30)
    one.set_aside(letter("undecodable"), 77)
    part = one.take()
    assert part is not None
    assert (part.letters, part.rechecks, part.offsets) == ([], {}, {"users": 10})
    assert one.remarkable
    one.gather(0)
    part = one.take()
    assert part is not None
    assert part.letters == [letter("undecodable")]
    assert set(part.rechecks) == {77}
    assert part.offsets == {"users": 10, "claims": 31}
    assert part.expected_seq == part.next_seq == 6


def test_a_missing_number_that_a_dead_letter_explains_is_not_lost() -> None:
    one = lane()
    one.set_aside(letter("undecodable"), 77, unnumbered=(0, 30))
    assert one.skip(3) == 2
    one.gather(0)
    part = one.take()
    assert part is not None
    assert (part.lost, part.next_seq) == (2, 8)


def test_a_dead_letter_explains_one_missing_number_once_and_one_without_a_number_explains_none() -> None:
    one = lane()
    one.set_aside(letter("undecodable"), 77, unnumbered=(0, 30))
    one.set_aside(letter("other_epoch"), None)
    assert [one.skip(1), one.skip(1)] == [0, 1]


def test_a_dead_letter_explains_no_number_missed_after_its_place_in_the_lane_was_passed() -> None:
    """Somebody's junk took no number of ours; what is lost days later is lost."""
    one = lane()
    one.set_aside(letter("undecodable"), 77, unnumbered=(0, 30))
    one.set_aside(letter("undecodable"), 77, unnumbered=(0, 31))
    one.merge.push(0, 5, 32, change(8, 50))
    one.gather(99)
    one.merge.push(0, 8, 40, change(8, 60))
    assert one.skip(2) == 2


def test_what_other_partitions_bring_meanwhile_says_nothing_about_a_dead_letters_number() -> None:
    one = lane()
    one.set_aside(letter("undecodable"), 77, unnumbered=(0, 30))
    one.merge.push(1, 5, 7, change(8, 50))
    one.gather(99)
    one.merge.push(0, 7, 31, change(8, 60))
    assert one.skip(1) == 0


def test_a_dead_letter_explains_no_number_smaller_than_those_before_it_in_its_partition() -> None:
    one = lane()
    one.merge.push(0, 7, 29, change(8, 60))
    one.set_aside(letter("undecodable"), 77, unnumbered=(0, 30))
    assert one.skip(2) == 2
    one.gather(99)
    one.merge.push(0, 9, 31, change(8, 70))
    assert one.skip(1) == 0


def test_a_stray_behind_a_dead_letter_says_nothing_about_its_number() -> None:
    one = lane()
    one.set_aside(letter("undecodable"), 77, unnumbered=(0, 30))
    one.merge.push(0, 1000, 31, change(8, 60))
    one.gather(99)
    one.drop(1000)
    one.merge.push(0, 5, 32, change(8, 60))
    one.gather(99)
    one.merge.push(0, 7, 33, change(8, 60))
    assert one.skip(1) == 1


def test_what_there_is_to_tell_is_told_once() -> None:
    one = lane()
    one.set_aside(letter("undecodable"), 77)
    one.gather(0)
    assert not one.remarkable
    assert one.take() is not None
    one.gather(0)
    assert one.take() is None


def test_the_version_of_a_lane_never_falls() -> None:
    one = lane()
    one.merge.push(3, 5, 0, beat(30))
    one.gather(99)
    part = one.take()
    assert part is not None
    assert (part.version_before, part.version) == (40, 40)


def test_rows_without_a_user_mark_the_batch_and_are_nobodys() -> None:
    one = lane()
    one.merge.push(2, 5, 0, change(NOBODY, 50))
    one.gather(99)
    part = one.take()
    assert part is not None
    assert part.orphaned
    assert part.user_ids == frozenset()


def test_a_notice_counts_only_when_the_lane_reaches_it() -> None:
    one = lane()
    one.merge.push(3, 6, 2, beat(60)._replace(recheck="TRUNCATE of users"))
    assert one.gather(99) == (0, False)
    assert one.take() is None
    one.merge.push(0, 5, 9, change(8, 50))
    one.gather(99)
    part = one.take()
    assert part is not None
    assert Batch(1, [part], 2).lane_rechecks == {"TRUNCATE of users": [3]}
    one.merge.push(3, 7, 3, beat(70))
    one.gather(99)
    after = one.take()
    assert after is not None
    assert Batch(1, [after], 1).lane_rechecks == {}


def test_what_is_left_of_a_batch_has_nothing_of_it_but_where_its_lanes_stand() -> None:
    """A lead whose message had no place was set aside with its recheck; once that is done, nobody asks for another."""
    one = lane()
    one.merge.push(0, 5, 9, change(8, 50))
    one.set_aside(letter("undecodable"), 5, unnumbered=(0, 30))
    one.gather(99)
    part = one.take()
    assert part is not None
    assert part.unplaced.keys() == {5}
    rest = _rest_of(Batch(1, [part], 1))
    (left,) = rest.lanes
    assert (left.expected_seq, left.next_seq, left.version_before, left.version) == (6, 6, 50, 50)
    assert (rest.user_ids, rest.letters, rest.lane_rechecks, rest.missed) == (set(), [], {}, {})
    assert not left.rechecks
