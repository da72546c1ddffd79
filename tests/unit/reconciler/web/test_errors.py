"""What is said of bodies that are none."""

from __future__ import annotations

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import Body, FastAPI

from reconciler.web.app import _answer_errors
from reconciler.web.models import VerifyRequest


def answer(body: bytes, kind: str | None) -> httpx.Response:
    app = FastAPI()
    _answer_errors(app)

    @app.post("/")
    async def take(request: Annotated[VerifyRequest, Body(default_factory=VerifyRequest)]) -> VerifyRequest:
        return request

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/", content=body, headers={} if kind is None else {"Content-Type": kind})

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("body", "kind", "status", "detail"),
    [
        (b'{"repair": "\xff"}', "application/json", 400, "the body cannot be read; send JSON in UTF-8"),
        (b"[" * 16_000, "application/json", 400, "the body cannot be read; send JSON in UTF-8"),
        (b"{", "application/json", 422, "body.1: JSON decode error"),
        (b"[]", "application/json", 422, "body: Input should be a valid dictionary"),
        (
            b'{"repair": true}',
            None,
            422,
            "body: it is not said to be JSON; send Content-Type: application/json with it",
        ),
        (b"repair=true", "application/x-www-form-urlencoded", 422, "send Content-Type: application/json with it"),
    ],
)
def test_a_body_that_is_none_is_told_what_it_should_be(body: bytes, kind: str | None, status: int, detail: str) -> None:
    found = answer(body, kind)
    assert found.headers["content-type"] == "application/problem+json"
    assert (found.status_code, found.json()["status"]) == (status, status)
    assert detail in found.json()["detail"]


def test_a_body_that_is_as_it_should_be_is_taken_and_so_is_none() -> None:
    assert answer(b'{"repair": true}', "application/json; charset=utf-8").json()["repair"] is True
    assert answer(b"", None).json()["repair"] is False
