"""Rows read from MySQL and rows read from the stream must be the same rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.stream.envelope import ClaimRequirements, Claims, Users
from reconciler.replica import claim_row, requirement_row, user_row

ids = st.integers(min_value=-(2**63), max_value=2**63 - 1)
keys = st.integers(min_value=-(2**63), max_value=2**64 - 1) | st.uuids().map(str) | st.text(min_size=1, max_size=20)
words = st.none() | st.text(max_size=20) | st.integers()


@given(ids, words, st.none() | st.booleans() | st.integers(min_value=0, max_value=1))
def test_a_user_is_the_same_whether_read_live_or_from_the_stream(
    user_id: int, signature: str | int | None, enabled: bool | int | None
) -> None:
    read = (
        None if signature == 0 or not str(signature).strip(" ") else signature
    )  # the query itself says NULL for what is no signature
    assert user_row(user_id, read, enabled) == Users(user_id, signature, enabled).row()


@given(keys, ids, words)
def test_a_claim_is_the_same_whether_read_live_or_from_the_stream(
    claim_id: int | str, user_id: int, status: str | int | None
) -> None:
    assert claim_row(str(claim_id), user_id, status) == Claims(claim_id, user_id, status).row()


@given(keys, keys, words, words, st.none() | st.text(max_size=20))
def test_a_requirement_is_the_same_whether_read_live_or_from_the_stream(
    requirement_id: int | str, claim_id: int | str, kind: str | int | None, status: str | int | None, reason: str | None
) -> None:
    streamed = ClaimRequirements(requirement_id, claim_id, kind, status, reason).row()
    assert requirement_row(str(requirement_id), str(claim_id), kind, status, reason) == streamed
