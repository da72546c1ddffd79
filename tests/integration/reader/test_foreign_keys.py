"""What the company's foreign keys do, as an account sees it that may read the captured columns only."""

from __future__ import annotations

from contextlib import closing

import pytest

from consumer.mysql.foreign_keys import Action, ForeignKeys, foreign_keys
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from tests.integration.reader.test_altered_tables import granted
from tests.integration.reader.world import ReaderWorld
from tests.integration.test_cascades import foreign_keys as statements

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("action", [Action.CASCADE, Action.SET_NULL])
def test_foreign_keys_are_what_they_do_on_deletion_and_on_change(world: ReaderWorld, action: Action) -> None:
    with closing(Replica(MySQLAddress(world.mysql_url))) as replica:
        assert foreign_keys(replica) == ForeignKeys(*[Action.NONE] * 4)
        world.execute(*statements(action.value))
        assert foreign_keys(replica) == ForeignKeys(*[action] * 4)


def test_an_account_that_may_not_see_them_is_not_taken_for_a_company_without(world: ReaderWorld, flavor: str) -> None:
    world.execute(*statements("CASCADE"))
    account = granted(world)
    world.execute(f"GRANT SELECT (id, claim_id) ON claim_requirements TO '{world.name[:24]}_c'@'%'")
    with closing(Replica(account)) as replica:
        unseen = Action.UNKNOWN if flavor == "mariadb" else Action.CASCADE
        assert foreign_keys(replica) == ForeignKeys(*[unseen] * 4)
    for table in ("claims", "claim_requirements"):
        world.execute(f"GRANT REFERENCES ON {table} TO '{world.name[:24]}_c'@'%'")
    with closing(Replica(account)) as replica:
        assert foreign_keys(replica) == ForeignKeys()
