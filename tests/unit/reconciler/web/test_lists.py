"""How many lists are read at once."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from reconciler.web import lists
from reconciler.web.lists import AT_ONCE, WAITING, Busy, Extract, Turns
from reconciler.web.page.routes import add_pages
from tests.unit.reconciler.web.page.test_status_page import POLICY


def test_some_lists_are_read_at_once_some_wait_and_the_rest_is_sent_away() -> None:
    async def play() -> None:
        turns, ended = Turns(), asyncio.Event()
        at_work: list[int] = []

        async def reads(number: int) -> None:
            async with turns.take():
                at_work.append(number)
                await ended.wait()

        readers = [asyncio.create_task(reads(number)) for number in range(AT_ONCE + WAITING)]
        while len(at_work) < AT_ONCE:
            await asyncio.sleep(0)
        with pytest.raises(Busy):
            await reads(99)
        assert at_work == list(range(AT_ONCE))
        ended.set()
        await asyncio.gather(*readers)
        await reads(100)
        assert at_work == [*range(AT_ONCE + WAITING), 100]

    asyncio.run(play())


def test_who_asks_for_one_list_too_many_is_told_when_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Event()

    def extract(*_: object) -> Extract:
        free.wait()
        return Extract()

    monkeypatch.setattr(lists, "extract", extract)
    app = FastAPI()
    nothing = cast(Any, None)
    add_pages(app, nothing, nothing, nothing, nothing, lambda: POLICY, "")

    async def play() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = [asyncio.create_task(client.get("/lists/none")) for _ in range(AT_ONCE + WAITING + 1)]
            (refused,), waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            free.set()
            assert (refused.result().status_code, refused.result().headers["retry-after"]) == (503, "5")
            assert "Try again" in refused.result().text
            assert {(await one).status_code for one in waiting} == {200}

    asyncio.run(play())
