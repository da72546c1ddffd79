"""Who asked for the rechecks that were given out."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.store.leads import ASKED_FOR_BY, LeadStore


def test_who_asked_for_rechecks_is_told_once_with_how_many_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    due: list[tuple[Any, ...]] = [
        (1, f"{ASKED_FOR_BY}ops", 0, 0), (2, f"{ASKED_FOR_BY}ops", 0, 0), (3, "numbers were lost", 0, 0),
        (4, f"{ASKED_FOR_BY}dialler", 0, 0),
    ]  # fmt: skip
    store = LeadStore("", 1, shadow=False, source="sweep")
    monkeypatch.setattr(store, "_read", lambda *_, **__: due)
    assert [recheck.user_id for recheck in store.due_rechecks(9)] == [1, 2, 3, 4]
    store.due_rechecks(9)  # those that are due still
    assert store.take_askers() == {"ops": 2, "dialler": 1}
    assert store.take_askers() == {}
