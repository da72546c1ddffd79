"""Another number of lanes: every lead gets its new lane, and the lanes begin a new epoch, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg import sql
from psycopg.types.json import Jsonb

from consumer.lane import lane_of
from consumer.store.connection import Connection, classified, open_session, place
from consumer.store.errors import NotPrepared
from consumer.store.runs import LOCK_SPACE

AT_ONCE: Final = 20_000
"""Leads per statement."""

LANES_NOW: Final = "SELECT lane, epoch, next_seq, offsets FROM leadstream.lanes ORDER BY lane FOR UPDATE"
"""Where the lanes stand; nobody moves them meanwhile."""

WRITERS: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name IN ('leadstream stream', 'leadstream sweep')
"""
"""Appliers and reconcilers that are connected: they reckon with the old number of lanes."""

RUNS: Final = f"""
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = {LOCK_SPACE} AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 (a number of ours)
"""Runs under way: they reckon with it, too. A verify is not among the writers until it finds something to repair."""

BY_LANE: Final = ("leads", "shown")
"""Tables of ours that hold a user's lane."""

NEXT_USERS: Final = "SELECT user_id FROM leadstream.{} WHERE user_id > %s ORDER BY user_id LIMIT %s"
"""Users of one of them in their order, a page at a time."""

MOVE_USERS: Final = """
UPDATE leadstream.{} AS held SET lane = moved.lane
FROM (SELECT unnest(%s::bigint[]) AS user_id, unnest(%s::smallint[]) AS lane) AS moved
WHERE held.user_id = moved.user_id AND held.lane <> moved.lane
"""
"""Users to the lanes that are theirs now."""

ADD_LANE: Final = """
INSERT INTO leadstream.lanes (lane, epoch, next_seq, version, offsets, moved_at) VALUES (%s, %s, 1, %s, %s, now())
"""
"""A lane at the beginning of an epoch."""


class NotDrained(NotPrepared):
    """Changes of the old lanes are still to be applied, or somebody might still write by them."""


def refuse_unless_drained(
    conninfo: str, epoch: int, next_seqs: Sequence[int], lanes: int, *, begun: bool = False
) -> None:
    """Changes nothing. Raises NotDrained where lanes of this epoch are not at these numbers, StoreUnavailable.

    Where `relane` made so many lanes of them before, they were drained, if nothing was written since: `begun` says that
    the newest checkpoint is the one that was written before it.
    """
    with classified(conninfo), open_session(conninfo, "leadstream setup") as connection:
        if not (begun and _is_done(connection, epoch + 1, lanes)):
            _held(connection, conninfo, epoch, next_seqs)


def relane(conninfo: str, epoch: int, next_seqs: Sequence[int], version: int, lanes: int) -> None:
    """From the drained lanes of `epoch`, which end at `next_seqs` and `version`, to `lanes` lanes of the next epoch.

    Every lane that was there is read on where it stopped, under its new numbers. Does nothing where all this was done
    before. Raises NotDrained, StoreUnavailable; then nothing was changed.
    """
    with classified(conninfo), open_session(conninfo, "leadstream setup") as connection:
        connection.execute("SET LOCAL lock_timeout = '20s'")
        if _is_done(connection, epoch + 1, lanes):
            return
        offsets = _held(connection, conninfo, epoch, next_seqs)
        for table in BY_LANE:
            _move_users(connection, table, lanes)
        connection.execute("DELETE FROM leadstream.lanes")
        for lane in range(lanes):
            reached = offsets[lane] if lane < len(offsets) else {}
            connection.execute(ADD_LANE, (lane, epoch + 1, version, Jsonb(reached)))


def _is_done(connection: Connection, epoch: int, lanes: int) -> bool:
    rows = connection.execute(LANES_NOW).fetchall()
    return [row[:2] for row in rows] == [(lane, epoch) for lane in range(lanes)]


def _held(connection: Connection, conninfo: str, epoch: int, next_seqs: Sequence[int]) -> list[dict[str, int]]:
    """The offsets of the lanes, which must be exactly those described."""
    rows = connection.execute(LANES_NOW).fetchall()
    if [row[:2] for row in rows] != [(lane, epoch) for lane in range(len(next_seqs))]:
        raise NotPrepared(
            f"leadstream.lanes in {place(conninfo)} does not hold the {len(next_seqs)} lanes of epoch {epoch} that the"
            " reader's checkpoint names; check DATABASE_URL and TOPIC_PREFIX"
        )
    waiting = [wanted - row[2] for wanted, row in zip(next_seqs, rows, strict=True)]
    if min(waiting) < 0:
        ahead = sum(count < 0 for count in waiting)
        raise NotPrepared(
            f"leadstream.lanes in {place(conninfo)} is ahead of the reader's checkpoint in {ahead} lanes: Kafka"
            " lost what was applied, or the lanes are another stream's; check DATABASE_URL and TOPIC_PREFIX, and run"
            " consumer setup --repair where Kafka lost it"
        )
    if any(waiting):
        raise NotDrained(
            f"{sum(waiting)} messages in Kafka are not applied yet; stop the reader, leave the appliers running until"
            " `consumer status` shows nothing waiting, then stop them and try again"
        )
    writing = connection.execute(WRITERS).fetchone()
    if writing and writing[0]:
        raise NotDrained(f"an applier or a reconciler is still connected to {place(conninfo)}; stop all of them first")
    running = connection.execute(RUNS).fetchone()
    if running and running[0]:
        raise NotDrained(
            f"a run of the reconciler, or an adoption of rules, is under way on {place(conninfo)}; stop every"
            " `reconciler` and `consumer rules adopt` first, cron jobs included"
        )
    return [row[3] for row in rows]


def _move_users(connection: Connection, table: str, lanes: int) -> None:
    next_users, move = (sql.SQL(statement).format(sql.Identifier(table)) for statement in (NEXT_USERS, MOVE_USERS))
    last = -(2**63)
    while page := [user_id for (user_id,) in connection.execute(next_users, (last, AT_ONCE)).fetchall()]:
        connection.execute(move, (page, [lane_of(user_id, lanes) for user_id in page]))
        last = page[-1]
