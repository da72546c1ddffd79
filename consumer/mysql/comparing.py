"""How the columns compare that a file of rules speaks of, as the company's server says."""

from __future__ import annotations

from contextlib import closing

from consumer.leads.rule_file import RuleFile
from consumer.leads.words import Comparison
from consumer.mysql.collations import comparisons
from consumer.mysql.errors import PreconditionFailed
from consumer.mysql.session import Replica
from consumer.mysql.weights import UnsupportedCollation
from consumer.settings import ReplicaSettings


def ask(source: ReplicaSettings, file: RuleFile) -> dict[str, Comparison]:
    """Comparisons by table and column; a column that is not named compares plainly. Raises SourceError."""
    with closing(Replica(source.address, source.replica_query_seconds)) as replica:
        try:
            return comparisons(replica.query, source.address.database, file.words())
        except UnsupportedCollation as error:
            raise PreconditionFailed(f"{source.address} compares in a way of its own: {error}") from error
