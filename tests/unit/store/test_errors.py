"""PostgreSQL's errors by what there is to do about them, of those that a test makes more easily than a server."""

from __future__ import annotations

import psycopg
import pytest

from consumer.store.connection import classified
from consumer.store.errors import StoreUnavailable
from consumer.store.refusal import is_refusal


@pytest.mark.parametrize("state", ["25P03", "25P04", "53100", "53300", "57014", "57P01", "57P02", "57P03", "58030"])
def test_what_the_server_is_short_of_or_ends_passes_by_itself(state: str) -> None:
    """25P04: PostgreSQL 17 ends a transaction that lasts longer than the role's `transaction_timeout`."""
    error = psycopg.errors.lookup(state)("gone")
    assert not is_refusal(error)
    with pytest.raises(StoreUnavailable), classified("postgresql://us@centre/calls"):
        raise error
