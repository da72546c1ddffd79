"""What of the call centre's rows is worked out without PostgreSQL."""

from __future__ import annotations

import pytest

from consumer.leads.model import Conversion, ConversionType, Key, QueueType
from consumer.store.call_centre.effects import RECENT, _documents, _requirements, of_long_ago

NOW = 1_700_000_000_000_000


def signed(at: int, signature: str = "file-1") -> Conversion:
    """A signature."""
    kind = ConversionType.SIGNATURE_OBTAINED
    return Conversion(1, 1, QueueType.UNSIGNED_USERS, kind, at, signature, (), reset_at=None)


def completed(at: int, *requirements: Key) -> Conversion:
    """The last documents."""
    kind = ConversionType.REQUIREMENTS_COMPLETED
    return Conversion(1, 1, QueueType.REQUIREMENTS_OUTSTANDING, kind, at, None, requirements, reset_at=None)


def test_only_what_happened_long_ago_may_have_been_paid_before_a_restore() -> None:
    recent, past = completed(NOW - RECENT, "7"), [signed(NOW - RECENT - 1), completed(0, "8")]
    assert of_long_ago([past[0], recent, past[1]], NOW) == past


@pytest.mark.parametrize(("text", "written"), [("a\0b", '["a\ufffdb"]'), ("a\ud800b", '["a\ufffdb"]')])
def test_json_holds_no_character_that_postgresql_cannot_hold(text: str, written: str) -> None:
    r"""jsonb takes no \u0000 (SQLSTATE 22P05), and the customer would be set aside for ever."""
    assert _documents(signed(NOW, text)) == written
    assert _requirements(completed(NOW, text)) == written


def test_ids_of_integer_columns_are_numbers() -> None:
    assert _requirements(completed(NOW, "7", "-12", "007", "-0", "a7")) == '[7,-12,"007","-0","a7"]'
