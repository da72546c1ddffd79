"""What the live picture says over itself."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from tests.demo.pipeline import State
from tests.demo.view import Health, LiveView, Scene

UNDER_LOAD = Scene("leadstream demo", 13.0, None, 2000, 600, 3, 1, 40, State(0), [Health("reader", 7, 0, 13.0)])


def picture(scene: Scene) -> str:
    paper = io.StringIO()
    with LiveView(Console(file=paper, width=140)) as view:
        view.show(scene)
    return paper.getvalue()


def test_the_picture_says_what_ctrl_c_does_and_no_more_of_it_when_the_load_is_over() -> None:
    assert "13 s · Ctrl-C stops the load" in picture(UNDER_LOAD)
    over = picture(replace(UNDER_LOAD, over=True))
    assert "the load is over" in over
    assert "Ctrl-C" not in over
