"""Stints as the whole pipeline left them in PostgreSQL."""

from __future__ import annotations

import psycopg

from tests.integration.reader.world import ReaderWorld
from tests.support.waiting import until


def stints(world: ReaderWorld, user_id: int) -> list[tuple[str, str]]:
    """Queue and why it opened; empty while the lead waits for a live read."""
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        return connection.execute(
            "SELECT stints.queue_type, opened_reason FROM leadstream.stints JOIN leadstream.leads USING (user_id)"
            " WHERE user_id = %s AND judge_after IS NULL ORDER BY number",
            (user_id,),
        ).fetchall()


def await_stints(world: ReaderWorld, user_id: int, expected: list[tuple[str, str]]) -> None:
    """Waits until a customer has these stints, processing what is to be read live.

    A slow reader asks the replica later than a quick one, and may have to leave to a live read what that one knew.
    """

    def came() -> bool:
        found = stints(world, user_id)
        if not found:
            assert world.reconciler("run", "rechecks").returncode == 0
        return found == expected

    until(came, f"{user_id} had {expected}", seen=lambda: stints(world, user_id), pause=0.3)
