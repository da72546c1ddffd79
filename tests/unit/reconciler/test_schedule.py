"""When each run was last to start, and on which days scores age."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.runs.aging import day_of, missed
from reconciler.schedule import last_slot
from reconciler.settings import AgingSettings

UTC_ZONE = ZoneInfo("UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "now", "slot"),
    [
        ("new-users", "2026-03-02 09:00:00", "2026-03-02 09:00:00"),
        ("new-users", "2026-03-02 09:59:59", "2026-03-02 09:00:00"),
        ("new-requirements", "2026-03-02 09:14:59", "2026-03-02 08:15:00"),
        ("unsigned-conversions", "2026-03-02 09:30:00", "2026-03-02 09:30:00"),
        ("requirements-conversions", "2026-03-02 00:10:00", "2026-03-01 23:45:00"),
    ],
)
def test_a_sweep_has_its_minute_of_every_hour(name: str, now: str, slot: str) -> None:
    assert last_slot(name, at(now), UTC_ZONE) == at(slot)


@pytest.mark.parametrize(
    ("now", "slot"),
    [
        ("2026-01-10 02:00:00", "2026-01-10 02:00:00"),
        ("2026-01-10 01:59:59", "2026-01-09 02:00:00"),
        ("2026-07-10 00:59:59", "2026-07-09 01:00:00"),
        ("2026-07-10 01:00:00", "2026-07-10 01:00:00"),
    ],
)
def test_scores_age_at_two_in_the_morning_where_the_company_is(now: str, slot: str) -> None:
    assert last_slot("age", at(now), ZoneInfo("Europe/London")) == at(slot)


LONDON = ZoneInfo("Europe/London")
SETTINGS = AgingSettings(aging_timezone="Europe/London")


def aged(
    begin: str, end: str, looks: timedelta, by_hand: str = "", down: tuple[str, str] = ("", "")
) -> dict[date, datetime]:
    """Plays the schedule: local day → the local time at which its scores aged. While it is `down` nobody looks."""
    done: dict[date, datetime] = {}

    def age(time: datetime, now: datetime) -> None:
        for day in missed(max(done, default=None), time.astimezone(LONDON).date(), SETTINGS, 90):
            assert day not in done
            done[day] = now.astimezone(LONDON)

    now, stop = at(begin), at(end)
    while now < stop:
        if by_hand and now <= at(by_hand) < now + looks:
            age(at(by_hand), at(by_hand))
        if not (down[0] and at(down[0]) <= now < at(down[1])):
            age(last_slot("age", now, LONDON), now)
        now += looks
    return done


@pytest.mark.parametrize(("begin", "end"), [("2026-03-23", "2026-04-06"), ("2026-10-19", "2026-11-02")])
def test_scores_age_at_two_each_day_but_sunday_whatever_clocks_do(begin: str, end: str) -> None:
    """A fortnight with a night in which clocks are put forward, and one in which they are put back."""
    ages = aged(f"{begin} 12:00:00", f"{end} 12:00:00", timedelta(minutes=5))
    days = [date.fromisoformat(begin) + timedelta(days=number) for number in range(15)]
    assert list(ages) == [day for day in days if day.weekday() != 6]
    assert {time.strftime("%H:%M") for time in list(ages.values())[1:]} == {"02:00"}


def test_what_was_aged_by_hand_before_two_does_not_age_again_and_the_next_day_does_at_two() -> None:
    ages = aged("2026-03-02 12:00:00", "2026-03-05 12:00:00", timedelta(minutes=5), by_hand="2026-03-03 00:30:00")
    assert [f"{time:%d %H:%M}" for time in ages.values()] == ["02 12:00", "03 00:30", "04 02:00", "05 02:00"]


def test_a_day_missed_for_an_outage_is_made_up_for_and_takes_nothing_from_the_next() -> None:
    outage = ("2026-03-03 01:00:00", "2026-03-04 01:00:00")
    ages = aged("2026-03-02 12:00:00", "2026-03-05 12:00:00", timedelta(minutes=5), down=outage)
    assert [f"{time:%d %H:%M}" for time in ages.values()] == ["02 12:00", "04 01:00", "04 02:00", "05 02:00"]
    assert list(ages) == [date(2026, 3, day) for day in (2, 3, 4, 5)]


def test_a_day_is_as_long_as_the_clocks_make_it() -> None:
    lengths = [
        day.next_midnight - day.midnight
        for date_ in ("2026-03-28", "2026-03-29", "2026-10-25")
        for day in [day_of(date.fromisoformat(date_), LONDON)]
    ]
    assert lengths == [timedelta(hours=hours) for hours in (24, 23, 25)]


@pytest.mark.parametrize(("begin", "end"), [("2026-03-27", "2026-03-31"), ("2026-10-23", "2026-10-27")])
def test_every_day_missed_in_an_outage_over_a_change_of_clocks_is_made_up_for_once(begin: str, end: str) -> None:
    """Away from Friday night to Tuesday night; clocks change on the Sunday, which is skipped."""
    outage = (f"{begin} 23:30:00", f"{end} 23:30:00")
    after = at(f"{end} 12:00:00") + timedelta(days=3)
    ages = aged(f"{begin} 12:00:00", f"{after:%Y-%m-%d %H:%M:%S}", timedelta(minutes=5), down=outage)
    first = date.fromisoformat(begin)
    assert list(ages) == [first + timedelta(days=number) for number in (0, 1, 3, 4, 5, 6, 7)]
    made_up = [day for day, time in ages.items() if time.date() != day]
    assert made_up[:2] == [first + timedelta(days=1), first + timedelta(days=3)]


def test_where_nothing_was_ever_aged_no_day_was_missed() -> None:
    assert missed(None, date(2026, 3, 3), SETTINGS, 90) == [date(2026, 3, 3)]
    assert missed(None, date(2026, 3, 1), SETTINGS, 90) == []  # a Sunday
    assert missed(date(2026, 3, 3), date(2026, 3, 3), SETTINGS, 90) == []
    assert missed(date(2026, 3, 5), date(2026, 3, 3), SETTINGS, 90) == []
