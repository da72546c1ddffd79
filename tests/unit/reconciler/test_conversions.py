"""Which conversions are ours, and which of them another system has recorded too."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from consumer.leads.model import Conversion, ConversionType, QueueType
from consumer.store.call_centre.effects import conversion_id
from reconciler.conversions import CLOCKS, Row, is_ours, is_passed, unpublished

SIGNED, COMPLETED = ConversionType.SIGNATURE_OBTAINED, ConversionType.REQUIREMENTS_COMPLETED
T = 1_770_000_000_123_456


def earned(user_id: int, at: int, kind: ConversionType = COMPLETED) -> Conversion:
    return Conversion(user_id, 1, QueueType.NONE, kind, at, None, (), reset_at=None)


def ours(one: Conversion) -> UUID:
    return conversion_id(one.user_id, one.conversion_type, one.converted_at)


@pytest.mark.parametrize("at", [T, T // 1000 * 1000, T // 1000 * 1000 + 1000])
def test_a_row_of_ours_is_known_by_what_it_holds_though_its_time_was_rounded(at: int) -> None:
    one = earned(7, T) if at != T // 1000 * 1000 + 1000 else earned(7, T + 300)
    assert is_ours(Row(ours(one), 7, "requirements_completed", at if at == T else round(one.converted_at, -3)))


@pytest.mark.parametrize(
    "row",
    [
        Row(uuid4(), 7, "requirements_completed", T),
        Row(conversion_id(7, COMPLETED, T), 8, "requirements_completed", T),
        Row(conversion_id(7, COMPLETED, T), 7, "signature_obtained", T),
        Row(conversion_id(7, COMPLETED, T), 7, "something_else", T),
        Row(conversion_id(7, COMPLETED, T), 7, "requirements_completed", T + 1),
    ],
)
def test_any_other_row_is_not(row: Row) -> None:
    assert not is_ours(row)


def test_what_nobody_wrote_is_unpublished() -> None:
    written, lacking = earned(1, T), earned(2, T)
    assert unpublished([written, lacking], [Row(ours(written), 1, COMPLETED, T)]) == [lacking]


def test_each_row_of_another_system_stands_for_one_conversion_before_it() -> None:
    first, second, third = earned(1, T), earned(1, T + CLOCKS), earned(1, T + 10 * CLOCKS)
    signed = earned(1, T, SIGNED)
    rows = [Row(uuid4(), 1, COMPLETED, T + 3 * CLOCKS), Row(uuid4(), 1, COMPLETED, T + 4 * CLOCKS)]
    assert unpublished([third, second, first, signed], rows[:1]) == [signed, second, third]
    assert unpublished([third, second, first, signed], rows) == [signed, third]
    assert unpublished([third], rows) == [third], "it saw nothing that came later"


def test_another_systems_clock_may_be_a_minute_behind() -> None:
    one = earned(1, T)
    assert unpublished([one], [Row(uuid4(), 1, COMPLETED, T - CLOCKS)]) == []
    assert unpublished([one], [Row(uuid4(), 1, COMPLETED, T - CLOCKS - 1)]) == [one]


def test_rows_that_we_wrote_for_other_stints_stand_for_none() -> None:
    one, other = earned(1, T), earned(1, T + 1_000)
    assert unpublished([one], [Row(ours(other), 1, COMPLETED, T + 1_000)]) == [one]


def test_a_lane_is_beyond_a_row_only_when_no_rounding_can_be_in_the_way() -> None:
    row = Row(uuid4(), 1, "signature_obtained", 1_700_000_000_123_000)
    assert not is_passed(row, 1_700_000_000_123_000)
    assert not is_passed(row, 1_700_000_000_123_500)
    assert is_passed(row, 1_700_000_000_123_501)
