"""How words of the company's columns compare: as the column's own collation in MySQL does, not as Python would."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

Weight = tuple[tuple[str, ...], ...]
"""What a collation makes of a text: for each level its collation elements, each in hexadecimal digits."""

_NO_TEXT: Final = "binary"


class CharacterRun(NamedTuple):
    """Characters of consecutive numbers that have one weight."""

    first: int
    last: int
    weight: Weight


def units(sequences: Iterable[str]) -> re.Pattern[str]:
    """What takes a text apart into sequences, the longest first, and single characters."""
    longest_first = sorted(sequences, key=lambda text: (-len(text), text))
    return re.compile("|".join([*map(re.escape, longest_first), "."]), re.DOTALL)


@dataclass(frozen=True)
class Comparison:
    """One column's way of comparing words: a word equals a word of the rules exactly where their keys are equal.

    It knows those characters that can take part in a string equal to a word of the rules it was made for; a word with
    any other character equals nothing but itself. So keys of two words, none of them the rules', say nothing.
    """

    collation: str = ""
    """The column's collation in MySQL, `binary` where it holds no text; empty where nobody has asked."""
    padding: tuple[str, ...] = ()
    """For each level the collation element that does not count at the end of a word; empty where there is none."""
    runs: tuple[CharacterRun, ...] = ()
    """The characters that matter and their weights, in order. An ignorable character's weight is empty."""
    sequences: tuple[tuple[str, Weight], ...] = ()
    """Characters that weigh otherwise together than each alone, such as `ch` in Czech."""
    _starts: list[int] = field(init=False, repr=False, compare=False)
    _together: Mapping[str, Weight] = field(init=False, repr=False, compare=False)
    _units: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", [run.first for run in self.runs])
        object.__setattr__(self, "_together", dict(self.sequences))
        object.__setattr__(self, "_units", units(self._together))

    def key(self, word: str) -> Hashable:
        """What stands for a word and all that equal it."""
        if not self.padding:
            return word if self.collation else word.rstrip(" ").casefold()
        weights = []
        for unit in self._units.findall(word):
            weight = self._together.get(unit) or self._weight(ord(unit))
            if weight is None:
                return word
            weights.append(weight)
        return without_padding(joined(weights, len(self.padding)), self.padding)

    def _weight(self, number: int) -> Weight | None:
        """The weight of a character, None where it is one that cannot matter."""
        at = bisect_right(self._starts, number) - 1
        return self.runs[at].weight if at >= 0 and number <= self.runs[at].last else None

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes; the same for the same comparison, whatever server it was asked of."""
        characters: dict[str, list[str]] = {}
        for first, last, weight in self.runs:
            characters.setdefault(_written(weight), []).append(f"{first:x}" if first == last else f"{first:x}-{last:x}")
        return {
            "collation": self.collation,
            "padding": list(self.padding),
            "characters": {weight: " ".join(numbers) for weight, numbers in sorted(characters.items())},
            "sequences": {text: _written(weight) for text, weight in sorted(self.sequences)},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        """The comparison that `as_json` wrote."""
        runs = [
            CharacterRun(int(first, 16), int(last or first, 16), _read(weight))
            for weight, numbers in data["characters"].items()
            for first, _, last in (number.partition("-") for number in numbers.split())
        ]
        sequences = [(text, _read(weight)) for text, weight in data["sequences"].items()]
        return cls(data["collation"], tuple(data["padding"]), tuple(sorted(runs)), tuple(sorted(sequences)))


PLAIN: Final = Comparison()
"""Without case and trailing blanks: where nobody has asked the server."""

EXACT: Final = Comparison(_NO_TEXT)
"""Character by character: integers in decimal digits, bytes, and whatever else is no text."""


def joined(weights: Iterable[Weight], levels: int) -> Weight:
    """The weight of a text by the weights of its parts."""
    parts = list(weights)
    return tuple(tuple(element for part in parts for element in part[level]) for level in range(levels))


def without_padding(weight: Weight, padding: tuple[str, ...]) -> Weight:
    """A weight without what does not count at its end."""
    kept = []
    for elements, blank in zip(weight, padding, strict=True):
        end = len(elements)
        while blank and end and elements[end - 1] == blank:
            end -= 1
        kept.append(elements[:end])
    return tuple(kept)


def _written(weight: Weight) -> str:
    return "/".join(".".join(elements) for elements in weight)


def _read(text: str) -> Weight:
    return tuple(tuple(level.split(".")) if level else () for level in text.split("/"))
