"""Ids of conversions are UUIDs of version 5, as `uuid.uuid5` makes them: those recorded years ago are known again."""

from uuid import UUID, uuid5

import pytest

from consumer.leads.model import ConversionType
from consumer.store.call_centre.effects import CONVERSIONS, conversion_id


@pytest.mark.parametrize("user_id", [1, 8911, -5, 2**63 - 1])
@pytest.mark.parametrize("kind", ConversionType)
@pytest.mark.parametrize("at", [0, 1_700_000_000_000_000])
def test_the_id_is_the_version_5_uuid_of_user_type_and_moment(user_id: int, kind: ConversionType, at: int) -> None:
    assert conversion_id(user_id, kind, at) == uuid5(CONVERSIONS, f"{user_id}/{kind.value}/{at}")


def test_the_id_of_a_conversion_is_what_it_always_was() -> None:
    made = conversion_id(8911, ConversionType.SIGNATURE_OBTAINED, 1_700_000_000_000_000)
    assert made == UUID("b1e102b1-c876-5d0a-b1f9-ee6e3d900b74")
