"""The array format, against psycopg's own reading of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.pq import Format

from consumer.store import arrays
from consumer.store.arrays import Array

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BIGINT = st.integers(-(2**63), 2**63 - 1)


def read(array: Array) -> Any:
    """What psycopg makes of it."""
    return Transformer().get_loader(array.oid, Format.BINARY).load(array)


@given(st.lists(st.none() | BIGINT))
def test_bigints_arrive_as_they_are(values: list[int | None]) -> None:
    assert read(arrays.bigints(values)) == values


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_integers_arrive_as_they_are(values: list[int]) -> None:
    assert read(arrays.integers(values)) == values


@given(st.lists(st.booleans()))
def test_truth_values_arrive_as_they_are(values: list[bool]) -> None:
    assert read(arrays.booleans(values)) == values


@given(st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_texts_arrive_as_they_are(values: list[str | None]) -> None:
    assert read(arrays.texts(values)) == values


@given(st.lists(st.none() | st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1))))
def test_times_arrive_to_the_microsecond(values: list[datetime | None]) -> None:
    moments = [None if value is None else value.replace(tzinfo=UTC) for value in values]
    micros = [None if value is None else (value - EPOCH) // timedelta(microseconds=1) for value in moments]
    assert read(arrays.moments(micros)) == moments


def test_uuids_arrive_as_they_are() -> None:
    ids: list[UUID] = [uuid4() for _ in range(5)]
    assert read(arrays.uuids([id_.bytes for id_ in ids])) == ids


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("\ud83d", "\ufffd"),
        ("\ude00x", "\ufffdx"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\0\ud800", "\ufffd\ufffd"),
        ("plain \\ \" ' {,} ü \U0001f600", "plain \\ \" ' {,} ü \U0001f600"),
    ],
)
def test_what_postgresql_cannot_hold_becomes_a_replacement_character(text: str, stored: str) -> None:
    assert arrays.storable(text).decode() == stored


@given(st.frozensets(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_texts_inside_a_column_survive_quotes_backslashes_and_commas(values: frozenset[str]) -> None:
    literal = arrays.nested_texts(values).encode()
    assert frozenset(read_text(literal, "text[]")) == values


def read_text(literal: bytes, kind: str) -> Any:
    """What psycopg makes of an array literal."""
    info = psycopg.adapters.types[kind.removesuffix("[]")]
    return Transformer().get_loader(info.array_oid, Format.TEXT).load(literal)
