"""Plots as SVG by hand: lines and bars, the same bytes for the same figures, legible on any background."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

_WIDTH: Final = 720
_HEIGHT: Final = 320
_LEFT: Final = 76
_RIGHT: Final = 20
_TOP: Final = 56
_BOTTOM: Final = 48
_BAR: Final = 26
_COLOURS: Final = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#bf3989", "#0a7ea4")
_TICKS: Final = 5

Points = Sequence[tuple[float, float]]


def lines(title: str, x: str, y: str, series: Mapping[str, Points], *, log: bool = False) -> str:
    """Curves in one field, both axes from zero, or with `log` both logarithmic: then only what is above zero."""
    known = {name: [point for point in points if not log or min(point) > 0] for name, points in series.items()}
    xs = [at for points in known.values() for at, _ in points]
    ys = [value for points in known.values() for _, value in points]
    across = _Axis(xs, _LEFT, _WIDTH - _RIGHT, log=log)
    up = _Axis(ys, _HEIGHT - _BOTTOM, _TOP, log=log)
    drawn = [_text(_LEFT, 20, title, bold=True)]
    for value in across.ticks():
        at = across.place(value)
        drawn.append(f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}" stroke="#d0d7de"/>')
        drawn.append(_text(at, _HEIGHT - _BOTTOM + 16, shown(value), anchor="middle"))
    for value in up.ticks():
        at = up.place(value)
        drawn.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}" stroke="#d0d7de"/>')
        drawn.append(_text(_LEFT - 6, at + 4, shown(value), anchor="end"))
    drawn.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, x, anchor="middle"))
    drawn.append(_text(_WIDTH - _RIGHT, 41, y, anchor="end"))
    legend = float(_LEFT)
    for (name, points), colour in zip(known.items(), _colours(len(known)), strict=True):
        path = " ".join(f"{across.place(at):.1f},{up.place(value):.1f}" for at, value in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if log:
            drawn += [
                f'<circle cx="{across.place(at):.1f}" cy="{up.place(value):.1f}" r="3" fill="{colour}"/>'
                for at, value in points
            ]
        drawn.append(f'<rect x="{legend:.0f}" y="32" width="10" height="10" fill="{colour}"/>')
        drawn.append(_text(legend + 14, 41, name))
        legend += 32 + 7 * len(name)
    return _svg(_HEIGHT, drawn, title)


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """A bar each, from zero, with its value."""
    left, room = 250, _WIDTH - 250 - 90
    most = max(values.values(), default=0) or 1
    drawn = [_text(16, 20, f"{title}, {unit}", bold=True)]
    for number, (name, value) in enumerate(values.items()):
        top = 36 + number * _BAR
        colour = _COLOURS[0] if number == 0 else _COLOURS[5]
        drawn.append(_text(left - 8, top + 14, name, anchor="end"))
        drawn.append(f'<rect x="{left}" y="{top}" width="{room * value / most:.1f}" height="18" fill="{colour}"/>')
        drawn.append(_text(left + room * value / most + 6, top + 14, shown(value)))
    return _svg(44 + _BAR * len(values), drawn, title)


def shown(value: float) -> str:
    """A number as short as it may be said."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


class _Axis:
    """Values onto pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool) -> None:
        self._start, self._end, self._log = start, end, log
        if log:
            self._low = math.floor(math.log10(min(values, default=1)))
            self._high = max(math.ceil(math.log10(max(values, default=10))), self._low + 1)
        else:
            self._step = _round_step(max(values, default=1) / _TICKS)
            self._low, self._high = 0, max(1, math.ceil(max(values, default=1) / self._step - 1e-9))

    def place(self, value: float) -> float:
        at = math.log10(value) if self._log else value / self._step
        return self._start + (self._end - self._start) * (at - self._low) / (self._high - self._low)

    def ticks(self) -> list[float]:
        whole = range(self._low, self._high + 1)
        return [10.0**one if self._log else one * self._step for one in whole]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below what was asked for."""
    if rough <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))


def _colours(count: int) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(count)]


def _text(x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def _svg(height: int, drawn: Sequence[str], title: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" font-family="sans-serif" font-size="12" fill="#1f2328"><title>{escape(title)}</title>'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *drawn, "</svg>"]) + "\n"
