"""Text keys in one form for all spellings that their column calls equal."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from typing import Final

from consumer.leads.words import Weight, joined, units, without_padding
from consumer.mysql.weights import Collation, Query

KeyFolding = Callable[[str], str]
"""A key to what stands for it and all that equal it."""

OPAQUE: Final = "\u2261"
"""What a form begins with that is no key: weights in hexadecimal digits, or a key that the column cannot hold."""

_NUL: Final = f"{OPAQUE}:"
"""What the form of a key begins with that has NUL in it, which no text of PostgreSQL holds: behind it stands its UTF-8
in hexadecimal digits, so that keys that differ stay different."""
_ASCII: Final = tuple(map(chr, range(128)))
_REMEMBERED: Final = 50_000


def folding_of(query: Query, collation: str, charset: str) -> KeyFolding:
    """What folds the keys of the columns of a collation: two are equal there exactly where their folded forms are.

    `query` is kept: keys beyond ASCII are asked of the server. Raises UnsupportedCollation, and what `query` raises; so
    does the folding.
    """
    asked = Collation(query, collation, charset)
    return _binary(asked) if collation.endswith("_bin") else CollatedKeys(asked)


def unchanged(key: str) -> str:
    """The folding where every spelling is a key of its own."""
    return storable(key)


def storable(form: str) -> str:
    """A form as PostgreSQL can hold it, and no other form becomes."""
    return f"{_NUL}{form.encode().hex()}" if "\0" in form or form.startswith(_NUL) else form


class Foldings:
    """The foldings of a server's collations, each learnt once, and a spelling of every form that is no key."""

    def __init__(self, query: Query, learnt: dict[str, KeyFolding] | None = None) -> None:
        """`query` is kept, as by `folding_of`. `learnt` is shared with other sessions of the same server, by name of
        the collation."""
        self._query = query
        self._learnt: dict[str, KeyFolding] = {} if learnt is None else learnt
        self._known: dict[str, KeyFolding] = {}

    def of(self, collation: str, charset: str) -> KeyFolding:
        """What folds keys of a collation. Raises as `folding_of`."""
        if collation not in self._known:
            learnt = self._learnt.get(collation)
            if learnt is None:
                learnt = self._learnt[collation] = folding_of(self._query, collation, charset)
            self._known[collation] = learnt.asking(self._query) if isinstance(learnt, CollatedKeys) else learnt
        return self._known[collation]

    def spelled(self, form: str) -> str:
        """A key that has this form, for asking the server: of forms that are no keys, one that was folded lately."""
        if form.startswith(_NUL):
            return bytes.fromhex(form.removeprefix(_NUL)).decode()
        if form.startswith(OPAQUE):
            for folding in self._known.values():
                if isinstance(folding, CollatedKeys) and form in folding.spelled:
                    return folding.spelled[form]
        return form


def _binary(collation: Collation) -> KeyFolding:
    """The folding of a collation that compares codes: nothing but blanks at the end can be left out."""
    if not any(collation.padding):
        return unchanged

    def without_blanks(key: str) -> str:
        return storable(key.rstrip(" "))

    return without_blanks


class CollatedKeys:
    """The folding of keys by the weights of a collation.

    A key that weighs like a text of ASCII becomes that text, of which there is one: the same character stands for all
    of one weight, a small letter rather than a capital one. Any other key becomes its weight, in digits.
    """

    def __init__(self, collation: Collation) -> None:
        """Asks for the weights of ASCII and of its pairs. Raises UnsupportedCollation, and what the session raises."""
        self._collation = collation
        weighed = zip(_ASCII, collation.weights(_ASCII), strict=True)
        self._alone = {character: weight for character, weight in weighed if weight is not None}
        characters = list(self._alone)
        self._together = collation.contractions(characters, characters)
        self._units = units(self._together)
        self._contracted = re.compile("|".join(map(re.escape, self._together))) if self._together else None
        self._standing: dict[Weight, str] = {}
        for character in sorted(characters, key=lambda it: (not it.isprintable(), it.isupper(), it)):
            self._standing.setdefault(self._alone[character], character)
        self._table = {
            ord(character): self._standing[weight] if any(weight) else "" for character, weight in self._alone.items()
        }
        self._blanks = "".join(
            it for weight, it in self._standing.items() if any(weight) and not any(self._kept(weight))
        )
        self._forms: dict[str, str] = {}
        self.spelled: dict[str, str] = {}
        """A key by its form, of those beyond ASCII that were asked of the server lately."""
        # What the quick way makes of every character, alone and beside others, is checked against its weight here.
        around = (("", ""), ("x", ""), ("", "x"), ("", " "), ("x", " x"))
        texts = [before + character + after for character in _ASCII for before, after in around]
        self._quick = len(characters) == len(_ASCII) and all(
            self._translated(text) == self._weighed(text) for text in texts if not self._is_contracted(text)
        )

    def asking(self, query: Query) -> CollatedKeys:
        """The same folding for another session of the same server."""
        other = copy(self)
        other._collation = self._collation.asking(query)
        other._forms, other.spelled = {}, {}
        return other

    def __call__(self, key: str) -> str:
        """The form of a key. Raises whatever the session raises."""
        if not key.isascii():
            form = self._forms.get(key)
            return self._asked(key) if form is None else form
        return self._translated(key) if self._quick and not self._is_contracted(key) else self._weighed(key)

    def _is_contracted(self, key: str) -> bool:
        return self._contracted is not None and self._contracted.search(key) is not None

    def _translated(self, key: str) -> str:
        folded = key.translate(self._table)
        return storable(folded.rstrip(self._blanks) if self._blanks else folded)

    def _weighed(self, key: str) -> str:
        """The form of a key of ASCII, by the weights of its parts."""
        parts = [self._together.get(unit) or self._alone.get(unit) for unit in self._units.findall(key)]
        known = [weight for weight in parts if weight is not None]
        return (
            self._written(joined(known, self._collation.levels)) if len(known) == len(parts) else storable(OPAQUE + key)
        )

    def _asked(self, key: str) -> str:
        weight = self._collation.weight(key)
        form = storable(OPAQUE + key) if weight is None else self._written(weight)
        if len(self._forms) >= _REMEMBERED:
            oldest = next(iter(self._forms))
            if self.spelled.get(self._forms[oldest]) == oldest:
                del self.spelled[self._forms[oldest]]
            del self._forms[oldest]
        self._forms[key] = form
        self.spelled[form] = key
        return form

    def _kept(self, weight: Weight) -> Weight:
        return without_padding(weight, self._collation.padding)

    def _written(self, weight: Weight) -> str:
        """The text of ASCII that has a weight, or else its digits."""
        kept = self._kept(weight)
        fill = [(element,) if element else () for element in self._collation.padding]
        elements = [
            tuple(level[at : at + 1] or blank for level, blank in zip(kept, fill, strict=True))
            for at in range(len(kept[0]))
        ]
        text = "".join(self._standing.get(element, "") for element in elements)
        parts = [self._alone[character] for character in text]
        # `ch` may stand for both its letters apart, where these together weigh otherwise: then they are digits.
        if self._kept(joined(parts, self._collation.levels)) == kept:
            return storable(text)
        return OPAQUE + "/".join(".".join(level) for level in kept)
