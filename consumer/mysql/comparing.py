"""How the columns compare that a file of rules speaks of, as the company's server says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from consumer.binlog.connection import Replica
from consumer.leads.rule_file import RuleFile
from consumer.leads.words import Comparison
from consumer.settings import ReplicaSettings

CONNECT_SECONDS: Final = 5
_COLLATIONS: Final = "consumer.mysql.collations"

Query = Callable[..., list[tuple[Any, ...]]]
Words = Mapping[tuple[str, str], Iterable[str]]


def ask(source: ReplicaSettings, file: RuleFile) -> dict[str, Comparison]:
    """Comparisons by table and column; a column that is not named compares plainly. Raises BinlogError."""
    with closing(Replica(source.address, CONNECT_SECONDS)) as replica:
        return _comparisons(replica.query, source.address.database, file.words())


def _comparisons(query: Query, database: str, words: Words) -> dict[str, Comparison]:
    if find_spec(_COLLATIONS) is None:
        return {}
    found: dict[str, Comparison] = import_module(_COLLATIONS).comparisons(query, database, words)
    return found
