"""What `consumer explain` reads of a customer: our tables, and MySQL live where it answers."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

from consumer.explain import Explanation, Live, explain, lead_of, verdict
from consumer.leads.drift import differences
from consumer.mysql.errors import SourceError
from consumer.mysql.live_read import read_leads
from consumer.mysql.session import Replica
from consumer.settings import DatabaseSettings, ReplicaSettings
from consumer.store import lookups
from consumer.store.connection import classified, open_session
from consumer.store.rules import InForce

CONNECT_SECONDS = 5


def explanation(user_id: int, source: ReplicaSettings, database: DatabaseSettings) -> Explanation:
    """Everything about one customer; where MySQL does not answer, the explanation says so.

    Raises StoreUnavailable, and NotPrepared before `consumer setup`.
    """
    with (
        classified(database.conninfo),
        open_session(database.conninfo, "leadstream explain", autocommit=True, seconds=CONNECT_SECONDS) as connection,
    ):
        rules = InForce().read(connection)
        held = lookups.lead_record(connection, user_id)
    try:
        with closing(Replica(source.address, source.replica_query_seconds)) as replica:
            read = read_leads(replica, [user_id])
    except SourceError as error:
        return explain(held, None, rules, without_live=f"MySQL was not read: {error}.")
    state = read.leads[user_id].state
    drift = sorted({difference.kind.value for difference in differences(held.lead, state, rules)})
    as_of = datetime.fromtimestamp(read.started / 1e6, UTC)
    live = Live(state.user is not None, verdict(lead_of(user_id, state), rules), as_of, drift)
    return explain(held, live, rules)
