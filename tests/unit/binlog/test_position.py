"""GTID sets of both servers against plain sets of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysqlreplication.gtid import GtidSet

from consumer.binlog.position import MariaDBGtids, MySQLGtids

SOURCES = [
    "11111111-2222-3333-4444-555555555555",
    "11111111-2222-3333-4444-555555555555:tag_1",
    "99999999-2222-3333-4444-555555555555",
]
gtids = st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(1, 40)), max_size=60)


def gtid_set(items: list[tuple[str, int]]) -> MySQLGtids:
    result = MySQLGtids()
    for source, number in items:
        result.add_range(source, number, number)
    return result


@given(gtids)
def test_a_set_holds_what_was_added_whatever_the_order(items: list[tuple[str, int]]) -> None:
    assert str(gtid_set(items)) == str(gtid_set(sorted(items)))
    assert all(gtid_set(items).contains(gtid_set([item])) for item in items)


@given(gtids, gtids)
def test_containing_means_being_a_superset(first: list[tuple[str, int]], second: list[tuple[str, int]]) -> None:
    assert gtid_set(first).contains(gtid_set(second)) == (set(first) >= set(second))


@pytest.mark.parametrize("text", [f"{SOURCES[0]}:1-3:7", f"{SOURCES[0]}:1-3,{SOURCES[1]}:5,{SOURCES[2]}:9"])
def test_bytes_that_are_cut_off_are_no_set(text: str) -> None:
    whole = MySQLGtids(text).encode()
    for length in range(1, len(whole)):
        with pytest.raises((IndexError, ValueError)):
            MySQLGtids.decode(whole[:length])


ranges = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 15)), max_size=20)
"""First numbers, and how many more follow each."""


@given(ranges)
def test_ranges_that_overlap_hold_the_numbers_of_all(added: list[tuple[int, int]]) -> None:
    whole, numbers = MySQLGtids(), set[int]()
    for first, more in added:
        whole.add_range(SOURCES[0], first, first + more)
        numbers.update(range(first, first + more + 1))
    assert str(whole) == str(gtid_set([(SOURCES[0], number) for number in numbers]))


def test_tags_are_the_same_in_any_case() -> None:
    assert str(MySQLGtids(f"{SOURCES[0]}:Tag_1:1-3")) == f"{SOURCES[1]}:1-3"


@given(gtids)
def test_text_and_bytes_give_the_same_set_back(items: list[tuple[str, int]]) -> None:
    whole = gtid_set(items)
    assert str(MySQLGtids(str(whole))) == str(whole) == str(MySQLGtids.decode(whole.encode()))


@given(gtids.map(lambda items: [item for item in items if not item[0].endswith("tag_1")]))
def test_mysql_replication_writes_the_same_bytes(items: list[tuple[str, int]]) -> None:
    whole = gtid_set(items)
    assert GtidSet(str(whole)).encoded() == whole.encode()


@given(gtids, st.tuples(st.sampled_from(SOURCES), st.integers(1, 40)))
def test_one_gtid_can_be_taken_out(items: list[tuple[str, int]], item: tuple[str, int]) -> None:
    whole = gtid_set(items)
    whole.discard(*item)
    assert str(whole) == str(gtid_set([other for other in items if other != item]))


def test_servers_notation_is_read_and_written() -> None:
    text = "11111111-2222-3333-4444-555555555555:1-5:7:leads:1:3-4,\n99999999-2222-3333-4444-555555555555:10-20"
    assert str(MySQLGtids(text)) == text.replace("\n", "")
    assert str(MySQLGtids("")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "11111111-2222-3333-4444-555555555555",
        "11111111-2222-3333-4444-555555555555:0",
        SOURCES[0] + ":5-3",
        "0-1-1",
    ],
)
def test_what_is_no_gtid_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        MySQLGtids(text)


@pytest.mark.parametrize("data", [b"\1" + bytes(7), b"\1" + bytes(7) + bytes(16) + b"\xff" * 8, b"\xff" * 8])
def test_bytes_that_are_cut_off_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        MySQLGtids.decode(data)


def test_each_domain_of_mariadb_has_its_own_place() -> None:
    position = MariaDBGtids("0-1-100,7-2-5")
    position.add(0, 3, 101)
    position.add(8, 1, 1)
    assert str(position) == "0-3-101,7-2-5,8-1-1"
    assert str(MariaDBGtids(str(position))) == str(position)
    with pytest.raises(ValueError, match="is no GTID of MariaDB"):
        MariaDBGtids("0-1")
