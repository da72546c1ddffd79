"""What a collation of a server makes of texts: their weights, asked of the server itself.

WEIGHT_STRING is what the server sorts by. Two texts are equal exactly where their weights are, apart from what pads:
verified against `=` for every collation of both servers (tests/integration/mysql/test_collations.py). How levels lie in
one weight: MySQL's `strings/ctype-uca.cc` (levels separated by 0000), MariaDB's `WEIGHT_STRING(… LEVEL n)`.
"""

# ruff: noqa: S608 - statements are put together from names of collations, numbers and hexadecimal digits alone

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Final

from consumer.leads.words import CharacterRun, Weight, joined, units
from consumer.mysql import charsets

Query = Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]
"""A session: a statement and its arguments to rows."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_]+\Z")
_UNICODE: Final = frozenset(("utf8", "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32"))
_BASIC_PLANE_ONLY: Final = frozenset(("utf8", "utf8mb3", "ucs2"))
_NUMBERED_BY_UNICODE: Final = _UNICODE | {"gb18030"}
_THREE_BYTES: Final = frozenset(("ujis", "eucjpms"))
_PLANE: Final = 1 << 16
_ASSIGNED_PLANES: Final = (0, 1, 2, 3, 14)
_NO_SURROGATES: Final = f" WHERE n NOT BETWEEN {0xD800} AND {0xDFFF}"
_SAMPLES: Final = (0, 0x1234, 0x8000, 0xFFFD)
_TEXTS_A_STATEMENT: Final = 1_000
_LONGEST_SEQUENCE: Final = 6
_MOST_SEQUENCES: Final = 500
_HALVES: Final = "cp1250_czech_cs"
_FRAMED: Final = "latin2_czech_cs"
_NIBBLES: Final = " UNION ALL ".join(f"SELECT {digit}" for digit in range(1, 16))
_DIGITS: Final = f"(SELECT 0 d UNION ALL {_NIBBLES})"


class UnsupportedCollation(Exception):
    """A collation whose comparisons cannot be had exactly without asking the server for each."""


class Parts:
    """What can be part of one of some weights: `weight in parts`; an empty weight always is."""

    def __init__(self, weights: Iterable[Weight], levels: int) -> None:
        whole = list(weights)
        self.first_elements = {element for weight in whole for element in weight[0]}
        self._texts = [" ".join(_delimited(weight[level]) for weight in whole) for level in range(levels)]

    def __contains__(self, weight: Weight) -> bool:
        return all(
            not elements or _delimited(elements) in texts for elements, texts in zip(weight, self._texts, strict=True)
        )


def _delimited(elements: Iterable[str]) -> str:
    return f".{'.'.join(elements)}."


class Collation:
    """One collation of a server. Texts that its character set cannot hold have no weight."""

    def __init__(self, query: Query, name: str, charset: str) -> None:
        """Asks the server how the collation works.

        Raises UnsupportedCollation where its character set has no exact codec; and whatever `query` raises.
        """
        encode, decode = charsets.encoder(charset), charsets.decoder(charset)
        if encode is None or decode is None:
            raise UnsupportedCollation(
                f"collation {name} is of character set {charset}, which we cannot read exactly;"
                " convert the column to utf8mb4"
            )
        if not _PLAIN_NAME.match(name) or not _PLAIN_NAME.match(charset):
            raise UnsupportedCollation(f"{name!r} of {charset!r} is not the name of a collation that we can ask for")
        self.name = name
        self.charset = charset
        self._query = query
        self._encode, self._decode = encode, decode
        self._ends_at_nul = False
        self._learn()

    def _learn(self) -> None:
        """How weights lie, and what does not count at the end of a text."""
        a, blank, nul = (self._literal(text) for text in ("a", " ", "\0"))
        rows = self._query(
            f"SELECT VERSION(), maxlen, WEIGHT_STRING({a}), {a} = CONCAT({a}, {blank}), {a} = CONCAT({a}, {nul})"
            " FROM information_schema.character_sets WHERE character_set_name = %s",
            (self.charset,),
        )
        version, longest, whole, pads, pads_nul = rows[0]
        mariadb = "mariadb" in str(version).lower()
        self._one_byte = int(longest) == 1
        # MySQL's WEIGHT_STRING of a Thai text with NUL in it breaks off there; such a text equals no other.
        self._ends_at_nul = self.charset == "tis620" and not mariadb
        self._separated = False
        self._levels: tuple[str, ...] = ("",)
        levels = 1
        if self.name == _HALVES:
            levels = 2
        elif self.name != _FRAMED and mariadb:
            first = self._query(f"SELECT WEIGHT_STRING({a} LEVEL 1)", ())[0][0]
            if first != whole:
                self._levels = (" LEVEL 1", " LEVEL 2", " LEVEL 3")
                levels, whole = 3, first
        elif self.name != _FRAMED and b"\0\0" in _pairs(whole)[1:-1]:
            self._separated = True
            # The fourth level, of Japanese alone, is there in texts with kana only.
            levels = 4 if self.name.endswith("_ks") else _pairs(whole).count(b"\0\0") + 1
            whole = whole[:2]
        self.levels = levels
        # The width of a collation element in bytes; 0: a character's whole weight is one element.
        self._width = 1 if self._one_byte else len(whole) if len(whole) > 1 else 0
        self.by_character = self._width == 0 or self.charset == "big5"
        self.padding: tuple[str, ...] = ("",) * levels
        of_blank, of_nul = self._asked([" ", "\0"])
        if of_blank is None:
            raise UnsupportedCollation(f"collation {self.name} has no blank; convert the column to utf8mb4")
        if pads:
            self.padding = tuple("".join(level[:1]) for level in of_blank)
        elif pads_nul and of_nul is not None and of_nul[0]:
            # MariaDB's tis620_thai_nopad_ci.
            self.padding = (of_nul[0][0], *("",) * (levels - 1))
        elif levels > 1 and mariadb:
            # MariaDB's NO PAD is a matter of the first level alone.
            self.padding = ("", *("".join(level[:1]) for level in of_blank[1:]))

    def asking(self, query: Query) -> Collation:
        """The same collation for another session of the same server."""
        other = copy(self)
        other._query = query
        return other

    def holds(self, text: str) -> bool:
        """Whether the character set has all characters of a text, as far as the codec knows."""
        return self._encoded(text) is not None

    def weight(self, text: str) -> Weight | None:
        """The weight of one text."""
        return self.weights([text])[0]

    def weights(self, texts: Sequence[str]) -> list[Weight | None]:
        """The weights of texts, padding included."""
        if not self.by_character:
            return self._asked(texts)
        characters = sorted({character for text in texts for character in text})
        known = dict(zip(characters, self._asked(characters), strict=True))
        weights: list[Weight | None] = []
        for text in texts:
            parts = [part for character in text if (part := known[character]) is not None]
            weights.append(joined(parts, self.levels) if len(parts) == len(text) else None)
        return weights

    def _asked(self, texts: Sequence[str]) -> list[Weight | None]:
        weights: list[Weight | None] = []
        for at in range(0, len(texts), _TEXTS_A_STATEMENT):
            encoded = [self._encoded(text) for text in texts[at : at + _TEXTS_A_STATEMENT]]
            held = [text for text in encoded if text is not None]
            rows: list[tuple[Any, ...]] = []
            if held:
                columns = ", ".join(["HEX(c)", *self._expressions("c")])
                numbered = self._table(texts[at : at + _TEXTS_A_STATEMENT])
                rows = self._query(f"SELECT {columns} FROM ({numbered}) texts ORDER BY n", ())
            answers = iter(zip(held, rows, strict=True))
            for text in encoded:
                if text is None:
                    weights.append(None)
                    continue
                _, (digits, *columns_of) = next(answers)
                weights.append(self._weight(columns_of) if digits == text.hex().upper() else None)
        return weights

    def equal(self, texts: Sequence[str], others: Sequence[str]) -> set[tuple[str, str]]:
        """The pairs that the server itself calls equal, of texts that the character set can hold."""
        # IF keeps the server from a hash join: MySQL's hashes of latin7_general_ci contradict its own comparison.
        x, y = self._table(texts), self._table(others)
        if not x or not y:
            return set()
        equal = f"x.c COLLATE {self.name} = y.c COLLATE {self.name}"
        rows = self._query(f"WITH x AS ({x}), y AS ({y}) SELECT x.n, y.n FROM x JOIN y WHERE IF({equal}, 1, 0)", ())
        return {(texts[first], others[second]) for first, second in rows}

    def alphabet(self, wanted: Parts) -> list[CharacterRun]:
        """The characters whose weight is empty or a part of one that is wanted, in order."""
        found = self._by_planes(wanted) if self.charset in _UNICODE else self._by_bytes(wanted)
        runs: list[CharacterRun] = []
        for run in sorted(run for run in found if self._is_split(run.weight) and run.weight in wanted):
            if runs and runs[-1].last + 1 == run.first and runs[-1].weight == run.weight:
                runs[-1] = CharacterRun(runs[-1].first, run.last, run.weight)
            else:
                runs.append(run)
        return runs

    def _by_planes(self, wanted: Parts) -> list[CharacterRun]:
        """The characters of Unicode that may matter: of all assigned planes, and of others where a sample does."""
        if self.charset in _BASIC_PLANE_ONLY:
            return self._by_runs([0], wanted)
        samples = [(plane, plane * _PLANE + number) for plane in range(1, 17) for number in _SAMPLES]
        weights: dict[int, set[Weight]] = {}
        for (plane, _), weight in zip(samples, self._asked([chr(number) for _, number in samples]), strict=True):
            if weight is not None:
                weights.setdefault(plane, set()).add(weight)
        whole = [plane for plane, all_ in weights.items() if len(all_) == 1 and all_.pop() in wanted]
        # Older collations give all characters beyond the basic plane one weight: a million where a word has an emoji.
        uniform = self._uniform(whole) if whole else []
        done = {run.first // _PLANE for run in uniform}
        rest = {plane for plane, all_ in weights.items() if any(weight in wanted for weight in all_)}
        return uniform + self._by_runs(sorted(rest.union(_ASSIGNED_PLANES) - done), wanted)

    def _uniform(self, planes: Iterable[int]) -> list[CharacterRun]:
        """Those of the planes whose characters all have one weight."""
        weights = self._weight_columns
        least, most = (", ".join(f"{edge}({name})" for name in weights) for edge in ("MIN", "MAX"))
        rows = self._query(
            f"SELECT MIN(n), MAX(n), {least}, {most} FROM ({self._weighed(planes)}) weighed GROUP BY n DIV {_PLANE}", ()
        )
        width = len(weights)
        return [
            CharacterRun(int(first), int(last), self._weight(edges[:width]))
            for first, last, *edges in rows
            if edges[:width] == edges[width:]
        ]

    def _by_runs(self, planes: Iterable[int], wanted: Parts) -> list[CharacterRun]:
        columns = ", ".join(self._weight_columns)
        rows = self._query(
            f"SELECT MIN(n), MAX(n), {columns} FROM ("
            f"SELECT n, {columns}, n + {17 * _PLANE} - ROW_NUMBER() OVER (PARTITION BY {columns} ORDER BY n) g"
            f" FROM ({self._weighed(planes)}) weighed WHERE {self._may_matter(wanted)}) some GROUP BY g, {columns}",
            (),
        )
        return [CharacterRun(int(first), int(last), self._weight(weight)) for first, last, *weight in rows]

    def _weighed(self, planes: Iterable[int]) -> str:
        """A SELECT of the characters of planes: their numbers, `n`, and what their weights lie in."""
        weights = ", ".join(f"{text} {name}" for name, text in self._named_expressions())
        return (
            f"SELECT n, {weights} FROM (SELECT n, CONVERT(CHAR(n USING utf32) USING {self.charset}) c"
            f" FROM ({_numbers(planes)}) numbers{_NO_SURROGATES}) characters"
        )

    def _by_bytes(self, wanted: Parts) -> Iterator[CharacterRun]:
        if self.charset in _NUMBERED_BY_UNICODE:
            numbers, character = _numbers(_ASSIGNED_PLANES), f"CONVERT(CHAR(n USING utf32) USING {self.charset})"
            surrogates = _NO_SURROGATES
        else:
            numbers, character = (
                _codes(self._one_byte, self.charset in _THREE_BYTES),
                f"CONVERT(CHAR(n) USING {self.charset})",
            )
            surrogates = ""
        weights = ", ".join(f"{text} {name}" for name, text in self._named_expressions())
        rows = self._query(
            f"SELECT * FROM (SELECT HEX(c), {weights} FROM (SELECT {character} c FROM ({numbers}) numbers"
            f"{surrogates}) characters WHERE c IS NOT NULL) weighed"
            f" WHERE {'1' if self._one_byte else self._may_matter(wanted)}",
            (),
        )
        seen = set()
        for digits, *weight in rows:
            encoded = bytes.fromhex(digits)
            try:
                text = self._decode(encoded)
                sent = self._encode(text)
            except UnicodeError:
                continue
            # Where several codes stand for one character, the one it is written as.
            if len(text) == 1 and sent == encoded and text not in seen and self.holds(text):
                seen.add(text)
                yield CharacterRun(ord(text), ord(text), self._weight(weight))

    def contractions(self, heads: Sequence[str], tails: Sequence[str]) -> dict[str, Weight]:
        """Texts of two and more of these characters whose weight is not that of their parts one after the other.

        Capital letters are looked at where small ones are such.
        """
        if self.by_character:
            return {}
        found: dict[str, Weight] = {}
        characters = sorted({*heads, *tails})
        alone = {
            character: weight
            for character, weight in zip(characters, self._asked(characters), strict=True)
            if weight is not None
        }
        heads = [head for head in heads if head in alone]
        tails = [tail for tail in tails if tail in alone]
        new = self._contracted(alone, _small(heads), _small(tails))
        if new:
            new = self._contracted(alone, heads, tails)
        while new:
            pattern = units(found)
            fresh = {
                text: weight
                for text, weight in new.items()
                if weight != joined(((found.get(unit) or alone[unit]) for unit in pattern.findall(text)), self.levels)
            }
            found |= fresh
            if len(found) > _MOST_SEQUENCES:
                raise UnsupportedCollation(
                    f"collation {self.name} weighs more than {_MOST_SEQUENCES:,} sequences of letters otherwise than"
                    " each letter alone; use words of other letters, or convert the column to utf8mb4_unicode_ci"
                )
            longer = [
                text for text, weight in fresh.items() if len(text) < _LONGEST_SEQUENCE and self._is_split(weight)
            ]
            new = self._together(heads, longer) | self._together(longer, tails)
        return found

    def _contracted(self, alone: Mapping[str, Weight], heads: Sequence[str], tails: Sequence[str]) -> dict[str, Weight]:
        """Pairs that weigh otherwise than their characters alone."""
        return {
            text: weight
            for text, weight in self._together(heads, tails).items()
            if weight != joined((alone[character] for character in text), self.levels)
        }

    def _together(self, heads: Sequence[str], tails: Sequence[str]) -> dict[str, Weight]:
        """Heads before tails where that weighs otherwise than both alone (or may, where the server cannot judge)."""
        h, t = self._table(heads), self._table(tails)
        if not h or not t:
            return {}
        both = self._expressions("CONCAT(h.c, t.c)")
        different = "1"
        if not self._separated and self.name not in (_HALVES, _FRAMED):
            parts = zip(both, self._expressions("h.c"), self._expressions("t.c"), strict=True)
            different = " OR ".join(f"{pair} <> CONCAT({head}, {tail})" for pair, head, tail in parts)
        columns = ", ".join(["h.n", "t.n", *both])
        rows = self._query(f"WITH h AS ({h}), t AS ({t}) SELECT {columns} FROM h JOIN t WHERE {different}", ())
        return {heads[head] + tails[tail]: self._weight(weight) for head, tail, *weight in rows}

    def _is_split(self, weight: Weight) -> bool:
        """Whether a weight of several levels could be taken apart."""
        return not self._separated or all(len(element) == 2 * self._width for element in weight[0])

    def _table(self, texts: Sequence[str]) -> str:
        """A SELECT of those texts that the character set can hold, `c`, and their numbers, `n`."""
        encoded = ((n, self._encoded(text)) for n, text in enumerate(texts))
        return " UNION ALL ".join(f"SELECT {n} n, {self._bytes(text)} c" for n, text in encoded if text is not None)

    def _encoded(self, text: str) -> bytes | None:
        """A text in the character set, None where it cannot hold it."""
        if self.charset in _BASIC_PLANE_ONLY and any(character > "\uffff" for character in text):
            return None
        if self._ends_at_nul and "\0" in text:
            return None
        try:
            encoded = self._encode(text)
            return encoded if self._decode(encoded) == text else None
        except UnicodeError:
            return None

    def _bytes(self, encoded: bytes) -> str:
        return f"CONVERT(x'{encoded.hex()}' USING {self.charset})"

    def _literal(self, text: str) -> str:
        return f"{self._bytes(self._encode(text))} COLLATE {self.name}"

    def _expressions(self, character: str) -> list[str]:
        """What to select for the weight of an expression."""
        if self.name == _FRAMED:
            frame = self._bytes(b"a")
            character = f"CONCAT({frame}, {character}, {frame})"
        weights = [f"WEIGHT_STRING({character} COLLATE {self.name}{level})" for level in self._levels]
        if self.charset == "big5":
            # big5_chinese_ci compares characters of two bytes by these, whatever WEIGHT_STRING holds.
            weights = [f"IF(LENGTH({character}) > 1, CAST({character} AS BINARY), {weight})" for weight in weights]
        elif self.name == "gb18030_chinese_ci":
            # Its WEIGHT_STRING of the long s is that of s, which it does not compare equal.
            weights = [f"IF(LENGTH({character}) > LENGTH({it}), CAST({character} AS BINARY), {it})" for it in weights]
        return weights

    @property
    def _weight_columns(self) -> list[str]:
        return [f"w{level}" for level in range(len(self._levels))]

    def _named_expressions(self) -> list[tuple[str, str]]:
        return list(zip(self._weight_columns, self._expressions("c"), strict=True))

    def _may_matter(self, wanted: Parts) -> str:
        """The condition of a weight being empty or beginning like one of those wanted (or, rarely, another)."""
        first = f"LEFT(w0, {self._width})" if self._width else "w0"
        ignorable = "w0 = '' OR LEFT(w0, 2) = x'0000'" if self._separated else "w0 = ''"
        return f"{ignorable} OR LOCATE({first}, x'{''.join(sorted(wanted.first_elements))}') > 0"

    def _weight(self, columns: Sequence[Any]) -> Weight:
        levels = [bytes(column) for column in columns]
        if self.name == _FRAMED:
            # The last of four levels, which 01 separates and 00 ends, distinguishes all that the others do.
            levels = [levels[0].split(b"\1")[3].rstrip(b"\0")[1:-1]]
        elif self.name == _HALVES:
            middle = len(levels[0]) // 2
            levels = [levels[0][:middle], levels[0][middle:]]
        elif self._separated:
            levels = _separated(levels[0], self.levels)
            if len(levels) > self.levels:
                # Lithuanian's accents after a dot above have zeros for weights, which are taken for separators then.
                return ((bytes(columns[0]).hex().upper(),), *[()] * (self.levels - 1))
        width = self._width
        return tuple(
            tuple(level[at : at + width].hex().upper() for at in range(0, len(level), width))
            if width
            else ((level.hex().upper(),) if level else ())
            for level in levels
        )


def _small(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if not text.isupper()]


def _pairs(weight: bytes) -> list[bytes]:
    return [weight[at : at + 2] for at in range(0, len(weight), 2)]


def _separated(weight: bytes, levels: int) -> list[bytes]:
    """The levels of a weight with 0000 between them; ignorable characters may have none at all."""
    parts = [b""]
    for pair in _pairs(weight):
        if pair == b"\0\0":
            parts.append(b"")
        else:
            parts[-1] += pair
    return parts + [b""] * (levels - len(parts))


def _numbers(planes: Iterable[int]) -> str:
    """The numbers of all characters of planes, in a column `n`."""
    offsets = " UNION ALL ".join(f"SELECT {plane * _PLANE} d" for plane in planes)
    return (
        "SELECT a.d + 16 * b.d + 256 * c.d + 4096 * e.d + f.d n FROM"
        f" {_DIGITS} a JOIN {_DIGITS} b JOIN {_DIGITS} c JOIN {_DIGITS} e JOIN ({offsets}) f"
    )


def _codes(one_byte: bool, three_bytes: bool) -> str:
    """The codes of a character set that is not Unicode's: one byte, or one and two, or three after 8F too."""
    if one_byte:
        return f"SELECT a.d + 16 * b.d n FROM {_DIGITS} a JOIN {_DIGITS} b"
    two = _numbers([0])
    if not three_bytes:
        return two
    offset = 0x8F << 16
    return f"{two} UNION ALL SELECT two.n + {offset} FROM ({two}) two WHERE two.n >= {0xA1A1}"
