"""How old an answer read from the replica is."""

from __future__ import annotations

from math import inf

from consumer.versions import moment
from reconciler.replica import LagReading
from reconciler.web.precall import LAG_FRESH_SECONDS, as_of

ENDED = 1_772_442_847_318_200


def test_without_a_source_or_before_anybody_asked_the_data_are_of_the_read() -> None:
    assert as_of(ENDED, None, 1000.0) == moment(ENDED)
    assert as_of(ENDED, LagReading(None, 5.0), 1000.0) == moment(ENDED)


def test_data_of_a_replica_that_is_behind_are_older_by_its_lag() -> None:
    assert as_of(ENDED, LagReading(0.0, 995.0), 1000.0) == moment(ENDED)
    assert as_of(ENDED, LagReading(7.5, 995.0), 1000.0) == moment(ENDED - 7_500_000)


def test_nobody_knows_how_old_they_are_where_replication_stands_still_or_the_lag_was_seen_long_ago() -> None:
    assert as_of(ENDED, LagReading(inf, 995.0), 1000.0) is None
    assert as_of(ENDED, LagReading(0.0, 1000.0 - LAG_FRESH_SECONDS - 1), 1000.0) is None
