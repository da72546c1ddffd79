"""What the log says of runs that are others' work."""

from __future__ import annotations

from contextlib import nullcontext
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from reconciler import runner
from reconciler.runs import attribution
from reconciler.runs.attribution import Attributed


def test_that_others_attribute_conversions_is_said_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    others, none = "others do", "there are no calls"
    found = iter([others, others, none, none, Attributed(3, 1), others])
    monkeypatch.setattr(runner, "open_tools", lambda *_: nullcontext(cast(Any, SimpleNamespace(postgres=0, runs=0))))
    monkeypatch.setattr(attribution, "attribute", lambda *_: next(found))
    settings = cast(Any, SimpleNamespace(replica=None, discovery=SimpleNamespace(shadow_mode=False)))
    jobs = runner.Jobs(settings, cast(Any, None), Event())
    with capture_logs() as logs:
        for _ in range(6):
            jobs.attribute()
    assert [line.get("reason", line["event"]) for line in logs] == [others, none, "run_ended", others]
