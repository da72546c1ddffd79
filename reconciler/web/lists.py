"""The lists behind the numbers of the status page: who is meant, and since when. Nothing else of any customer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from consumer.leads.model import CALLED, QueueType
from consumer.store.refusal import REFUSED
from consumer.versions import moment
from reconciler.monitor.today import calendar
from reconciler.names import QUEUES, RUN_NAMES
from reconciler.postgres import Postgres, clock, microseconds

ROWS: Final = 100
"""On a page of a list."""
ANSWER_SECONDS: Final = 5.0
AT_ONCE: Final = 2
"""A list may take a whole table's reading: so many are read at once, and others wait for that."""

IN_QUEUE: Final = """
SELECT user_id, opened_at, 0 FROM leadstream.leads
WHERE queue_type = %(word)s AND (NOT %(further)s OR (opened_at, user_id) > (%(at)s, %(user_id)s))
ORDER BY opened_at, user_id LIMIT %(limit)s
"""
"""Who is in a queue, whoever waits longest first."""

CONVERSIONS: Final = """
SELECT user_id, closed_at, number FROM leadstream.stints
WHERE conversion_type IS NOT NULL AND closed_at >= %(since)s
  AND (%(word)s::text IS NULL OR conversion_type = %(word)s)
  AND (NOT %(further)s OR (closed_at, user_id, number) < (%(at)s, %(user_id)s, %(part)s))
ORDER BY closed_at DESC, user_id DESC, number DESC LIMIT %(limit)s
"""
"""Conversions, newest first."""

RECHECKS: Final = """
SELECT user_id, not_before, 0 FROM leadstream.rechecks
WHERE (NOT %(further)s OR (not_before, user_id) > (%(at)s, %(user_id)s))
ORDER BY not_before, user_id LIMIT %(limit)s
"""
"""Who waits to be read live, by when that is due."""

REFUSED_LEADS: Final = """
SELECT user_id, asked_at, 0 FROM leadstream.rechecks
WHERE (starts_with(reason, %(refused)s) OR starts_with(last_error, %(refused)s))
  AND (NOT %(further)s OR (asked_at, user_id) > (%(at)s, %(user_id)s))
ORDER BY asked_at, user_id LIMIT %(limit)s
"""
"""Whose rows PostgreSQL refused."""

LISTED: Final = """
SELECT user_id, started_at, run FROM (
    SELECT listed::bigint AS user_id, started_at, id AS run
    FROM leadstream.runs, LATERAL jsonb_array_elements_text(counts -> %(word)s::text) AS listed
    WHERE name = ANY(%(names)s) AND started_at >= %(since)s) AS found
WHERE (NOT %(further)s OR (started_at, user_id, run) < (%(at)s, %(user_id)s, %(part)s))
ORDER BY started_at DESC, user_id DESC, run DESC LIMIT %(limit)s
"""
"""Whom the records of runs list, newest first."""

SINCE_MIDNIGHT: Final = "today"
SEVEN_DAYS: Final = "week"


@dataclass(frozen=True)
class ListKind:
    """A list: its title, what it holds, what its times are, what is said where it is empty, and how it is asked for.

    `word` is what the statement looks for; `days` says that the list is of SINCE_MIDNIGHT, or of SEVEN_DAYS where
    somebody asks for them.
    """

    title: str
    about: str
    when: str
    empty: str
    statement: str
    word: str | None = None
    days: bool = False


_OLDEST: Final = "Whoever waits longest stands first."
_BY_COMMIT: Final = "By the time at which the change was committed in MySQL, newest first."
_FIRST: Final = "A run lists the first 1,000 customers it meets."
KINDS: Final[Mapping[str, ListKind]] = {
    **{
        queue_type.value: ListKind(
            QUEUES[queue_type], _OLDEST, "In the queue since", "Nobody is in this queue.", IN_QUEUE, queue_type.value
        )
        for queue_type in CALLED
    },
    "none": ListKind(
        QUEUES[QueueType.NONE], "Longest first.", "In no queue since", "Everybody is in a queue.", IN_QUEUE, "none"
    ),
    "conversions": ListKind("Conversions", _BY_COMMIT, "Converted", "There was none.", CONVERSIONS, days=True),
    "signature_obtained": ListKind(
        "Signed", _BY_COMMIT, "Signed", "Nobody signed.", CONVERSIONS, "signature_obtained", days=True
    ),
    "requirements_completed": ListKind(
        "Handed in the last document",
        _BY_COMMIT,
        "Handed in",
        "Nobody did.",
        CONVERSIONS,
        "requirements_completed",
        days=True,
    ),
    "rechecks": ListKind(
        "Rechecks waiting",
        "Customers queued to be read live, by when that is due.",
        "Due",
        "Nobody waits to be read live.",
        RECHECKS,
    ),
    "refused": ListKind(
        "Leads refused",
        "Customers whose rows PostgreSQL refused: they are read live and tried again. Their own pages say why.",
        "Refused first",
        "PostgreSQL refused nobody's rows.",
        REFUSED_LEADS,
    ),
    "drift": ListKind(
        "Drift found",
        f"Customers who differed from MySQL, or from the call centre's tables, by the run that found them. {_FIRST}",
        "Found by the run of",
        "No run found drift.",
        LISTED,
        "drift_users",
        days=True,
    ),
    "repaired": ListKind(
        "Repaired",
        f"Customers whom the stream had missed, by the run that put them right. {_FIRST}",
        "Repaired by the run of",
        "No run repaired anybody.",
        LISTED,
        "repaired_users",
        days=True,
    ),
}


class Entry(NamedTuple):
    """A customer of a list; `part` tells entries of one customer and moment apart."""

    user_id: int
    at: datetime
    part: int

    @property
    def cursor(self) -> str:
        """Where the next page begins: behind this entry."""
        return f"{microseconds(self.at)}.{self.user_id}.{self.part}"


@dataclass(frozen=True)
class Extract:
    """A page of a list; `further` is the cursor of the next one, empty where there is none."""

    entries: list[Entry] = field(default_factory=list)
    further: str = ""


def cursor(text: str) -> Entry | None:
    """The entry behind which a page begins, as `Entry.cursor` wrote it. Raises ValueError; None where it is empty."""
    if not text:
        return None
    at, user_id, part = (int(number) for number in text[:80].split("."))
    if max(abs(user_id), abs(part)) >= 2**63:
        raise ValueError(text[:80])
    try:
        return Entry(user_id, moment(at), part)
    except (OverflowError, OSError) as error:
        raise ValueError(text[:80]) from error


def extract(conninfo: str, kind: ListKind, zone: ZoneInfo, days: str, after: Entry | None) -> Extract:
    """A page of a list, behind an entry. Raises StoreError."""
    with closing(Postgres(conninfo, answer_seconds=ANSWER_SECONDS)) as postgres, postgres.session() as connection:
        moments = calendar(clock(connection), zone)
        wanted: dict[str, Any] = {
            "word": kind.word,
            "since": moments.week if days == SEVEN_DAYS else moments.today,
            "names": list(RUN_NAMES),
            "refused": REFUSED,
            "further": after is not None,
            "at": moments.today if after is None else after.at,
            "user_id": 0 if after is None else after.user_id,
            "part": 0 if after is None else after.part,
            "limit": ROWS + 1,
        }
        found = [Entry(*row) for row in connection.execute(kind.statement, wanted)]
    shown = found[:ROWS]
    return Extract(shown, shown[-1].cursor if len(found) > ROWS else "")
