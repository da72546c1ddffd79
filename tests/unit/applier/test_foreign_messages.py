"""A message far ahead of its lane is told from one that only came early, by what the reader has given out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.applier.assigned_lane import Doubt, Lane
from consumer.applier.foreign_messages import ASIDE_SECONDS, JUDGE_SECONDS, MOST_AT_ONCE, STILL_SECONDS, ForeignMessages
from consumer.leads.model import Change, Table, UserRow
from consumer.store.dead_letters import Content, DeadLetter
from consumer.store.lanes import LaneState
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.errors import KafkaLost
from consumer.stream.topics import LANE_TOPICS


def checkpoint(*next_seqs: int, epoch: int = 1, version: int = 0) -> Checkpoint:
    return Checkpoint(
        epoch=epoch, flavor="mysql", server="", gtid_set="", file="", pos=4, version=version, next_seqs=[*next_seqs]
    )


def change(user_id: int) -> Change:
    return Change(user_id, Table.USERS, None, UserRow(user_id, None, True), 1, 1, True)


class Kafka:
    """What Kafka answers."""

    def __init__(self, newest: Checkpoint | None) -> None:
        self.newest = newest
        self.readable = True
        self.asked = 0
        self.overtaken = 0

    def ask(self) -> Checkpoint:
        self.asked += 1
        if self.newest is None:
            raise KafkaLost("no answer")
        return self.newest

    def original(self, lane: int, partition: int, offset: int) -> Content:
        if not self.readable:
            raise KafkaLost("no answer")
        return Content(b"key", b"%d %d %d" % (lane, partition, offset))

    def overtake(self) -> None:
        self.overtaken += 1

    @property
    def foreign(self) -> ForeignMessages:
        return ForeignMessages(LANE_TOPICS, self.ask, self.original, self.overtake)


def lane(*held: int, next_seq: int = 5, number: int = 0) -> Lane:
    made = Lane(number, LaneState(1, next_seq, 0, {}), 10_000)
    for offset, seq in enumerate(held):
        assert made.merge.push(0, seq, offset, change(seq))
    return made


def doubtful(one: Lane, *versions: int) -> Lane:
    """A lane that holds doubtful messages of these versions, from its next number on."""
    for offset, version in enumerate(versions):
        seq = one.merge.next_seq + offset
        held = change(seq)._replace(version=version)
        assert one.merge.push(0, seq, offset, held)
        one.doubts[seq] = Doubt(seq, 0, offset, held)
    return one


def letters(one: Lane) -> list[DeadLetter]:
    """What the lane's next batch makes dead letters."""
    one.gather(0)
    part = one.take()
    return [] if part is None else list(part.letters)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def at(now: float) -> None:
        monkeypatch.setattr("consumer.applier.foreign_messages.time.monotonic", lambda: now)

    at(0.0)
    return at


def test_numbers_that_the_reader_gave_out_are_not_foreign_and_kafka_is_asked_once() -> None:
    kafka = Kafka(checkpoint(9))
    foreign, one = kafka.foreign, lane(7, 8)
    assert foreign.all_numbered(one, 0.0)
    assert foreign.all_numbered(one, 1.0)
    assert (kafka.asked, letters(one)) == (1, [])


def test_a_number_that_the_reader_did_not_give_out_becomes_a_letter_with_its_bytes_and_a_recheck() -> None:
    kafka = Kafka(checkpoint(8))
    foreign, one = kafka.foreign, lane(7, 8, 1000)
    assert not foreign.all_numbered(one, 0.0), "what is missing has to be judged anew"
    assert foreign.all_numbered(one, 0.0)
    one.gather(0)
    part = one.take()
    assert part is not None
    assert [(letter.offset, letter.value, letter.reason) for letter in part.letters] == [
        (1, b"0 0 1", "skipped_number"),
        (2, b"0 0 2", "skipped_number"),
    ]
    assert (set(part.rechecks), part.lost) == ({8, 1000}, 0)
    assert len(one.merge) == 1


def test_while_kafka_does_not_say_nothing_is_given_up_and_it_is_asked_ever_less_often(
    clock: Callable[[float], None],
) -> None:
    kafka = Kafka(None)
    foreign, one = kafka.foreign, lane(1000)
    asked_at = []
    for second in range(200):
        clock(second)
        before = kafka.asked
        assert not foreign.all_numbered(one, second)
        asked_at += [second] * (kafka.asked - before)
    assert asked_at == [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181]
    kafka.newest = checkpoint(1001)
    assert foreign.all_numbered(one, 211)


def test_a_foreign_message_whose_bytes_cannot_be_read_stays_until_they_can(clock: Callable[[float], None]) -> None:
    kafka = Kafka(checkpoint(6))
    foreign, one = kafka.foreign, lane(1000)
    kafka.readable = False
    assert not foreign.all_numbered(one, 0.0)
    assert (len(one.merge), one.remarkable) == (1, False)
    kafka.readable = True
    clock(1.0)
    assert not foreign.all_numbered(one, 1.0)
    assert (len(one.merge), len(letters(one))) == (0, 1)


@pytest.mark.usefixtures("clock")
def test_a_checkpoint_of_another_epoch_says_nothing_about_a_lane() -> None:
    kafka = Kafka(checkpoint(1, epoch=2))
    one = lane(1000)
    assert not kafka.foreign.all_numbered(one, 0.0)
    assert (letters(one), kafka.overtaken) == ([], 1)


@pytest.mark.parametrize(("epoch", "overtaken"), [(1, 0), (2, 1)])
@pytest.mark.usefixtures("clock")
def test_a_lane_that_holds_something_displaced_in_an_older_epoch_is_asked_for_anew(epoch: int, overtaken: int) -> None:
    """It makes no batch, by which PostgreSQL would say that the lane was moved."""
    kafka = Kafka(checkpoint(1, epoch=epoch, version=5))
    one = doubtful(lane(), 9)
    one.displace(5)
    kafka.foreign.judge_versions([one], 0.0)
    assert (one.in_doubt, kafka.overtaken) == (bool(overtaken), overtaken)


@pytest.mark.usefixtures("clock")
def test_a_checkpoint_of_an_earlier_epoch_says_nothing_of_where_the_lane_stands() -> None:
    kafka = Kafka(checkpoint(100, epoch=0, version=9))
    one = doubtful(lane(), 9)
    assert kafka.foreign.judge_versions([one], 0.0) == 0
    assert (one.in_doubt, kafka.overtaken) == (True, 0)


@pytest.mark.usefixtures("clock")
def test_all_that_a_reader_gave_out_goes_on_at_one_look_however_much_it_is() -> None:
    kafka = Kafka(checkpoint(1_000, version=1_000))
    one = doubtful(lane(), *range(1, 2 * MOST_AT_ONCE + 51))
    assert kafka.foreign.judge_versions([one], 0.0) == 1_000
    assert one.ready
    assert kafka.asked == 1


@pytest.mark.usefixtures("clock")
def test_one_answer_is_about_all_lanes_in_doubt() -> None:
    kafka = Kafka(checkpoint(100, 100, 100, version=10))
    lanes = [doubtful(lane(), 9, 10), doubtful(lane(number=1), 10, 11), doubtful(lane(number=2), 12)]
    kafka.foreign.judge_versions(lanes, 0.0)
    assert kafka.asked == 1
    assert [one.in_doubt for one in lanes] == [False] * 3
    assert [[letter.offset for letter in letters(one)] for one in lanes] == [[], [1], [0]]
    assert [len(one.merge) for one in lanes] == [2, 1, 0]


@pytest.mark.usefixtures("clock")
def test_foreign_messages_whose_bytes_cannot_be_read_hold_up_no_other_lane() -> None:
    kafka = Kafka(checkpoint(100, 100, version=10))
    kafka.readable = False
    lanes = [doubtful(lane(), 11), doubtful(lane(number=1), 10)]
    assert kafka.foreign.judge_versions(lanes, 0.0) == 10
    assert [one.in_doubt for one in lanes] == [True, False]


def test_a_doubt_is_judged_at_once_unless_kafka_was_asked_just_now(clock: Callable[[float], None]) -> None:
    kafka = Kafka(checkpoint(100, version=10))
    foreign = kafka.foreign
    gone_on = []
    for at in (0.0, JUDGE_SECONDS / 2, JUDGE_SECONDS, 10.25, 10.25 + JUDGE_SECONDS / 2):
        clock(at)
        one = doubtful(lane(), 10)
        foreign.judge_versions([one], at)
        gone_on.append(one.ready)
    assert gone_on == [True, False, True, True, False]
    assert kafka.asked == 3


def test_doubtful_messages_that_no_reader_gave_out_are_set_aside_bit_by_bit(clock: Callable[[float], None]) -> None:
    kafka = Kafka(checkpoint(1_000, version=10))
    foreign, one = kafka.foreign, doubtful(lane(), *[11] * (MOST_AT_ONCE + 1))
    foreign.judge_versions([one], 0.0)
    assert len(one.doubts) == 1
    clock(JUDGE_SECONDS)
    foreign.judge_versions([one], JUDGE_SECONDS)
    assert (one.in_doubt, len(letters(one))) == (False, MOST_AT_ONCE + 1)


def test_a_look_that_takes_long_goes_on_at_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka's client takes its time for each message, and the lanes together hold many."""
    kafka, now = Kafka(checkpoint(*[1_000] * 3, version=10)), [0.0]
    monkeypatch.setattr("consumer.applier.foreign_messages.time.monotonic", lambda: now[0])
    read = kafka.original

    def slowly(lane: int, partition: int, offset: int) -> Content:
        now[0] += ASIDE_SECONDS / 10
        return read(lane, partition, offset)

    monkeypatch.setattr(kafka, "original", slowly)
    foreign, lanes = kafka.foreign, [doubtful(lane(number=number), *[11] * 8) for number in range(3)]
    looks = 0
    while any(one.in_doubt for one in lanes):
        looks += 1
        began = now[0]
        foreign.judge_versions(lanes, now[0])
        assert now[0] - began <= 1.1 * ASIDE_SECONDS
        now[0] += JUDGE_SECONDS
    assert (looks, [len(letters(one)) for one in lanes]) == (3, [8, 8, 8])


def test_a_flood_of_foreign_messages_is_set_aside_bit_by_bit() -> None:
    kafka = Kafka(checkpoint(6))
    foreign, one = kafka.foreign, lane(*range(1000, 1000 + MOST_AT_ONCE + 1))
    foreign.all_numbered(one, 0.0)
    assert len(one.merge) == 1
    foreign.all_numbered(one, 0.0)
    assert len(one.merge) == 0


def test_a_foreign_message_is_found_although_its_lane_never_rests() -> None:
    kafka = Kafka(checkpoint(100))
    foreign, one = kafka.foreign, lane(5, 1000)
    assert foreign.look({0: one}, STILL_SECONDS) == []
    one.merge.pop(10)
    one.merge.push(1, 6, 9, change(6))
    assert foreign.look({0: one}, 1.5 * STILL_SECONDS) == []
    assert foreign.look({0: one}, 2 * STILL_SECONDS) == [0]
    assert [letter.offset for letter in letters(one)] == [1]
    assert len(one.merge) == 1


def test_nobody_asks_about_a_lane_that_reads_ahead() -> None:
    kafka = Kafka(checkpoint(100))
    foreign, one = kafka.foreign, lane(7)
    for step in range(1, 9):
        assert foreign.look({0: one}, step * STILL_SECONDS) == []
        one.merge.push(0, 7 + step, step, change(1))
    assert kafka.asked == 0
