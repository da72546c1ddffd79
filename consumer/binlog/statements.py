"""What a logged SQL statement means for the captured tables: found by its words, never by running it.

Statements reach a binlog for DDL, for transaction control, and for changes that a session logs in STATEMENT or MIXED
format. Where a change cannot be attributed, it is reported for all captured tables rather than for none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice, pairwise
from typing import Final, NamedTuple

from consumer.binlog.events import SchemaChange, Statement
from consumer.capture import CAPTURED

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|/\*(?!M?!).*?\*/|--(?=\s|$)[^\n]*|\#[^\n]*|/\*M?!\d*|\*/)
    | (?P<quoted>`(?:[^`]|``)*`)
    | (?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    | (?P<word>[\w$\x80-\U0010ffff]+)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_HARMLESS: Final = frozenset(
    [
        "ANALYZE",
        "BINLOG",
        "CACHE",
        "CHANGE",
        "CHECK",
        "CHECKSUM",
        "FLUSH",
        "GRANT",
        "INSTALL",
        "KILL",
        "LOCK",
        "OPTIMIZE",
        "PURGE",
        "RELEASE",
        "RESET",
        "REVOKE",
        "SET",
        "SHOW",
        "SHUTDOWN",
        "START",
        "STOP",
        "UNINSTALL",
        "UNLOCK",
        "USE",
    ]
)
_INFORMATIVE: Final = frozenset(("created_at", "updated_at"))
"""Captured columns that no lead is judged by."""
_COLUMN_VERBS: Final = frozenset(("ADD", "DROP", "CHANGE", "MODIFY"))
_NO_COLUMNS: Final = frozenset(
    (
        "CHECK",
        "CONSTRAINT",
        "FOREIGN",
        "FULLTEXT",
        "INDEX",
        "KEY",
        "PARTITION",
        "PERIOD",
        "PRIMARY",
        "SPATIAL",
        "SYSTEM",
        "UNIQUE",
    )
)
"""What an ALTER may add or drop besides columns."""
_WAITING: Final = frozenset(("WAIT", "NOWAIT"))
_ANALYZED: Final = frozenset(("TABLE", "TABLES", "LOCAL", "NO_WRITE_TO_BINLOG", ""))
"""What stands behind ANALYZE where it counts keys; on MariaDB it may also run any statement and say how that went."""
_QUERIES: Final = frozenset(("SELECT", "TABLE"))
"""What rows come from that a CREATE TABLE brings with it. Where rows are logged, it is logged without."""
_PARTITION_VERBS: Final = frozenset(("TRUNCATE", "DROP", "EXCHANGE", "DISCARD", "IMPORT"))


class Token(NamedTuple):
    """A word, name, text or sign of a statement; `word` is it in capitals where it is no quoted name or text."""

    value: str
    word: str
    is_name: bool


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of a statement without its comments; what stands in executable comments counts."""
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        text = match.group()
        if kind == "word":
            yield Token(text, text.upper(), True)
        elif kind == "quoted":
            yield Token(text[1:-1].replace("``", "`"), "", True)
        elif kind == "text":  # under ANSI_QUOTES, "x" is a name
            yield Token(text[1:-1].replace('""', '"'), "", text[0] == '"')
        elif kind == "sign":
            yield Token(text, text, False)


def leading_words(sql: str) -> tuple[str, ...]:
    """The first four words of a statement, in capitals (quoted names and texts as empty strings)."""
    return tuple(token.word for token in islice(tokens(sql), 4))


class Scope(NamedTuple):
    """The captured tables of one database, and whether names are compared without case (lower_case_table_names)."""

    database: str
    tables: Collection[str]
    fold: bool

    def is_database(self, name: str) -> bool:
        """Whether a name is that of our database."""
        return name.lower() == self.database.lower() if self.fold else name == self.database

    def table(self, database: str, name: str) -> str | None:
        """The captured table that a database's name and a table's name mean, or None."""
        name = name.lower() if self.fold else name
        return name if name in self.tables and self.is_database(database) else None


def effects(sql: str, default_database: str, scope: Scope) -> list[Statement | SchemaChange]:
    """What a statement may have done to the captured tables; empty where it cannot have done anything."""
    return _StatementReader(sql, default_database, scope).effects()


class _StatementReader:
    def __init__(self, sql: str, default_database: str, scope: Scope) -> None:
        self._tokens = list(tokens(sql))
        self._at = 0
        self._default = default_database
        self._scope = scope

    def effects(self) -> list[Statement | SchemaChange]:
        while self._leave_wrapping():
            pass
        verb = self._word()
        self._at += 1
        if not verb or verb in _HARMLESS:
            return []
        schema = {
            "CREATE": self._create,
            "ALTER": self._alter,
            "DROP": self._drop,
            "TRUNCATE": self._truncate,
            "RENAME": self._rename,
        }.get(verb)
        if schema is not None:
            return list(dict.fromkeys(SchemaChange(table, how) for table, how in schema()))
        return list(self._statement(verb))

    def _leave_wrapping(self) -> bool:
        """Leaves out what stands before the statement proper, such as MariaDB's SET STATEMENT … FOR."""
        words = [token.word for token in self._tokens[:2]] + ["", ""]
        if words[0] == "(":
            return self._leave_out(1)
        if words[:2] == ["SET", "STATEMENT"]:
            return self._leave_out(self._behind_for())
        if words[0] == "ANALYZE" and words[1] not in _ANALYZED:
            return self._leave_out(4 if words[1] == "FORMAT" else 1)
        return False

    def _leave_out(self, count: int) -> bool:
        del self._tokens[:count]
        return True

    def _behind_for(self) -> int:
        """How many tokens there are up to the FOR that the statement proper follows."""
        depth = 0
        for at, token in enumerate(self._tokens):
            depth += (token.word == "(") - (token.word == ")")
            if token.word == "FOR" and not depth:
                return at + 1
        return len(self._tokens)

    def _word(self) -> str:
        return self._tokens[self._at].word if self._at < len(self._tokens) else ""

    def _skip(self, *words: str) -> bool:
        """Steps over any of these words; whether there were any."""
        start = self._at
        while self._word() in words:
            self._at += 1
        return self._at > start

    def _reference(self) -> tuple[str, str] | None:
        """The `database.table` or `table` at hand, as (database, table)."""
        if self._at >= len(self._tokens) or not self._tokens[self._at].is_name:
            return None
        first = self._tokens[self._at].value
        self._at += 1
        if self._word() == "." and self._at + 1 < len(self._tokens):
            second = self._tokens[self._at + 1].value
            self._at += 2
            return first, second
        return self._default, first

    def _captured(self) -> list[str]:
        reference = self._reference()
        table = self._scope.table(*reference) if reference else None
        return [table] if table else []

    def _create(self) -> Iterator[tuple[str, str]]:
        if self._skip("OR", "REPLACE", "TEMPORARY") and any(token.word == "TEMPORARY" for token in self._tokens[:4]):
            return
        replaced = any(token.word == "REPLACE" for token in self._tokens[:3])
        if self._skip("TABLE"):
            self._skip("IF", "NOT", "EXISTS")
            for table in self._captured():
                if replaced or any(token.word in _QUERIES for token in self._tokens[self._at :]):
                    yield table, "DROP"
                yield table, "CREATE"
        elif replaced and self._word() in ("DATABASE", "SCHEMA"):
            yield from self._drop()

    def _alter(self) -> Iterator[tuple[str, str]]:
        loses_rows = any(token.word == "IGNORE" for token in self._tokens[1:3])
        self._skip("ONLINE", "IGNORE")
        if not self._skip("TABLE"):
            return
        self._skip("IF", "EXISTS")
        tables = self._captured()
        verb = "MODIFY" if tables and self._changes_values(tables[0]) else "ALTER"
        if loses_rows:
            verb = "TRUNCATE"  # MariaDB: rows that a new unique key does not let stand beside others are dropped
        depth = 0
        while self._at < len(self._tokens):
            word = self._word()
            self._at += 1
            depth += (word == "(") - (word == ")")
            if depth:
                continue
            if word in _PARTITION_VERBS and self._word() in ("PARTITION", "TABLESPACE"):
                verb = "TRUNCATE"
            elif word == "DROP" and self._word() == "SYSTEM":
                verb = "TRUNCATE"  # MariaDB: what it kept of the past goes, and was read as rows by whoever came later
            elif word == "CONVERT" and self._word() in ("PARTITION", "TABLE"):
                verb = "TRUNCATE"  # MariaDB: rows leave with a partition that becomes a table, or come with one
                if self._skip("TABLE"):
                    tables += self._captured()
            elif word == "CONVERT" and self._word() == "TO" and verb == "ALTER":
                verb = "MODIFY"  # keys that are texts may be written in another spelling from here on
            elif word in ("WITH", "TO") and self._skip("TABLE"):
                tables += self._captured()
            elif word == "RENAME" and self._word() not in ("COLUMN", "INDEX", "KEY"):
                self._skip("TO", "AS", "=")
                renamed = self._captured()
                if renamed or tables:
                    tables += renamed
                    verb = "RENAME"
        for table in tables:
            yield table, verb

    def _changes_values(self, table: str) -> bool:
        """Whether what follows in an ALTER adds, drops or changes a column that leads are judged by."""
        judged = set(CAPTURED[table].columns) - _INFORMATIVE
        clause: list[Token] = []
        depth = 0
        for token in (*self._tokens[self._at :], Token(",", ",", False)):
            depth += (token.word == "(") - (token.word == ")")
            if token.word != "," or depth:
                clause.append(token)
                continue
            first, second = [
                *(part.word for part in clause if part.word not in _WAITING and not part.word.isdigit()),
                "",
                "",
            ][:2]
            if (first in _COLUMN_VERBS and second not in _NO_COLUMNS) or (first, second) == ("RENAME", "COLUMN"):
                for before, part in pairwise(clause):
                    if part.is_name and part.value.lower() in judged and before.word != "AFTER":
                        return True
            clause.clear()
        return False

    def _drop(self) -> Iterator[tuple[str, str]]:
        if self._skip("DATABASE", "SCHEMA"):
            self._skip("IF", "EXISTS")
            reference = self._reference()
            if reference and self._scope.is_database(reference[1]):
                for table in self._scope.tables:
                    yield table, "DROP"
        elif self._skip("TABLE", "TABLES"):
            self._skip("IF", "EXISTS")
            for table in self._listed():
                yield table, "DROP"

    def _truncate(self) -> Iterator[tuple[str, str]]:
        self._skip("TABLE")
        for table in self._captured():
            yield table, "TRUNCATE"

    def _rename(self) -> Iterator[tuple[str, str]]:
        if self._skip("TABLE", "TABLES"):
            self._skip("IF", "EXISTS")
            for table in self._listed():
                yield table, "RENAME"

    def _listed(self) -> Iterator[str]:
        """Every captured table among `a, b` or `a TO b, c TO d`."""
        while self._at < len(self._tokens):
            yield from self._captured()
            while self._at < len(self._tokens) and self._word() not in (",", "TO"):
                self._at += 1
            self._at += 1

    def _statement(self, verb: str) -> Iterator[Statement]:
        """A change of rows: INSERT and its kin have one target, in others every name may be one."""
        if verb in ("INSERT", "REPLACE"):
            self._skip("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO")
            tables = self._captured()
        elif verb == "LOAD":
            while self._at < len(self._tokens) and not (self._word() == "INTO" and self._next_word() == "TABLE"):
                self._at += 1
            self._at += 2
            tables = self._captured()
        else:
            tables = self._named()
        if tables:
            for table in dict.fromkeys(tables):
                yield Statement(table, verb)
        elif self._scope.is_database(self._default) or self._mentions_database():
            yield Statement(None, verb)  # a view, a trigger or a function may have led to a captured table

    def _next_word(self) -> str:
        return self._tokens[self._at + 1].word if self._at + 1 < len(self._tokens) else ""

    def _named(self) -> list[str]:
        """Every captured table whose name stands anywhere in the statement."""
        found = []
        for at, token in enumerate(self._tokens):
            if not token.is_name:
                continue
            database = self._default
            if at >= 2 and self._tokens[at - 1].word == ".":
                database = self._tokens[at - 2].value
            table = self._scope.table(database, token.value)
            if table:
                found.append(table)
        return found

    def _mentions_database(self) -> bool:
        return any(token.is_name and self._scope.is_database(token.value) for token in self._tokens)
