"""Times that a company's application writes into `created_at`, held against when the rows were committed.

We take what MySQL holds for UTC. An application that writes its local time is wrong by whole quarters of an hour, and
sweeps, which look for what was created in the last hour, miss its rows in silence. What shows it are new customers
that the stream brought: when their row was committed is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

ENOUGH: Final = 3
"""So many rows have to agree."""
SLACK_SECONDS: Final = 60.0
"""How long before its commit an application may have made a row, and how far clocks may differ."""
QUARTER: Final = 900


class Created(NamedTuple):
    """A row of a new customer's: when its table says it was made, and when the customer's own was committed (s)."""

    table: str
    created: float
    committed: float


def misdated(rows: Iterable[Created], now: float) -> dict[str, float]:
    """By table how far (s) its times are ahead of UTC, negative behind it; tables that seem right are absent.

    Customers' own rows have to be wrong all by the same quarters of an hour. Of other tables only that is certain:
    their rows cannot all be older than their customer (then the least is taken), nor lie in the future.
    """
    tables: dict[str, list[Created]] = {}
    for row in rows:
        tables.setdefault(row.table, []).append(row)
    found = {table: _off(table, those, now) for table, those in tables.items()}
    return {table: off for table, off in found.items() if off}


def _off(table: str, rows: Sequence[Created], now: float) -> float:
    if len(rows) < ENOUGH:
        return 0.0
    off = [row.created - row.committed for row in rows]
    quarters = {round(seconds / QUARTER) for seconds in off}
    if table == "users":
        (first, *others) = quarters
        near = all(abs(seconds - first * QUARTER) <= SLACK_SECONDS for seconds in off)
        return 0.0 if others or not near else float(first * QUARTER)
    if max(off) < -SLACK_SECONDS:
        return max(off)
    ahead = [row.created - now for row in rows if row.created > now + SLACK_SECONDS]
    return max(ahead) if len(ahead) >= ENOUGH else 0.0


def sentence(table: str, off: float) -> str:
    """What is wrong with a table's times."""
    minutes = round(abs(off) / 60)
    hours = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes / 60:.1f} h" if minutes > 90 else f"{minutes} min"
    return f"{table}.created_at holds times {hours} {'ahead of' if off > 0 else 'behind'} UTC"


HINT: Final = "have the application write UTC (SET time_zone = '+00:00' and UTC times), or rely on reconciler verify"
"""What helps; sweeps by `created_at` miss such rows, or look at them too late."""
