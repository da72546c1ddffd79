"""What is logged once of a burst, and forgotten when the burst is over."""

from __future__ import annotations

from consumer.reader.reader import BURST_SECONDS, Bursts


def test_a_reason_is_logged_once_in_a_burst_and_again_afterwards() -> None:
    bursts = Bursts()
    told = [bursts.begins("too large", at) for at in (0.0, BURST_SECONDS - 1, BURST_SECONDS, BURST_SECONDS + 1)]
    assert told == [True, False, True, False]


def test_one_reason_does_not_hide_another() -> None:
    bursts = Bursts()
    assert [bursts.begins(reason, 1.0) for reason in ("one", "other", "one")] == [True, True, False]


def test_reasons_that_name_a_size_each_are_kept_for_as_long_as_a_burst() -> None:
    bursts = Bursts()
    for second in range(1_000):
        bursts.begins(f"a row of {second} bytes", float(second))
    assert len(bursts) == BURST_SECONDS
