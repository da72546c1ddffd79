"""How words of the company's columns compare: as the column's own collation in MySQL does, not as Python would."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self


@dataclass(frozen=True)
class Comparison:
    """One column's way of comparing words: two of them are equal there exactly where their keys are."""

    collation: str = ""
    """The column's collation in MySQL; empty where none is known."""

    def key(self, word: str) -> Hashable:
        """What stands for a word and all that equal it."""
        return word.rstrip(" ").casefold()

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {"collation": self.collation}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The comparison that `as_json` was asked of."""
        return cls(str(content["collation"]))


PLAIN: Final = Comparison()
"""Without case and trailing blanks: where nobody has asked the server."""
