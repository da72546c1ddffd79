"""How the words of each column compare, asked of the company's server once, for all who cannot ask it."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from consumer.leads.words import EXACT, CharacterRun, Comparison, Weight
from consumer.mysql.schema import HeldColumn, columns_there
from consumer.mysql.weights import Collation, Parts, Query, UnsupportedCollation

_LETTERS_OF_OTHERS: Final = 60
_VOICE_MARKS: Final = "\u3099\u309a"
_MARKS: Final = (*map(chr, range(0x300, 0x30D)), *map(chr, range(0x323, 0x329)), "\u0331", "\u0338", *_VOICE_MARKS)
"""What combines with a letter before it, in the scripts that words of a business are written in."""
_HEADS_OF_MARKS: Final = "\u0300\u0301\u0307\u0308"
_FORMS: Final = ("NFC", "NFD", "NFKC", "NFKD")
_PADDING_REPEATED: Final = 4
_VARIATIONS: Final = 24


def comparisons(query: Query, database: str, words: Mapping[tuple[str, str], Iterable[str]]) -> dict[str, Comparison]:
    """How the words of each column (table, column) of the session's `database` compare, by `table.column`.

    Columns that do not exist are left out; what holds no text compares exactly.
    Raises UnsupportedCollation, and whatever `query` raises.
    """
    columns = columns_there(query)
    found: dict[str, Comparison] = {}
    together: dict[HeldColumn, dict[str, list[str]]] = {}
    for (table, column), listed in words.items():
        text = columns.get((table.lower(), column.lower()))
        if text is None:
            continue
        if text.collation:
            together.setdefault(text, {})[f"{table}.{column}"] = sorted(set(listed))
        else:
            found[f"{table}.{column}"] = EXACT
    for text, lists in together.items():
        try:
            found |= _comparisons(Collation(query, text.collation, text.charset), lists)
        except UnsupportedCollation as error:
            raise UnsupportedCollation(f"{', '.join(lists)} in database {database}: {error}") from error
    return found


def _comparisons(collation: Collation, lists: Mapping[str, Sequence[str]]) -> dict[str, Comparison]:
    """The comparisons of columns that share a collation: the characters of Unicode are looked through once."""
    blanks: Weight = tuple((element,) * _PADDING_REPEATED if element else () for element in collation.padding)

    def parts(words: Sequence[str]) -> Parts:
        weights = [weight for weight in collation.weights(words) if weight is not None]
        padded = [tuple(level + end for level, end in zip(weight, blanks, strict=True)) for weight in weights]
        return Parts(padded or [blanks], collation.levels)

    together = sorted({word for words in lists.values() for word in words})
    alphabet = collation.alphabet(parts(together))
    if collation.by_character:
        alphabet = _equal_to_one(collation, together, alphabet)
    contractions = _contractions(collation, together, alphabet)
    comparisons = {}
    for name, words in lists.items():
        wanted = parts(words)
        runs = tuple(run for run in alphabet if run.weight in wanted)
        known = Comparison(collation.name, collation.padding, runs)
        sequences = [
            (text, weight)
            for text, weight in sorted(contractions.items())
            if weight in wanted or known.key(text) != text
        ]
        comparisons[name] = Comparison(collation.name, collation.padding, runs, tuple(sequences))
        _confirm(collation, comparisons[name], words)
    return comparisons


def _equal_to_one(collation: Collation, words: Sequence[str], alphabet: Sequence[CharacterRun]) -> list[CharacterRun]:
    """Those characters that equal one of the words', or a blank.

    Where each character has one weight, WEIGHT_STRING may give one to several that are not equal.
    """
    characters = [chr(number) for run in alphabet for number in range(run.first, run.last + 1)]
    equal = collation.equal(characters, sorted({" ", *(character for word in words for character in word)}))
    kept = {character for character, _ in equal}
    weights = {chr(number): run.weight for run in alphabet for number in range(run.first, run.last + 1)}
    return [
        CharacterRun(ord(character), ord(character), weight)
        for character, weight in weights.items()
        if character in kept or not any(weight)
    ]


def _contractions(collation: Collation, words: Sequence[str], alphabet: Sequence[CharacterRun]) -> dict[str, Weight]:
    """Contractions of what can take part in a word: letters of ASCII and of the words, and what equals these."""
    written = {character for word in words for character in _spellings(word)}
    letters = [*string.ascii_letters, *sorted(written.difference(string.ascii_letters))]
    of_ascii = {weight[0] for weight in collation.weights(list(string.ascii_letters)) if weight is not None}
    others = [
        chr(number)
        for first, last, weight in alphabet
        if weight[0] and weight[0] not in of_ascii
        for number in range(first, min(last, first + _VARIATIONS) + 1)
        if chr(number) not in written
    ]
    letters += others[:_LETTERS_OF_OTHERS]
    return collation.contractions(
        [*letters, *(set(_HEADS_OF_MARKS) - set(letters))], list(dict.fromkeys((*letters, *_MARKS)))
    )


def _spellings(word: str) -> set[str]:
    """The characters of a word in every case and every form of Unicode."""
    return {
        character
        for form in _FORMS
        for spelling in (word, word.lower(), word.upper(), word.title())
        for decomposed in (unicodedata.normalize("NFKD", spelling), spelling)
        for character in unicodedata.normalize(form, decomposed)
    }


def _confirm(collation: Collation, comparison: Comparison, words: Sequence[str]) -> None:
    """Nothing where the server itself compares variations of the words as we do. Raises UnsupportedCollation."""
    if not words:
        return
    texts = [text for text in _variations(words, comparison) if collation.holds(text)]
    equal = collation.equal(texts, words)
    keys = {word: comparison.key(word) for word in words if collation.holds(word)}
    for text in texts:
        key = comparison.key(text)
        for word, its in keys.items():
            if (key == its) != ((text, word) in equal):
                raise UnsupportedCollation(
                    f"collation {collation.name} compares {text!a} and {word!a} otherwise than their weights;"
                    " convert the column to utf8mb4_unicode_ci or another collation of utf8mb4"
                )


def _variations(words: Sequence[str], comparison: Comparison) -> list[str]:
    """Texts that equal a word or nearly do: spelled otherwise, with characters of one weight, with ignorable ones."""
    alike: dict[Weight, list[str]] = {}
    for first, last, weight in comparison.runs:
        alike.setdefault(weight, []).extend(map(chr, range(first, min(last, first + _VARIATIONS) + 1)))
    of = {character: characters for characters in alike.values() for character in characters}
    ignorable = next((characters for weight, characters in alike.items() if not any(weight)), [])
    sequences = [text for text, _ in comparison.sequences]
    texts: dict[str, None] = {}
    for word in words:
        for spelling in (word, word.lower(), word.upper(), word.title(), word.swapcase()):
            texts |= dict.fromkeys(unicodedata.normalize(form, spelling) for form in _FORMS)
            texts |= dict.fromkeys(spelling + end for end in (" ", "   ", "\t", "\0", "\u00a0", " \t"))
            texts[" " + spelling] = None
        for turn in range(_VARIATIONS):
            exchanged = "".join(
                of[character][(turn * 7 + at) % len(of[character])] if character in of else character
                for at, character in enumerate(word)
            )
            texts[exchanged] = None
            at = turn % (len(word) + 1)
            for inserted in (ignorable, sequences):
                if inserted:
                    texts[word[:at] + inserted[turn * 31 % len(inserted)] + word[at:]] = None
    return list(texts)
