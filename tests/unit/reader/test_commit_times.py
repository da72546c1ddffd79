"""Which commit times are confirmed, and what is taken instead of the others."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from consumer.reader.commit_times import CommitTimes, Wrong

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_700_000_000 * SECOND
FUTURE = 1_900_000_000 * SECOND


class Server:
    """A server's clock, and what was reported of its commit times."""

    def __init__(self, *, mariadb: bool = True) -> None:
        self.now = NOW
        self.asked = 0
        self.reported: list[Wrong] = []
        self.version = NOW - SECOND
        self.times = CommitTimes(self.clock, lambda wrong, *_: self.reported.append(wrong), mariadb=mariadb)

    def clock(self) -> int:
        self.asked += 1
        return self.now

    def commit(self, ts_us: int, applied_us: int = 0, *, server_id: int = 1) -> tuple[int, int]:
        """The date and the version of one transaction."""
        date, applied_us = self.times.confirmed(server_id, ts_us, applied_us or ts_us, self.version)
        self.version = max(applied_us, self.version + 1)
        return date, self.version


def test_a_time_in_2030_dates_nothing_and_moves_no_version() -> None:
    server = Server()
    assert server.commit(NOW - SECOND) == (NOW - SECOND, NOW - SECOND + 1)
    assert server.commit(FUTURE) == (NOW - SECOND + 1, NOW - SECOND + 2)
    assert server.commit(NOW) == (NOW, NOW)
    assert server.reported == [Wrong.AHEAD]


def test_before_anything_is_known_a_time_in_2030_is_now() -> None:
    server = Server()
    server.version = 0
    assert server.commit(FUTURE) == (NOW, 1)


def test_a_time_of_long_ago_on_mariadb_is_that_of_the_transaction_before() -> None:
    server = Server()
    server.commit(NOW)
    assert server.commit(SECOND) == (NOW, NOW + 1)
    assert server.commit(NOW - 10 * SECOND) == (NOW, NOW + 2)  # a statement that took ten seconds
    assert server.reported == [Wrong.BEHIND]


def test_a_replica_that_lags_is_dated_by_its_source_however_late_and_each_source_by_itself() -> None:
    server = Server()
    late = NOW - 3 * 60 * MINUTE
    assert server.commit(NOW, server_id=2) == (NOW, NOW)
    assert server.commit(late)[0] == late
    assert server.commit(late + SECOND)[0] == late + SECOND
    assert server.commit(NOW + SECOND, server_id=2)[0] == NOW + SECOND
    assert server.reported == []


def test_a_clock_that_was_put_back_dates_what_comes_by_itself_within_seconds() -> None:
    server = Server()
    server.commit(NOW)
    server.now = NOW - 10 * MINUTE
    server.times.seen(server.now)
    assert server.commit(server.now + SECOND) == (server.now + SECOND, NOW + 1)
    assert server.commit(NOW) == (NOW + 1 - 10 * MINUTE - 1, NOW + 2)  # logged before it was put back
    assert server.commit(server.now + 2 * SECOND)[0] == server.now + 2 * SECOND


def test_a_replica_of_mysql_is_dated_by_its_source_and_versioned_by_itself() -> None:
    server = Server(mariadb=False)
    late = NOW - 3 * 60 * MINUTE
    assert server.commit(late, NOW) == (late, NOW)
    assert server.commit(late - MINUTE, NOW + 1) == (late - MINUTE, NOW + 1)
    assert server.commit(NOW + MINUTE, NOW + 2) == (NOW + 2, NOW + 2)  # the source's clock is a minute ahead
    assert server.reported == [Wrong.AHEAD]


def test_the_clock_is_asked_only_for_times_that_it_has_not_shown_yet() -> None:
    server = Server(mariadb=False)
    for number in range(1000):
        server.commit(NOW + number)
    assert server.asked == 1
    for _ in range(1000):
        server.commit(FUTURE)
    assert server.asked == 1


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(1, 2)), max_size=30))
def test_no_date_lies_ahead_and_none_of_one_server_before_the_last_while_the_clock_goes_on(
    commits: list[tuple[int, int]],
) -> None:
    server = Server()
    dates: dict[int, list[int]] = {1: [], 2: []}
    versions = []
    for seconds, origin in commits:
        date, version = server.commit(NOW + seconds * SECOND, server_id=origin)
        dates[origin].append(date)
        versions.append(version)
        assert date <= NOW + 2 * SECOND
        assert version <= NOW + 2 * SECOND + len(commits)
    assert all(earlier < later for earlier, later in pairwise(versions))
    for of_one in dates.values():
        assert all(later >= min(earlier, NOW) for earlier, later in pairwise(of_one))


def test_a_heartbeats_clock_that_was_read_long_ago_makes_no_later_commit_a_wrong_one() -> None:
    """The stream may come to where the clock was read a minute later: a server that is busy, a Kafka that was away."""
    server = Server(mariadb=False)
    server.now = NOW + MINUTE
    server.times.seen(NOW, age_seconds=60.0)
    assert server.commit(NOW + 3 * SECOND)[0] == NOW + 3 * SECOND
    server.times.seen(NOW)  # our own clock slept with the machine
    assert server.commit(NOW + 4 * SECOND)[0] == NOW + 4 * SECOND
    assert server.reported == []
    assert server.commit(FUTURE)[0] < NOW + MINUTE
    assert server.reported == [Wrong.AHEAD]
