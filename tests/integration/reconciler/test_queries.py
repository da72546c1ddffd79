"""How many statements the replica has to run for us, and how it runs them."""

from __future__ import annotations

from pymysql.cursors import DictCursor

from consumer.leads.model import Table
from reconciler.replica import Replica
from reconciler.runs import Runs
from reconciler.settings import SWEEPS
from reconciler.sweeps import Scope, Sweeper, SweepPlan
from tests.integration.reconciler.world import World

CUSTOMERS = 12_000
HOURS = 24
STARTING = 3
"""Hours after which sweeps remember how far they had come a window ago."""
NEW_AN_HOUR = 87
CALLED_AN_HOUR = 100
OLD_BATCH = 100
OLD_SCANS = 24 * 4


def customers(world: World) -> None:
    """Customers of the last weeks, each with a claim and a document, known here and in step."""
    world.sql("SET SESSION foreign_key_checks = 0, autocommit = 0")
    with world.company.cursor() as cursor:
        ids = range(1, CUSTOMERS + 1)
        cursor.executemany(
            "INSERT INTO users (id, current_signature_file_id, created_at) VALUES"
            " (%s, %s, UTC_TIMESTAMP() - INTERVAL %s MINUTE)",
            [(n, None if n % 2 else n, 120 + 3 * (CUSTOMERS - n)) for n in ids],
        )
        cursor.executemany("INSERT INTO claims (id, user_id, status) VALUES (%s, %s, 'open')", [(n, n) for n in ids])
        cursor.executemany(
            "INSERT INTO claim_requirements (id, claim_id, type, status, created_at) VALUES"
            " (%s, %s, 'id', 'pending', UTC_TIMESTAMP() - INTERVAL %s MINUTE)",
            [(n, n, 120 + 3 * (CUSTOMERS - n)) for n in ids],
        )
    world.sql("COMMIT")
    world.sql("SET SESSION autocommit = 1")
    world.sql("ANALYZE TABLE users, claims, claim_requirements")
    world.backfill(1000)
    world.age_everything()


def an_hour_passes(world: World, hour: int) -> None:
    """Everything is an hour older, some are new and known to the stream, some were called. None of it is counted."""
    world.sql("UPDATE users SET created_at = created_at - INTERVAL 1 HOUR")
    world.sql("UPDATE claim_requirements SET created_at = created_at - INTERVAL 1 HOUR")
    world.pg(
        "UPDATE leadstream.runs SET started_at = started_at - interval '1 hour',"
        " window_from = window_from - interval '1 hour', window_to = window_to - interval '1 hour'"
    )
    world.pg("UPDATE user_call_scores SET last_call_at = last_call_at - interval '1 hour'")
    first = CUSTOMERS + 1 + hour * NEW_AN_HOUR
    for user_id in range(first, first + NEW_AN_HOUR):
        world.user(user_id, ago=1800)
    world.backfill(1000)
    world.pg(
        "UPDATE user_call_scores SET last_call_at = now() AT TIME ZONE 'utc'"
        " WHERE user_id IN (SELECT user_id FROM user_call_scores ORDER BY hashint8(user_id + %s) LIMIT %s)",
        hour,
        CALLED_AN_HOUR,
    )


def questions(replica: Replica) -> int:
    """Statements that the server ran for this session."""
    return int(replica._run("SELECT variable_value FROM performance_schema.session_status "
                            "WHERE variable_name = 'Questions'")[0][0])  # fmt: skip


def one_old_scan(world: World, replica: Replica) -> int:
    """What the old system did every 15 minutes: all users, in batches, each with its claims and requirements."""
    before = questions(replica)
    for start in range(0, CUSTOMERS, OLD_BATCH):
        batch = f"BETWEEN {start + 1} AND {start + OLD_BATCH}"
        replica._run(f"SELECT id, current_signature_file_id FROM users WHERE id {batch}")
        replica._run(f"SELECT id, user_id, status FROM claims WHERE user_id {batch}")
        replica._run(
            f"SELECT r.id FROM claim_requirements r JOIN claims c ON c.id = r.claim_id WHERE c.user_id {batch}"
        )
    return questions(replica) - before - 1


def test_a_day_of_sweeps_asks_the_replica_less_than_a_two_hundredth_of_what_the_old_scan_did(
    mysql_world: World,
) -> None:
    world = mysql_world
    customers(world)
    world.pass_lanes()
    replica = world.replica()
    mender = world.mender(replica=replica, batch_size=100)
    sweeper = Sweeper(replica, mender.book, Runs(mender.book), mender, SweepPlan(600, 48, shadow=False))
    checked = 0
    before = 0
    for hour in range(STARTING + HOURS):
        an_hour_passes(world, hour)
        if hour == STARTING:
            before = questions(replica)
        for name in SWEEPS:
            report = sweeper.run(name, Scope())
            assert (report.outcome, report.tally.drift) == ("ok", {})
            checked += report.tally.checked
    asked = questions(replica) - before - 1
    old = one_old_scan(world, replica) * OLD_SCANS
    assert checked > HOURS * NEW_AN_HOUR
    assert asked <= 0.005 * old, f"{asked} statements in a day, the old scan {old}"


def test_no_statement_reads_a_whole_table(world: World) -> None:
    customers(world)
    world.sql("CREATE INDEX requirements_created ON claim_requirements (created_at)")
    world.sql("CREATE INDEX users_created ON users (created_at)")
    world.sql("ANALYZE TABLE users, claims, claim_requirements")
    texts = world.replica().texts
    some = range(5_000, 5_100)
    statements = {
        "read_users": texts.read_users(some),
        "checksums": texts.checksums(some),
        "fingerprints": texts.fingerprints(5_000, 5_100),
        "user_page": texts.user_page(5_000, 100),
        "end_of_range": texts.end_of_range(5_000, 100),
        "newest_from": texts.newest_from(Table.USERS, 5_000, 20),
        "created by key": texts.created(Table.USERS, "t.id > 11000", "t.id", 100),
        "created by index": texts.created(
            Table.CLAIM_REQUIREMENTS, "t.created_at >= UTC_TIMESTAMP() - INTERVAL 3 HOUR", "t.created_at, t.id", 100
        ),
        "present": texts.present(),
    }
    explain = "EXPLAIN " if "mariadb" in world.replica_url else "EXPLAIN FORMAT=TRADITIONAL "
    for name, text in statements.items():
        with world.company.cursor(DictCursor) as cursor:
            cursor.execute(explain + text)
            plan = cursor.fetchall()
        whole = [step for step in plan if step["type"] in {"ALL", "index"} and step["table"] in {"users", "t", "c"}]
        assert [step for step in whole if (step["rows"] or 0) > OLD_BATCH] == [], (name, plan)
