"""When times in `created_at` are certainly not UTC."""

from __future__ import annotations

import pytest

from consumer.local_time import Created, misdated, sentence

NOW = 1_800_000_000.0
HOUR = 3600.0


def users(*off: float) -> list[Created]:
    return [Created("users", NOW - 100 * number + by, NOW - 100 * number) for number, by in enumerate(off)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (users(-5 * HOUR - 3, -5 * HOUR, -5 * HOUR - 20), {"users": -5 * HOUR}),
        (users(5.75 * HOUR, 5.75 * HOUR - 5, 5.75 * HOUR), {"users": 5.75 * HOUR}),
        (users(-3, 0, -20), {}),
        (users(-5 * HOUR, -5 * HOUR), {}),
        (users(-5 * HOUR, -5 * HOUR, -3), {}),  # one application writes UTC
        (users(-5 * HOUR, -5 * HOUR, -5 * HOUR - 400), {}),
        (users(-86_000, -200_000, -3_000_000), {}),  # an import that keeps the times of long ago
        ([], {}),
    ],
)
def test_customers_are_misdated_where_all_are_by_the_same_quarters_of_an_hour(
    rows: list[Created], found: dict[str, float]
) -> None:
    assert misdated(rows, NOW) == found


@pytest.mark.parametrize(
    ("off", "found"),
    [
        ((-5 * HOUR + 300, -5 * HOUR + 2000, -5 * HOUR), {"claims": -5 * HOUR + 2000}),
        ((-5 * HOUR, -5 * HOUR, 300), {}),
        ((300, 2000, 86_000), {}),
    ],
)
def test_other_rows_are_misdated_where_all_are_older_than_their_customers(
    off: tuple[float, ...], found: dict[str, float]
) -> None:
    assert misdated([Created("claims", NOW - 90_000 + by, NOW - 90_000) for by in off], NOW) == found


def test_rows_made_in_the_future_are_misdated() -> None:
    rows = [Created("claims", NOW + 2 * HOUR - number, NOW - 100) for number in range(3)]
    assert misdated(rows, NOW) == {"claims": 2 * HOUR}
    assert misdated(rows[:2], NOW) == {}


def test_what_is_wrong_is_said_in_hours() -> None:
    assert sentence("users", -5 * HOUR) == "users.created_at holds times 5 h behind UTC"
    assert sentence("users", 5.75 * HOUR) == "users.created_at holds times 5.8 h ahead of UTC"
    assert sentence("users", 900) == "users.created_at holds times 15 min ahead of UTC"
