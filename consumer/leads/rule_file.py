"""A file of rules: what the business means by unsigned, outstanding, closed, settled and never, as TOML.

Each section of the file is read by one function of `_SECTIONS`; what a section or key leaves out is the plan's. All
that is wrong with a file is reported at once.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from itertools import combinations
from typing import Any, Final

from consumer.leads.model import QueueType

CLAIM_STATUS: Final = "claims.status"
REQUIREMENT_STATUS: Final = "claim_requirements.status"
REQUIREMENT_TYPE: Final = "claim_requirements.type"
REQUIREMENT_REASON: Final = "claim_requirements.claim_requirement_reason"


class RuleFileError(Exception):
    """A file of rules that cannot be used; `problems` are sentences that each name a key and a hint."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the call centre's tables hold for each queue, by its key in a file; None is SQL NULL.

    One field a queue, in the order of `QueueType`.
    """

    unsigned: str = QueueType.UNSIGNED_USERS.value
    outstanding: str = QueueType.REQUIREMENTS_OUTSTANDING.value
    none: str | None = QueueType.NONE.value

    def by_key(self) -> dict[str, str | None]:
        """All of them by their keys."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def every(self) -> tuple[str | None, ...]:
        """All of them."""
        return tuple(self.by_key().values())

    def of(self, queue_type: QueueType) -> str | None:
        """The label of a queue."""
        label: str | None = getattr(self, _LABEL_KEYS[queue_type])
        return label


_LABEL_KEYS: Final = dict(zip(QueueType, (one.name for one in fields(Labels)), strict=True))
_FIRST_LABELS: Final = frozenset({"unsigned", "outstanding", "none"})
"""Keys that every fingerprint holds; any other only where its label is not the plan's, so that rules which were adopted
before there was its queue keep theirs."""


@dataclass(frozen=True)
class Exclusion:
    """Requirements that never count: those of a type, with a reason, or both where both are given."""

    type: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Attribution:
    """Which calls earn a conversion: those of more than so many seconds of talk, in so many days before it."""

    talk_seconds: int = 30
    days: int = 30


@dataclass(frozen=True)
class RuleFile:
    """The content of a file; its defaults are the plan's. Exactly one of `settled` and `outstanding` is given."""

    labels: Labels = field(default_factory=Labels)
    closed: tuple[str, ...] = ("cancelled",)
    settled: tuple[str, ...] | None = ("approved",)
    outstanding: tuple[str, ...] | None = None
    excluded: tuple[Exclusion, ...] = ()
    never: tuple[str, ...] = ("do_not_contact",)
    attribution: Attribution = Attribution()

    def __post_init__(self) -> None:
        if (self.settled is None) == (self.outstanding is None):
            raise ValueError("give either settled or outstanding, and None for the other")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content; the same for the same rules however their file is laid out."""
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return sha256(canonical.encode()).hexdigest()

    def words(self) -> dict[tuple[str, str], frozenset[str]]:
        """The words of the file by the (table, column) of MySQL whose values they are compared with."""
        named = {
            CLAIM_STATUS: self.closed,
            REQUIREMENT_STATUS: self.settled or self.outstanding or (),
            REQUIREMENT_TYPE: [rule.type for rule in self.excluded if rule.type is not None],
            REQUIREMENT_REASON: [rule.reason for rule in self.excluded if rule.reason is not None],
        }
        return {_column(name): frozenset(words) for name, words in named.items()}

    def as_json(self) -> dict[str, Any]:
        """The content as the file has it, with every key; what `from_json` takes."""
        status = {"settled": list(self.settled)} if self.settled is not None else {}
        if self.outstanding is not None:
            status = {"outstanding": list(self.outstanding)}
        excluded = [
            {key: word for key, word in (("type", rule.type), ("reason", rule.reason)) if word is not None}
            for rule in self.excluded
        ]
        plan = Labels().by_key()
        labels = {
            key: False if label is None else label
            for key, label in self.labels.by_key().items()
            if key in _FIRST_LABELS or label != plan[key]
        }
        attribution = {"talk_seconds": self.attribution.talk_seconds, "days": self.attribution.days}
        # Rules that were adopted before there was this section keep their fingerprint.
        others = {"attribution": attribution} if self.attribution != Attribution() else {}
        return {
            "queues": labels,
            "claims": {"closed": list(self.closed)},
            "requirements": {**status, "excluded": excluded},
            "calls": {"never": list(self.never)},
            **others,
        }

    def as_toml(self) -> str:
        """The content as the text of a file."""
        lines: list[str] = []
        for section, keys in self.as_json().items():
            lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
            tables = {key: value for key, value in keys.items() if _is_tables(value)}
            lines += [f"{key} = {_toml(value)}" for key, value in keys.items() if key not in tables and value != []]
            lines += [f"{key} = []" for key, value in keys.items() if value == [] and key != "excluded"]
            for key, entries in tables.items():
                for entry in entries:
                    lines += ["", f"[[{section}.{key}]]", *(f"{name} = {_toml(word)}" for name, word in entry.items())]
        return "\n".join(lines) + "\n"


DEFAULT: Final = RuleFile()
"""The plan's rules."""


def parse(text: str) -> RuleFile:
    """A file's text as rules. Raises RuleFileError with everything that is wrong."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleFileError([f"the file is not TOML: {error}; write texts in quotes and lists in brackets"]) from error
    return from_json(content)


def from_json(content: Mapping[str, Any]) -> RuleFile:
    """Rules from the nested content of a file. Raises RuleFileError with everything that is wrong."""
    problems: list[str] = []
    found: dict[str, Any] = {}
    for name, value in content.items():
        read = _SECTIONS.get(name)
        if read is None:
            there = ", ".join(f"[{section}]" for section in _SECTIONS)
            problems.append(f"{name} is not a section of a rules file; the sections are {there}")
        elif not isinstance(value, dict):
            problems.append(f"{name} should be a section; write [{name}] on a line of its own and its keys below")
        else:
            found |= read(_Section(name, value, problems))
    if problems:
        raise RuleFileError(problems)
    return RuleFile(**found)


class _Section:
    """One section: its keys by kind, what is wrong noted in `problems`."""

    def __init__(self, name: str, content: dict[str, Any], problems: list[str]) -> None:
        self.name = name
        self._content = content
        self._problems = problems

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def wrong(self, key: str, sentence: str) -> None:
        """Notes a sentence about a key."""
        self._problems.append(f"{self.name}.{key} {sentence}")

    def only(self, *keys: str) -> None:
        """Notes every other key."""
        for key in self._content:
            if key not in keys:
                self.wrong(key, f"is not a key of a rules file; the keys of [{self.name}] are {', '.join(keys)}")

    def words(self, key: str, *, empty: str = "", blank: str = "") -> tuple[str, ...] | None:
        """A list of words; None where it is absent or wrong.

        `empty` and `blank` say what an empty list or a blank word would mean, where that makes no sense.
        """
        value = self._content.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            self.wrong(key, f'should be a list of texts; write {key} = ["…"]')
            return None
        if empty and not value:
            self.wrong(key, f"is empty, so {empty}; name at least one word, or leave the key out")
        for word in sorted({word for word in value if value.count(word) > 1}):
            self.wrong(key, f"names {json.dumps(word, ensure_ascii=False)} twice; remove one of them")
        for word in value:
            if "\0" in word:
                self.wrong(key, "has a word with a NUL character, which no column holds; remove it")
            elif blank and not word.strip():
                self.wrong(key, f"has a blank word, so {blank}; remove it")
        return tuple(value)

    def text(self, key: str, *, may_be_false: bool) -> str | bool | None:
        """A label: a text, or `false` where that is allowed; None where it is absent or wrong."""
        value = self._content.get(key)
        if value is False and may_be_false:
            return False
        if value is None:
            return None
        if not isinstance(value, str):
            allowed = "a text, or false for SQL NULL" if may_be_false else "a text (only queues.none may be false)"
            self.wrong(key, f'should be {allowed}; write {key} = "…"')
            return None
        if not value.strip() or "\0" in value:
            self.wrong(key, f'is blank or holds a NUL character; write {key} = "…"')
            return None
        return value

    def number(self, key: str, most: int) -> int | None:
        """A whole number from 0 to `most`; None where it is absent or wrong."""
        value = self._content.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            self.wrong(key, f"should be a whole number from 0 to {most}; write {key} = 30")
            return None
        return value

    def tables(self, key: str) -> list[Any]:
        """The entries of a `[[…]]`; empty where it is absent or wrong."""
        value = self._content.get(key, [])
        if not isinstance(value, list):
            self.wrong(key, f"should be a list of tables; write [[{self.name}.{key}]] on a line of its own")
            return []
        return value


def _queues(section: _Section) -> dict[str, Any]:
    names = Labels().by_key()
    section.only(*names)
    none = _LABEL_KEYS[QueueType.NONE]
    for key in names:
        label = section.text(key, may_be_false=key == none)
        if label is not None:
            names[key] = None if label is False else str(label)
    for other, key in combinations(names, 2):
        if names[key] == names[other]:
            section.wrong(key, f"is the same label as queues.{other}, so nobody could tell them apart; change one")
    return {"labels": Labels(**names)}  # type: ignore[arg-type]  # None is the label of no queue alone


def _claims(section: _Section) -> dict[str, Any]:
    section.only("closed")
    closed = section.words("closed")
    return {} if closed is None else {"closed": closed}


def _requirements(section: _Section) -> dict[str, Any]:
    section.only("settled", "outstanding", "excluded")
    if "settled" in section and "outstanding" in section:
        section.wrong("outstanding", "excludes requirements.settled, because each follows from the other; remove one")
    found: dict[str, Any] = {"excluded": _exclusions(section)}
    settled = section.words("settled", empty="no document could ever complete anything")
    outstanding = section.words("outstanding", empty="nobody could ever owe a document")
    if outstanding is not None and "settled" not in section:
        found |= {"settled": None, "outstanding": outstanding}
    elif settled is not None:
        found["settled"] = settled
    return found


def _exclusions(section: _Section) -> tuple[Exclusion, ...]:
    found = []
    for number, entry in enumerate(section.tables("excluded"), 1):
        place = f"excluded, entry {number},"
        if not isinstance(entry, dict):
            section.wrong(place, f"should be a table; write [[{section.name}.excluded]] and its keys below")
            continue
        unknown = [key for key in entry if key not in ("type", "reason")]
        for key in unknown:
            section.wrong(place, f"has the key {key}, which is none; the keys are type and reason")
        texts = {key: entry[key] for key in ("type", "reason") if key in entry}
        for key, word in texts.items():
            if not isinstance(word, str) or "\0" in word:
                section.wrong(place, f'has a {key} that is not a text; write {key} = "…"')
        if not texts and not unknown:
            section.wrong(place, "names nothing, so every document would be excluded; give type, reason or both")
        exclusion = Exclusion(texts.get("type"), texts.get("reason"))
        if exclusion in found:
            section.wrong(place, "is there twice; remove one of them")
        found.append(exclusion)
    return tuple(found)


def _calls(section: _Section) -> dict[str, Any]:
    section.only("never")
    never = section.words("never", blank="nobody whose last call has no outcome could be called")
    return {} if never is None else {"never": never}


def _attribution(section: _Section) -> dict[str, Any]:
    section.only("talk_seconds", "days")
    given = {key: section.number(key, most) for key, most in (("talk_seconds", 86_400), ("days", 3_650))}
    return {"attribution": Attribution(**{key: value for key, value in given.items() if value is not None})}


_SECTIONS: Final[Mapping[str, Callable[[_Section], dict[str, Any]]]] = {
    "queues": _queues,
    "claims": _claims,
    "requirements": _requirements,
    "calls": _calls,
    "attribution": _attribution,
}
"""What reads each section: the values of `RuleFile` that it gives."""


def _column(name: str) -> tuple[str, str]:
    table, _, column = name.partition(".")
    return table, column


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _toml(value: object) -> str:
    """A text, a number, a list of texts or `false` as TOML (1.0: basic strings are JSON's, and escape DEL too)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
