"""Plots are well-formed SVG, the same for the same figures."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.support import plots


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("points", [[], [(0.0, 0.0)], [(1.0, 1.0)], [(10_000.0, 0.3), (1e6, 250.0)]])
def test_lines_are_drawn_of_any_number_of_points(points: list[tuple[float, float]], log: bool) -> None:
    svg = plots.lines("a < b", "changes", "seconds", {"time & memory": points}, log=log)
    (title,) = [one for one in ET.fromstring(svg) if one.tag.endswith("title")]  # noqa: S314 - our own
    assert title.text == "a < b"
    assert "nan" not in svg
    assert svg == plots.lines("a < b", "changes", "seconds", {"time & memory": points}, log=log)


def test_a_curve_stays_inside_its_field() -> None:
    svg = plots.lines("", "", "", {"one": [(0, 0), (7, 3), (13, 1234)]})
    (path,) = [one.get("points", "") for one in ET.fromstring(svg) if one.tag.endswith("polyline")]  # noqa: S314
    for point in path.split():
        x, y = map(float, point.split(","))
        assert 76 <= x <= 700
        assert 56 <= y <= 272


def test_bars_have_lengths_in_proportion() -> None:
    svg = plots.bars("rates", "rows/s", {"ours": 100.0, "theirs": 50.0})
    widths = [float(one.get("width", "0")) for one in ET.fromstring(svg) if one.get("height") == "18"]  # noqa: S314
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)


@pytest.mark.parametrize(("value", "words"), [(0, "0"), (0.25, "0.25"), (1234, "1.23k"), (2e6, "2M"), (3.1e9, "3.1G")])
def test_numbers_are_short(value: float, words: str) -> None:
    assert plots.shown(value) == words
