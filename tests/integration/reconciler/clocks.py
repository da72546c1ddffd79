"""PostgreSQL with another clock than ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from urllib.parse import urlsplit

from reconciler.postgres import Postgres
from tests.integration.reconciler.world import ReconcilerWorld


@contextmanager
def clock_says(world: ReconcilerWorld, moment: datetime) -> Iterator[Postgres]:
    """A session for which now() is this moment: a function of that name stands before PostgreSQL's own."""
    world.pg("CREATE SCHEMA another_clock")
    world.pg(
        "CREATE FUNCTION another_clock.now() RETURNS timestamptz LANGUAGE sql"
        f" AS $$ SELECT timestamptz '{moment.isoformat()}' $$"
    )
    path = "options=-csearch_path%3Danother_clock,pg_catalog,public"
    try:
        with closing(Postgres(urlsplit(world.postgres_url)._replace(query=path).geturl())) as postgres:
            yield postgres
    finally:
        world.pg("DROP SCHEMA another_clock CASCADE")
