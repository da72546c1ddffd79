"""Rules adopted on a system at work: nobody earns anything by it, everybody judges by the same ones, nobody is called
who must not be.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumer.commands import adoption
from consumer.commands.adoption import Adoption, Move, NotAdopted, session, try_out
from consumer.leads.model import RequirementRow, UserRow
from consumer.leads.rule_file import Exclusion, Labels, RuleFile
from consumer.progress import LineProgress
from consumer.store import rule_changes
from consumer.store import rules as store_rules
from consumer.store.errors import NotPrepared
from reconciler.names import SWEEPS
from reconciler.runs import aging
from reconciler.runs.run_log import Runs
from reconciler.runs.sweeps import SweepScope
from reconciler.settings import AgingSettings
from tests.integration.reconciler.played import Played
from tests.integration.reconciler.world import ReconcilerWorld, adopt_only, refuse
from tests.support.company_tables import key

SECOND = 1_000_000
MINUTE = 60 * SECOND
WAIVED = RuleFile(settled=("approved", "waived"))
LABELS = Labels(unsigned="new_customers", outstanding="outstanding_requests", none=None)


def now() -> int:
    """µs."""
    return time.time_ns() // 1000


@pytest.fixture
def stream(mysql_world: ReconcilerWorld) -> Iterator[Played]:
    with closing(Played(mysql_world)) as played:
        yield played


def owing(world: ReconcilerWorld, *users: int, status: str = "waived") -> None:
    """Customers who signed and have one document with this status, known here and long ago."""
    for user in users:
        world.user(user, signature=user)
        world.claim(10 * user, user)
        world.requirement(100 * user, 10 * user, status)
    world.backfill(batch_size=1000)
    world.age_everything(60)
    world.pass_lanes(now() - MINUTE // 2)


def document(user: int, status: str) -> RequirementRow:
    return RequirementRow(key(100 * user), str(10 * user), "id_document", status, None)


def stays(world: ReconcilerWorld, user: int) -> list[tuple[Any, ...]]:
    """(queue, why it was left) of each stay."""
    return world.pg("SELECT queue_type, closed_reason FROM leadstream.stints WHERE user_id = %s ORDER BY number", user)


def call_centre(world: ReconcilerWorld) -> list[tuple[Any, ...]]:
    """What the call centre has of each customer: label, whether active, and pending entries."""
    return world.pg(
        "SELECT user_id, current_queue_type, is_active, ARRAY(SELECT queue_type FROM call_queue AS entry"
        " WHERE entry.user_id = score.user_id AND status = 'pending' ORDER BY 1)"
        " FROM user_call_scores AS score ORDER BY 1"
    )


def trial(world: ReconcilerWorld, file: RuleFile) -> adoption.Tried:
    return try_out(world.postgres_url, file, {}, LineProgress("try"), shadow=world.shadow)


def test_setup_puts_the_plans_rules_in_force_once(mysql_world: ReconcilerWorld) -> None:
    with session(mysql_world.postgres_url) as connection:
        held = store_rules.newest(connection)
    assert (held.version, held.file, held.adopted_by) == (1, RuleFile(), "setup")
    assert held.rejudged_at is not None


def test_adopting_rules_moves_customers_without_a_conversion(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    owing(world, 1, 2)
    owing(world, 3, status="pending")
    tally = world.adopt(WAIVED)
    assert tally is not None
    assert (tally.version, tally.rejudged, tally.moved) == (2, 2, 2)
    assert stays(world, 1) == [("requirements_outstanding", "rules_changed"), ("none", None)]
    assert world.queues() == {1: "none", 2: "none", 3: "requirements_outstanding"}
    assert call_centre(world)[0] == (1, "none", False, [])
    for name in SWEEPS:
        world.sweep(name)
    assert world.verify(repair=True).tally.drift == {}
    assert world.conversions() == []
    assert world.adopt(WAIVED) is None
    assert world.pg("SELECT name, outcome, counts ->> 'moved' FROM leadstream.runs WHERE name = 'rules'") == [
        ("rules", "ok", "2")
    ]


def test_rules_in_force_that_nobody_was_brought_to_yet_earn_nothing_either(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1, 2, 3)
    adopt_only(world, WAIVED)
    world.pg("UPDATE user_call_scores SET last_call_at = now() AT TIME ZONE 'utc' WHERE user_id = 1")
    world.pass_lanes(now() + 3 * SECOND)
    world.sweep("requirements-conversions")
    stream.change(2, UserRow(2, "2", True), UserRow(2, "other", True), now() + 4 * SECOND)
    assert stays(world, 2) == [("requirements_outstanding", "rules_changed"), ("none", None)]
    world.verify(repair=True)
    assert set(world.queues().values()) == {"none"}
    assert world.conversions() == []


def test_an_applier_that_began_under_other_rules_judges_by_those_in_force(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1)
    stream.beat(now())
    adopt_only(world, WAIVED)
    for spelling in ("waived ", "Waived", "WAIVED"):
        stream.change(1, document(1, "waived"), document(1, spelling), now())
        world.sql("UPDATE claim_requirements SET status = %s WHERE id = %s", spelling, key(100))
        stream.beat(now())
        world.verify(repair=True)
        world.age_everything(5)
    assert stays(world, 1) == [("requirements_outstanding", "rules_changed"), ("none", None)]
    assert world.conversions() == []


def test_a_document_handed_in_under_the_new_rules_is_one_conversion(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1, status="pending")
    world.adopt(WAIVED)
    stream.change(1, document(1, "pending"), document(1, "waived"), now())
    stream.change(1, document(1, "waived"), document(1, "approved"), now())
    assert world.conversions() == [(1, "requirements_completed")]


def test_what_happened_before_the_adoption_is_judged_by_the_old_rules_though_it_comes_late(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1, status="pending")
    at = now()
    stream.change(1, document(1, "pending"), document(1, "approved"), at, last=False)
    world.adopt(RuleFile(settled=("waived",)))
    assert stays(world, 1) == [("requirements_outstanding", None)]
    stream.beat(at)
    assert stays(world, 1) == [
        ("requirements_outstanding", "requirements_completed"),
        ("none", "rules_changed"),
        ("requirements_outstanding", None),
    ]
    assert world.conversions() == [(1, "requirements_completed")]


def test_a_later_change_keeps_its_time_though_rules_were_adopted_before_it_came(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1)
    at = now() // 1000 * 1000 - MINUTE // 2  # the call centre's times are in milliseconds
    world.adopt(WAIVED)
    stream.change(1, document(1, "waived"), document(1, "pending"), at)
    stream.change(1, document(1, "pending"), document(1, "approved"), at + 1000)
    assert world.pg("SELECT (extract(epoch FROM converted_at) * 1000000)::bigint FROM conversions") == [(at + 1000,)]


def test_an_adoption_that_died_goes_on_where_it_was(
    mysql_world: ReconcilerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process is gone."""

    class Dies(LineProgress):
        def advance(self, position: int, users: int) -> None:
            """Not beyond the second page."""
            if position >= 8:
                raise Killed

    world = mysql_world
    owing(world, *range(1, 21))
    monkeypatch.setattr(adoption, "PAGE", 4)
    running = Adoption(world.postgres_url, shadow=False, stop=world.stop)
    with pytest.raises(Killed):
        running.adopt(WAIVED, {}, "test", Dies("adopt"))
    assert list(world.queues().values()).count("none") == 8
    with session(world.postgres_url) as connection:
        assert store_rules.newest(connection).rejudged_at is None
    tally, ended = running.resume(LineProgress("adopt"))
    assert tally is not None
    assert (tally.moved, ended) == (12, True)
    assert set(world.queues().values()) == {"none"}
    assert running.resume(LineProgress("adopt")) == (None, True)
    outcomes = world.pg("SELECT outcome FROM leadstream.runs WHERE name = 'rules' ORDER BY id")
    assert outcomes == [("aborted",), ("ok",)]


def test_asked_to_stop_it_ends_between_two_pages(mysql_world: ReconcilerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = mysql_world
    owing(world, *range(1, 11))
    monkeypatch.setattr(adoption, "PAGE", 4)
    world.stop.set()
    running = Adoption(world.postgres_url, shadow=False, stop=world.stop)
    _, ended = running.adopt(WAIVED, {}, "test", LineProgress("adopt"))
    assert not ended
    world.stop.clear()
    assert running.adopt(WAIVED, {}, "test", LineProgress("adopt"))[1]
    assert set(world.queues().values()) == {"none"}


def test_rules_are_adopted_by_one_at_a_time(mysql_world: ReconcilerWorld) -> None:
    with session(mysql_world.postgres_url) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", list(rule_changes._RUN_LOCK))
        with pytest.raises(NotAdopted, match="adopted already"):
            mysql_world.adopt(WAIVED)


def test_a_customer_whom_postgresql_refuses_holds_up_nobody_else(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    owing(world, 1, 2, 3)
    refuse(world, 2, "INSERT")
    tally = world.adopt(WAIVED)
    assert tally is not None
    assert (tally.moved, tally.refused) == (2, 1)
    assert world.pg("SELECT user_id FROM leadstream.rechecks") == [(2,)]


def test_a_customer_whom_postgresql_refused_is_brought_to_the_rules_by_a_recheck_where_no_lane_has_ever_moved(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    for user_id in (1, 2):
        world.user(user_id, signature=user_id)
        world.claim(10 * user_id, user_id)
        world.requirement(100 * user_id, 10 * user_id, "waived")
    world.backfill()
    refuse(world, 2)
    tally = world.adopt(WAIVED)
    assert tally is not None
    assert (tally.moved, tally.refused) == (1, 1)
    world.pg("DROP TRIGGER refuse ON user_call_scores")
    assert world.verify().outcome == "drift", "sweeps alone leave everybody waiting to be judged"
    assert world.sweep("rechecks").tally.drift == {"queue": 1}
    assert world.queues() == world.scores() == {1: "none", 2: "none"}
    closed = "SELECT closed_reason, conversion_type FROM leadstream.stints WHERE user_id = 2 AND closed_at IS NOT NULL"
    assert world.pg(closed) == [("rules_changed", None)]
    assert world.pg("SELECT user_id FROM leadstream.rechecks") == []


def test_a_customer_whose_row_an_agent_holds_holds_up_nobody_else(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    owing(world, 1, 2)
    with psycopg.connect(world.postgres_url) as agent:
        agent.execute("SELECT FROM user_call_scores WHERE user_id = 1 FOR UPDATE")
        tally = world.adopt(WAIVED)
        assert tally is not None
        assert (tally.rejudged, tally.moved, tally.refused) == (2, 2, 0)
        assert world.scores() == {1: "requirements_outstanding", 2: "none"}
    world.sweep("new-users")
    assert world.scores() == {1: "none", 2: "none"}


def test_where_no_lane_has_ever_moved_nobody_is_waited_for(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, signature=1)
    world.claim(10, 1)
    world.requirement(100, 10, "waived")
    world.backfill()
    world.adopt(WAIVED)
    assert world.queues() == {1: "none"}


def test_a_trial_says_who_would_move_and_writes_nothing(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    owing(world, *range(1, 8))
    owing(world, 8, status="pending")
    world.pg("UPDATE user_call_scores SET last_outcome = 'Deceased' WHERE user_id = 3")
    before = (call_centre(world), world.pg("SELECT * FROM leadstream.leads ORDER BY 1"))
    tried = trial(world, RuleFile(LABELS, settled=("approved", "waived"), never=("deceased",)))
    move = Move("requirements_outstanding", "none", "nothing_owed")
    assert dict(tried.moves) == {move: 7}
    assert tried.examples[move] == [1, 2, 3, 4, 5]
    assert (tried.leads, tried.never, tried.never_examples) == (8, 1, [3])
    assert tried.relabelled["none"] == ("none", None)
    assert (call_centre(world), world.pg("SELECT * FROM leadstream.leads ORDER BY 1")) == before
    assert world.pg("SELECT max(version) FROM leadstream.rules") == [(1,)]


def test_labels_are_what_the_call_centre_sees_and_null_is_one_of_them(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1, 2, status="pending")
    world.user(3)
    world.user(4, signature=4)
    world.backfill()
    tally = world.adopt(RuleFile(LABELS))
    assert tally is not None
    assert tally.relabelled == 4
    assert call_centre(world) == [
        (1, "outstanding_requests", True, ["outstanding_requests"]),
        (2, "outstanding_requests", True, ["outstanding_requests"]),
        (3, "new_customers", True, ["new_customers"]),
        (4, None, False, []),
    ]
    assert world.queues()[4] == "none"
    stream.beat(now())
    stream.change(1, document(1, "pending"), document(1, "approved"), now())
    world.sql("UPDATE claim_requirements SET status = 'approved' WHERE id = %s", key(100))
    world.user(5, ago=100)
    world.user(6, signature=6, ago=100)
    world.pass_lanes()
    world.sweep("new-users")
    assert call_centre(world)[0] == (1, None, False, [])
    assert call_centre(world)[4:] == [(5, "new_customers", True, ["new_customers"]), (6, None, False, [])]
    assert world.pg("SELECT previous_queue_type FROM conversions") == [("outstanding_requests",)]
    assert world.verify().tally.drift == {}
    world.pg("UPDATE user_call_scores SET current_queue_type = 'unsigned_users' WHERE user_id IN (3, 4)")
    assert world.verify(repair=True).tally.drift == {"call_centre_queue": 2}
    assert [row[1] for row in call_centre(world)][2:4] == ["new_customers", None]


def test_labels_that_change_places_are_not_mistaken_for_each_other(
    mysql_world: ReconcilerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = mysql_world
    owing(world, *range(1, 6), status="pending")
    for user in range(6, 11):
        world.user(user)
    world.backfill()
    monkeypatch.setattr(adoption, "PAGE", 3)
    world.adopt(RuleFile(Labels(unsigned="requirements_outstanding", outstanding="unsigned_users")))
    with session(world.postgres_url) as connection:  # once more, as after a crash before the cursor was moved
        rules = store_rules.InForce().read(connection)
        rule_changes.Relabelling(rules).write(connection, -1, 100)
    rows = call_centre(world)
    assert [row[1] for row in rows] == ["unsigned_users"] * 5 + ["requirements_outstanding"] * 5
    assert [row[3] for row in rows] == [[row[1]] for row in rows]


def test_whoever_leaves_a_queue_before_its_entries_are_relabelled_leaves_no_entry_behind(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1, status="pending")
    adopt_only(world, RuleFile(LABELS))
    stream.change(1, document(1, "pending"), document(1, "approved"), now())
    assert call_centre(world) == [(1, None, False, [])]


class TestNever:
    """Two customers in a queue whose last call ended with do_not_contact; as an agent's program leaves them."""

    @pytest.fixture
    def world(self, mysql_world: ReconcilerWorld) -> ReconcilerWorld:
        world = mysql_world
        owing(world, 1, status="pending")
        world.user(2)
        world.backfill()
        self.say_never(world)
        return world

    def say_never(self, world: ReconcilerWorld) -> None:
        world.pg(
            "UPDATE user_call_scores SET is_active = false, last_outcome = ' Do_Not_Contact', current_score = 200,"
            " last_reset_date = NULL"
        )
        world.pg("UPDATE call_queue SET status = 'cancelled'")

    def assert_left_alone(self, world: ReconcilerWorld) -> None:
        assert call_centre(world) == [(1, "none", False, []), (2, "none", False, [])]
        assert world.pg("SELECT DISTINCT current_score, last_outcome, last_reset_date FROM user_call_scores") == [
            (200, " Do_Not_Contact", None)
        ]

    def test_verify_puts_them_out_of_their_queue_and_is_content(self, world: ReconcilerWorld) -> None:
        assert world.verify(repair=True).tally.drift == {"call_centre_queue": 2}
        self.assert_left_alone(world)
        assert world.verify().tally.drift == {}

    def test_the_stream_moves_their_stints_and_calls_nobody(self, world: ReconcilerWorld, stream: Played) -> None:
        world.pg("UPDATE call_queue SET status = 'pending'")
        stream.beat(now())
        stream.change(1, UserRow(1, "1", True), UserRow(1, None, True), now())
        stream.change(2, UserRow(2, None, True), UserRow(2, "9", True), now())
        stream.change(2, UserRow(2, "9", True), UserRow(2, None, True), now())
        assert world.queues() == {1: "unsigned_users", 2: "unsigned_users"}
        assert world.conversions() == [(2, "signature_obtained")]
        self.assert_left_alone(world)

    def test_sweeps_do_not_either(self, world: ReconcilerWorld) -> None:
        world.sql("UPDATE users SET current_signature_file_id = NULL WHERE id = 1")
        world.age_everything(60)
        world.pass_lanes()
        assert world.sweep("requirements-conversions", SweepScope(everyone=True)).tally.repaired == 1
        assert world.queues()[1] == "unsigned_users"
        assert call_centre(world)[0] == (1, "none", False, [])

    def test_a_backfill_after_they_said_it_does_not_either(self, world: ReconcilerWorld) -> None:
        for table in ("leads", "claims", "requirements", "stints"):
            world.pg(f"DELETE FROM leadstream.{table}")
        world.backfill(restart=True)
        assert world.queues() == {1: "requirements_outstanding", 2: "unsigned_users"}
        self.assert_left_alone(world)

    def test_their_scores_do_not_age(self, world: ReconcilerWorld) -> None:
        world.pg("UPDATE user_call_scores SET is_active = true, current_score = 5")
        world.pg("UPDATE user_call_scores SET last_outcome = NULL WHERE user_id = 2")
        book = world.book()
        settings = AgingSettings(aging_skipped_weekdays=frozenset())
        (aged,) = aging.age(book, Runs(book), settings, datetime.now(UTC)).values()
        assert aged.grown == 1
        assert world.pg("SELECT user_id, current_score FROM user_call_scores ORDER BY 1") == [(1, 5), (2, 6)]

    def test_rules_adopted_that_name_their_outcome_put_them_out(self, world: ReconcilerWorld) -> None:
        world.pg("UPDATE user_call_scores SET is_active = true, last_outcome = 'moved abroad' WHERE user_id = 2")
        world.pg("UPDATE call_queue SET status = 'pending'")
        world.pg("UPDATE call_queue SET status = 'assigned' WHERE user_id = 1")
        tally = world.adopt(RuleFile(never=("do_not_contact", "Moved abroad")))
        assert tally is not None
        assert tally.left_for_never == 2
        assert call_centre(world) == [(1, "none", False, []), (2, "none", False, [])]
        assert world.pg("SELECT user_id, status FROM call_queue ORDER BY 1") == [(1, "assigned"), (2, "closed")]

    def test_another_label_of_no_queue_is_theirs_too(self, world: ReconcilerWorld) -> None:
        world.verify(repair=True)
        self.assert_left_alone(world)
        tally = world.adopt(RuleFile(LABELS))
        assert tally is not None
        assert (tally.relabelled, tally.left_for_never) == (2, 0)
        assert call_centre(world) == [(1, None, False, []), (2, None, False, [])]
        assert world.verify().tally.drift == {}

    def test_nor_does_a_rule_that_moves_them(self, world: ReconcilerWorld) -> None:
        world.adopt(RuleFile(closed=("open",)))
        world.adopt(RuleFile())
        assert world.queues()[1] == "requirements_outstanding"
        assert call_centre(world)[0] == (1, "none", False, [])
        assert world.pg("SELECT current_score FROM user_call_scores WHERE user_id = 1") == [(200,)]


def test_who_is_inactive_in_the_right_queue_is_the_call_centres_business(
    mysql_world: ReconcilerWorld, stream: Played
) -> None:
    world = mysql_world
    owing(world, 1, status="pending")
    world.pg("UPDATE user_call_scores SET is_active = false")
    assert world.verify(repair=True).tally.drift == {}
    stream.beat(now())
    stream.change(1, UserRow(1, "1", True), UserRow(1, None, True), now())
    assert call_centre(world) == [(1, "unsigned_users", True, ["unsigned_users"])]


def test_what_verify_suspects_is_what_the_rules_say(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    exclusions = (Exclusion("ID_Document", "Not needed"), Exclusion(None, "ours"))
    for user, reason in enumerate(("not NEEDED ", "needed", None, "OURS"), 1):
        world.user(user, signature=user)
        world.claim(10 * user, user)
        world.requirement(100 * user, 10 * user)
        world.sql("UPDATE claim_requirements SET claim_requirement_reason = %s WHERE claim_id = %s", reason, 10 * user)
    world.adopt(RuleFile(excluded=exclusions))
    world.backfill()
    world.age_everything(60)
    queues = {1: "none", 2: "requirements_outstanding", 3: "requirements_outstanding", 4: "none"}
    assert world.queues() == queues
    assert world.book().misjudged_in_range(0, 100) == world.book().misjudged([1, 2, 3, 4]) == []
    adopt_only(world, RuleFile(settled=None, outstanding=("approved",)))
    assert world.book().misjudged_in_range(0, 100) == [2, 3]


def test_before_setup_there_are_no_rules(mysql_world: ReconcilerWorld) -> None:
    mysql_world.pg("DELETE FROM leadstream.rules")
    with pytest.raises(NotPrepared, match="run `consumer setup`"):
        mysql_world.book().rules()


class TestCommands:
    """`consumer rules` as people meet it."""

    def run(self, world: ReconcilerWorld, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return world.processes.run("consumer", "rules", *arguments, **settings)

    def test_what_is_shown_can_be_edited_checked_tried_and_adopted(
        self, mysql_world: ReconcilerWorld, tmp_path: Path
    ) -> None:
        world = mysql_world
        owing(world, 1, 2)
        shown = self.run(world, "show")
        assert shown.stdout.startswith("# version 1, fingerprint "), shown.stderr
        file = tmp_path / "rules.toml"
        file.write_text(shown.stdout.replace('settled = ["approved"]', 'settled = ["approved", "waived"]'))
        assert "can be adopted" in self.run(world, "check", str(file)).stdout
        tried = self.run(world, "try", str(file))
        assert tried.stdout.splitlines() == [
            "2 customers would move from requirements_outstanding to none (nothing_owed): 1, 2",
            "0 of 2 customers would stay where they are.",
        ], tried.stderr
        adopted = self.run(world, "adopt", str(file), "--by", "Ada", CLOSED_CLAIM_STATUSES="lost")
        done = "version 2 of the rules is in force; 2 customers were judged anew and 2 of them moved\n"
        assert adopted.stdout == done
        assert adopted.returncode == 0
        held = json.loads(self.run(world, "show", "--json").stdout)
        assert (held["version"], held["adopted_by"]) == (2, "Ada")
        assert held["rules"]["requirements"]["settled"] == ["approved", "waived"]
        again = self.run(world, "adopt", str(file))
        assert (again.returncode, again.stdout.split(",")[0]) == (0, "these rules are in force already")

    def test_a_wrong_file_is_refused_with_all_that_is_wrong(self, mysql_world: ReconcilerWorld, tmp_path: Path) -> None:
        file = tmp_path / "rules.toml"
        file.write_text("[claims]\nclosed = 1\n[call]\n")
        for command in ("check", "try", "adopt"):
            refused = self.run(mysql_world, command, str(file))
            assert refused.returncode == 1
            assert [line.split(": ")[1].split(" ")[0] for line in refused.stderr.splitlines()] == [
                "claims.closed",
                "call",
            ]
        assert self.run(mysql_world, "adopt", str(tmp_path / "absent")).returncode == 2
        assert self.run(mysql_world, "adopt").returncode == 2

    def test_whoever_still_sets_lists_of_words_is_told_what_to_do(self, mysql_world: ReconcilerWorld) -> None:
        for line in (["verify"], ["run", "all"], ["backfill"], ["serve"]):
            refused = mysql_world.command(*line, SETTLED_REQUIREMENT_STATUSES="approved,waived", LOG_FORMAT="console")
            assert refused.returncode == 2
            assert 'settled = ["approved", "waived"]' in refused.stderr
            assert "consumer rules adopt FILE" in refused.stderr
