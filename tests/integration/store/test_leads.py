"""Leads in and out of PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from consumer.lane import lane_of
from consumer.leads.model import NEVER, Claim, Lead, QueueType, Reason, Requirement, Rule, Stint
from consumer.leads.outcome import Outcome
from consumer.store.connection import connect, open_session
from consumer.store.leads import LeadStore, Present
from consumer.store.schema.raise_lanes import NotDrained, refuse_unless_drained
from tests.integration.store.databases import row, rows, run
from tests.integration.store.replayer import LANES, START, Replayer, attempt, claim, fail, requirement, user

SEEN = "SELECT current_queue_type FROM user_call_scores"
ODD = "back\\slash \"quote\" 'single' {curly}, comma NULL ü \U0001f600 \t\n"


def whole_lead(user_id: int) -> Lead:
    """A lead with something unusual in every field."""
    lead = Lead(
        user_id, True, False, ODD, 11, 12, NEVER, START + 1, 3, QueueType.NONE, Rule.USER_DISABLED, START + 2,
        frozenset({"5", ODD, "NULL", "0b52d6c2-8e43-4c0e-8d0d-9c4f6c5b2a11"}), frozenset({ODD, "", "NULL", "file-1"}),
    )  # fmt: skip
    lead.claims = {"7": Claim("7", None, 21), ODD: Claim(ODD, "", 22)}
    lead.requirements = {
        "70": Requirement("70", "7", None, None, None, 31),
        "71": Requirement("71", None, ODD, "", ODD, 32),
    }
    return lead


def outcome_of(*leads: Lead) -> Outcome:
    """An outcome that writes everything of these leads but stints."""
    outcome = Outcome(leads={lead.user_id: lead for lead in leads})
    outcome.claims = {(lead.user_id, id_) for lead in leads for id_ in lead.claims}
    outcome.requirements = {(lead.user_id, id_) for lead in leads for id_ in lead.requirements}
    return outcome


def write(store: LeadStore, outcome: Outcome) -> None:
    """Writes an outcome in a transaction of its own."""
    with store.transaction() as tx:
        tx.load(outcome.leads)
        tx.write(outcome)


def test_a_lead_comes_back_as_it_was_written(store: LeadStore, replayer: Replayer) -> None:
    write(store, outcome_of(whole_lead(1), Lead(2)))
    assert replayer.load(1, 2) == {1: whole_lead(1), 2: Lead(2)}


def test_a_lead_that_is_written_again_comes_back_as_it_is_now(store: LeadStore, replayer: Replayer) -> None:
    write(store, outcome_of(Lead(1, True), whole_lead(2)))
    write(store, outcome_of(whole_lead(1)))
    second = whole_lead(2)
    del second.claims["7"], second.requirements["70"]
    second.claims[ODD].status, second.requirements["71"].status = "open", "approved"
    second.judge_after, second.outstanding_seen, second.converted_signatures = None, frozenset(), frozenset()
    outcome = outcome_of(second)
    outcome.claims.add((2, "7"))
    outcome.requirements.add((2, "70"))
    write(store, outcome)
    assert replayer.load(1, 2) == {1: whole_lead(1), 2: second}


def test_leads_nobody_knows_are_absent_and_leave_no_row_behind(replayer: Replayer, database: str) -> None:
    assert replayer.load(1, 2) == {}
    assert rows(database, "SELECT * FROM leadstream.leads") == []


def test_a_lead_lies_in_the_lane_of_its_user(replayer: Replayer, database: str) -> None:
    for user_id in range(1, 20):
        replayer.register(user_id)
    found = dict(rows(database, "SELECT user_id, lane FROM leadstream.leads"))
    assert found == {user_id: lane_of(user_id, LANES) for user_id in range(1, 20)}


def test_a_load_of_many_leads_returns_each_with_what_is_its_own(store: LeadStore, replayer: Replayer) -> None:
    many = []
    for user_id in range(1, 5001):
        lead = Lead(user_id, True)
        claim_id, requirement_id = str(user_id * 2), str(user_id * 3)
        lead.claims[claim_id] = Claim(claim_id, "open", user_id)
        lead.requirements[requirement_id] = Requirement(requirement_id, claim_id, "passport", "pending", None, user_id)
        many.append(lead)
    write(store, outcome_of(*many))
    assert replayer.load(*range(5001, 0, -1)) == {lead.user_id: lead for lead in many}


def test_text_that_postgresql_cannot_hold_is_stored_with_replacement_characters(
    store: LeadStore, replayer: Replayer
) -> None:
    lead = Lead(1, True, signature="nul\0here")
    lead.claims["7"] = Claim("7", "half \ud83d pair", 1)
    lead.converted_signatures = frozenset({"nul\0here"})
    write(store, outcome_of(lead))
    held = replayer.load(1)[1]
    assert held.signature == "nul\ufffdhere"
    assert held.converted_signatures == {"nul\ufffdhere"}
    assert held.claims["7"].status == "half \ufffd pair"


def test_a_lead_that_was_not_loaded_cannot_be_written(store: LeadStore, database: str) -> None:
    with pytest.raises(ValueError, match="lead 2 is written but was not loaded"):
        attempt(store, lambda tx: tx.load([1]), lambda tx: tx.write(outcome_of(Lead(2))))
    assert rows(database, "SELECT * FROM leadstream.leads") == []


def test_two_writes_in_one_transaction_both_count(store: LeadStore, replayer: Replayer) -> None:
    first, second = Lead(1, True), Lead(1, True, stint=1, queue_type=QueueType.NONE, rule=Rule.NOTHING_OWED)
    with store.transaction() as tx:
        tx.load([1])
        tx.write(outcome_of(first))
        tx.write(outcome_of(second))
    assert replayer.load(1) == {1: second}


def test_an_exception_inside_a_transaction_leaves_nothing_behind(
    store: LeadStore, replayer: Replayer, database: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(store, lambda tx: tx.load([1]), lambda tx: tx.write(outcome_of(whole_lead(1))), fail)
    assert rows(database, "SELECT * FROM leadstream.leads") == []
    replayer.register(1)
    assert replayer.load(1)[1].stint == 1


def test_stints_tell_the_history_with_commit_times_and_source(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    with LeadStore(database, LANES, shadow=False, source="sweep") as sweeps:
        sweep = Replayer(sweeps)
        sweep.now = replayer.now
        sweep.sign(1)
    replayer.now = sweep.now
    replayer.commit(1, [(None, requirement(1, 10))], [(requirement(1, 10), requirement(1, 10, "approved"))])
    found = rows(
        database,
        "SELECT number, queue_type, (extract(epoch FROM opened_at) * 1000000)::bigint, opened_reason,"
        " (extract(epoch FROM closed_at) * 1000000)::bigint, closed_reason, conversion_type, signature, source"
        " FROM leadstream.stints ORDER BY number",
    )
    first, signed, asked, handed_in = (START + second * 1_000_000 for second in range(1, 5))
    assert found == [
        (1, "unsigned_users", first, "first_seen", signed, "signature_obtained", "signature_obtained", "file-1",
         "sweep"),
        (2, "none", signed, "signature_obtained", asked, "requirement_added", None, None, "stream"),
        (3, "requirements_outstanding", asked, "requirement_added", handed_in, "requirements_completed",
         "requirements_completed", None, "stream"),
        (4, "none", handed_in, "requirements_completed", None, None, None, None, "stream"),
    ]  # fmt: skip


def test_a_deleted_customer_keeps_a_lead_and_loses_claims_and_requirements(replayer: Replayer, database: str) -> None:
    replayer.register(1, "file-1")
    replayer.commit(1, [(None, requirement(1, 10))])
    replayer.commit(1, [(user(1, "file-1"), None)])
    assert replayer.load(1)[1].exists is False
    assert rows(database, "SELECT * FROM leadstream.claims") == []
    assert rows(database, "SELECT * FROM leadstream.requirements") == []


def test_the_database_refuses_a_second_open_stint(replayer: Replayer, store: LeadStore) -> None:
    replayer.register(1)
    outcome = Outcome()
    outcome.stints[1, 2] = Stint(1, 2, QueueType.NONE, START, Reason.FIRST_SEEN)
    with pytest.raises(psycopg.errors.UniqueViolation, match="stints_open"):
        attempt(store, lambda tx: tx.load([1]), lambda tx: tx.write(outcome))


def test_pending_gives_the_leads_whose_lane_has_passed_their_judge_after(store: LeadStore) -> None:
    lane = lane_of(1, LANES)
    mates = [user_id for user_id in range(1, 100) if lane_of(user_id, LANES) == lane][:4]
    stranger = next(user_id for user_id in range(1, 100) if lane_of(user_id, LANES) != lane)
    waits = dict(zip([*mates, stranger], [100, 101, NEVER, None, 50], strict=True))
    write(store, outcome_of(*(Lead(user_id, judge_after=after) for user_id, after in waits.items())))
    with store.transaction() as tx:
        assert tx.before({lane: 99}, 10).waiting == []
        assert not tx.more_wait
        assert tx.before({lane: 100}, 10).waiting == [mates[0]]
        assert sorted(tx.before({lane: 101}, 10).waiting) == mates[:2]
        assert len(tx.before({lane: 101}, 1).waiting) == 1
        assert tx.more_wait
        assert tx.before({}, 10).waiting == []


def test_leads_that_stay_shown_are_not_waited_for_and_keep_none_from_being_looked_at(
    store: LeadStore, replayer: Replayer, database: str
) -> None:
    """Somebody holds the rows of them all: the same ones must not be given again and again."""
    lane = lane_of(1, LANES)
    mates = [user_id for user_id in range(1, 100) if lane_of(user_id, LANES) == lane][:3]
    for user_id in mates:
        replayer.register(user_id)
    shown = "INSERT INTO leadstream.shown (user_id, lane, queue_type, until_version) SELECT unnest({}), {}, 'none', 0"
    run(database, shown.format(f"ARRAY{mates}::bigint[]", lane))
    looked_at = []
    for _ in range(3):
        with store.transaction() as tx:
            looked_at.append(tx.before({lane: 1}, 2).waiting)
            assert not tx.more_wait
    assert looked_at == [mates[:2], mates[2:], mates[:2]]
    with LeadStore(database, LANES, shadow=True, source="stream") as shadow, shadow.transaction() as tx:
        assert tx.before({lane: 1}, 2).waiting == [], "in shadow mode nobody's row at the call centre is touched"


def test_a_present_that_the_lane_has_passed_since_it_was_read_is_not_shown(replayer: Replayer, database: str) -> None:
    """Between the read and our turn the stream has brought the signature: nobody is to be called for it again."""
    replayer.register(1)
    replayer.sign(1)
    run(database, "UPDATE leadstream.lanes SET version = 100")
    with LeadStore(database, LANES, shadow=False, source="sweep") as sweeps, sweeps.transaction() as tx:
        tx.load([1])
        assert tx.show([Present(1, QueueType.UNSIGNED_USERS, 100)]) == 0
    assert row(database, SEEN) == ("none",)
    with LeadStore(database, LANES, shadow=False, source="sweep") as sweeps, sweeps.transaction() as tx:
        tx.load([1])
        assert tx.show([Present(1, QueueType.UNSIGNED_USERS, 101)]) == 1
    assert row(database, SEEN) == ("unsigned_users",)


def test_what_was_given_up_is_seen_though_the_lane_never_passes(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    with LeadStore(database, LANES, shadow=False, source="sweep") as sweeps:
        with sweeps.transaction() as tx:
            tx.load([1])
            assert tx.show([Present(1, QueueType.NONE, 100)]) == 1
        for settled, seen in (((), "none"), ([2], "none"), ([1], "unsigned_users")):
            with sweeps.transaction() as tx:
                tx.write(Outcome(leads=tx.load([1])), settled)
            assert row(database, SEEN) == (seen,)
    assert rows(database, "SELECT user_id FROM leadstream.shown") == []


def test_texts_are_what_they_are_whatever_encoding_the_role_has(replayer: Replayer, database: str) -> None:
    url = psycopg.conninfo.make_conninfo(database, options="-c client_encoding=LATIN1")
    with LeadStore(url, LANES, shadow=False, source="stream") as store:
        write(store, outcome_of(whole_lead(1)))
        with store.transaction() as tx:
            assert tx.load([1]) == {1: whole_lead(1)}
    assert replayer.load(1) == {1: whole_lead(1)}
    assert row(database, "SELECT signature FROM leadstream.leads") == (ODD,)


def test_times_are_read_whatever_style_of_dates_the_role_has(database: str) -> None:
    url = psycopg.conninfo.make_conninfo(database, options="-c datestyle=German")
    with open_session(url, "leadstream test", autocommit=True) as connection:
        ((time,),) = connection.execute("SELECT '2024-02-01 00:00:00+00'::timestamptz").fetchall()
    assert time == datetime(2024, 2, 1, tzinfo=UTC)


def test_transactions_see_what_was_committed_while_they_waited_whatever_the_roles_default_is(database: str) -> None:
    url = psycopg.conninfo.make_conninfo(database, options="-c default_transaction_isolation=serializable")
    with connect(url, "leadstream test") as connection:
        assert connection.execute("SHOW default_transaction_isolation").fetchone() == ("serializable",)
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
    with open_session(url, "leadstream test", autocommit=True) as connection, connection.transaction():
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_the_owners_of_a_claim_are_all_who_hold_it_the_newest_version_last(
    replayer: Replayer, store: LeadStore
) -> None:
    replayer.register(1)
    replayer.commit(2, [(None, user(2)), (None, claim(2, 1)), (None, claim(2, 20))])
    with store.transaction() as tx:
        assert tx.before({}, 1, claims=["1", "20", "99", "20"]).owners == [("1", 1), ("1", 2), ("20", 2)]
        assert tx.before({}, 1).owners == []


def test_the_session_shows_who_we_are(store: LeadStore, database: str) -> None:
    store.lanes([0])
    names = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leadstream stream'"
    assert row(database, names)[0] >= 1


def test_a_url_with_a_name_of_its_own_does_not_hide_an_applier_from_whoever_raises_the_lanes(database: str) -> None:
    url = psycopg.conninfo.make_conninfo(database, application_name="call centre")
    with LeadStore(url, LANES, shadow=False, source="stream") as store:
        store.lanes([0])
        with pytest.raises(NotDrained, match="still connected"):
            refuse_unless_drained(url, 1, [1] * LANES, LANES + 1)
