"""How many lists are read at once."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from reconciler.web import lists
from reconciler.web.lists import AT_ONCE, Extract
from reconciler.web.page.routes import add_pages
from tests.unit.reconciler.web.page.test_status_page import POLICY


def test_who_asks_for_one_list_too_many_is_told_when_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Event()

    def extract(*_: object) -> Extract:
        free.wait()
        return Extract()

    monkeypatch.setattr(lists, "extract", extract)
    monkeypatch.setattr(lists, "ANSWER_SECONDS", 1.0)
    app = FastAPI()
    nothing = cast(Any, None)
    add_pages(app, nothing, nothing, nothing, nothing, lambda: POLICY, "")

    async def play() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = [asyncio.create_task(client.get("/lists/none")) for _ in range(AT_ONCE + 1)]
            (refused,), waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            free.set()
            assert (refused.result().status_code, refused.result().headers["retry-after"]) == (503, "1")
            assert "Try again" in refused.result().text
            assert {(await one).status_code for one in waiting} == {200}

    asyncio.run(play())
