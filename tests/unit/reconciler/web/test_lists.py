"""How many lists are read at once."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from consumer.store.dead_letters import Unresolved
from reconciler.web import dead_letters, lists
from reconciler.web.lists import AT_ONCE, Extract
from reconciler.web.page.routes import add_pages
from tests.support.waiting import PATIENCE
from tests.unit.reconciler.web.page.test_status_page import POLICY


def pages() -> httpx.AsyncClient:
    """A client of the pages, which have nothing to show."""
    app, nothing = FastAPI(), cast(Any, None)
    add_pages(app, nothing, nothing, nothing, nothing, lambda: POLICY, "")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def test_who_asks_for_one_list_too_many_is_told_when_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Event()

    def extract(*_: object) -> Extract:
        free.wait()
        return Extract()

    monkeypatch.setattr(lists, "extract", extract)
    monkeypatch.setattr(lists, "ANSWER_SECONDS", 1.0)

    async def play() -> None:
        async with pages() as client:
            asked = [asyncio.create_task(client.get("/lists/none")) for _ in range(AT_ONCE + 1)]
            (refused,), waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            free.set()
            assert (refused.result().status_code, refused.result().headers["retry-after"]) == (503, "1")
            assert "Try again" in refused.result().text
            assert {(await one).status_code for one in waiting} == {200}

    asyncio.run(play())


def test_dead_letters_that_nobody_can_list_keep_one_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    free, looks = Event(), list[int]()

    def listed(*_: object) -> list[Unresolved]:
        looks.append(1)
        free.wait()
        return []

    monkeypatch.setattr(dead_letters, "listed", listed)
    monkeypatch.setattr(dead_letters, "ANSWER_SECONDS", 0.05)

    async def play() -> None:
        async with pages() as client:
            asked = [asyncio.create_task(client.get("/dead-letters")) for _ in range(3)]
            try:
                refused, _ = await asyncio.wait(asked, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                assert {one.result().status_code for one in refused} == {503}
                assert looks == [1]
            finally:
                free.set()
                await asyncio.wait(asked)

    asyncio.run(play())
