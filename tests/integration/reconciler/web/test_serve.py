"""`reconciler serve`: the dialler's question, explanations, tokens, health, metrics and the schedule, as a process."""

from __future__ import annotations

import re
import signal
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from consumer.leads.rule_file import Labels, RuleFile
from consumer.store.connection import connect
from consumer.store.dead_letters import Content, add, dead_letter
from reconciler.runs.run_log import Runs
from reconciler.web.lists import KINDS
from tests.integration.binlog.proxy import Proxy
from tests.integration.reconciler.serving import TOKEN, serving
from tests.integration.reconciler.world import ReconcilerWorld
from tests.servers import Servers
from tests.support.company_tables import key
from tests.support.waiting import until

ASKED_BY = "SELECT counts -> 'asked_by', outcome FROM leadstream.runs WHERE counts ? 'asked_by'"
"""Who asked for rechecks, and how the runs ended that did them."""
SWEEPS = ["new-users", "new-requirements", "unsigned-conversions", "requirements-conversions"]


def runs_of(world: ReconcilerWorld, name: str) -> int:
    ((count,),) = world.pg("SELECT count(*) FROM leadstream.runs WHERE name = %s AND outcome = 'ok'", name)
    return int(count)


def test_a_check_is_answered_live_and_drift_becomes_a_recheck_that_repairs_it(world: ReconcilerWorld) -> None:
    world.user(1)
    world.user(2, signature=5)
    world.claim(20, 2)
    world.requirement(200, 20)
    world.backfill()
    world.age_everything()
    with serving(world, RECHECK_SECONDS="0.5") as served:
        same = served.get("/leads/2/precall", expected="requirements_outstanding").json()
        assert (same["queue_type"], same["agrees"], same["source"]) == ("requirements_outstanding", True, "replica")
        assert (same["because"], same["drift"]) == (f"the customer signed and still owes requirement {key(200)}", [])

        world.sql("UPDATE users SET current_signature_file_id = 77 WHERE id = 1")
        other = served.get("/leads/1/precall", expected="unsigned_users").json()
        assert (other["queue_type"], other["agrees"], other["drift"]) == ("none", False, ["signature"])
        assert other["recheck_queued"] is True
        until(lambda: world.conversions() == [(1, "signature_obtained")], "the recheck repaired the lead")
        again = served.get("/leads/1/precall", expected="none").json()
        assert (again["agrees"], again["drift"]) == (True, [])


def test_unknown_users_and_wrong_questions_are_told_apart(mysql_world: ReconcilerWorld) -> None:
    mysql_world.user(1)
    with serving(mysql_world) as served:
        stranger = served.get("/leads/99/precall", expected="none")
        assert stranger.status_code == 404
        assert stranger.json()["detail"] == "there is no user 99 in MySQL, and never was one that we know"
        assert served.get("/leads/99").status_code == 404
        new = served.get("/leads/1/precall", expected="unsigned_users").json()
        assert (new["agrees"], new["drift"]) == (True, ["unknown"])
        wrong = [
            served.get("/leads/1/precall"),
            served.get("/leads/1/precall", expected="somewhere"),
            served.get(f"/leads/{-(2**63) - 1}/precall", expected="none"),
            served.get(f"/leads/{2**63}/precall", expected="none"),
            served.get("/leads/x"),
        ]
        assert {answer.status_code for answer in wrong} == {422}


def test_it_ends_in_good_order_though_postgresql_hangs(mysql_world: ReconcilerWorld) -> None:
    """It takes connections and answers nothing, neither to those that are there nor to new ones."""
    parts = urlsplit(mysql_world.postgres_url)
    with Proxy(str(parts.hostname), parts.port or 0) as proxy:
        through = mysql_world.postgres_url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{proxy.port}")
        with serving(mysql_world, DATABASE_URL=through, RECHECK_SECONDS="0.5") as served:
            proxy.silent = True
            served.process.wait_for("run_failed")  # no session can be opened, and those that are there wait by now
            served.process.terminate()
            assert served.process.wait() == 0
            served.process.wait_for("sessions_cut").wait_for("process_stopped")


def test_a_check_knows_labels_new_rules_and_who_must_not_be_called(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    for user in (1, 2):
        world.user(user)
    world.backfill()
    world.age_everything()
    with serving(world) as served:
        assert served.get("/leads/1/precall", expected="unsigned_users").json()["agrees"] is True
        unknown = served.get("/leads/1/precall", expected="new_customers")
        assert (unknown.status_code, "unsigned_users, requirements_outstanding, none" in unknown.text) == (422, True)
        world.adopt(
            RuleFile(Labels(unsigned="new_customers", outstanding="open_requests", none=None), never=("Deceased",))
        )
        for expected in ("new_customers", "unsigned_users"):
            told = served.get("/leads/1/precall", expected=expected).json()
            assert (told["agrees"], told["queue_type"], told["drift"]) == (True, "unsigned_users", [])
        world.pg("UPDATE user_call_scores SET last_outcome = 'deceased ' WHERE user_id = 2")
        never = served.get("/leads/2/precall", expected="new_customers").json()
        assert (never["agrees"], never["queue_type"]) == (False, "none")
        assert never["because"] == "the customer must not be called: the last call ended with deceased "
        explained = " ".join(served.get("/leads/2").json()["sentences"])
        assert "They must not be called" in explained


def test_without_the_replica_a_check_is_answered_from_what_we_hold(servers: Servers) -> None:
    with servers.private_mysql() as mysql, ReconcilerWorld(mysql.url, servers.postgres_url) as world:
        world.user(1)
        world.backfill()
        world.pass_lanes(version=1_770_000_000_000_000)
        with serving(world, PRECALL_DEADLINE_MS="500") as served:
            assert served.get("/leads/1/precall", expected="unsigned_users").json()["source"] == "replica"
            mysql.stop()
            away = served.get("/leads/1/precall", expected="unsigned_users").json()
            assert (away["source"], away["agrees"], away["queue_type"]) == ("state", True, "unsigned_users")
            assert away["note"].startswith("This is what we hold: the replica")
            assert away["as_of"] is not None
            world.pg(
                "INSERT INTO leadstream.shown (user_id, lane, queue_type, until_version)"
                " VALUES (1, 0, 'requirements_outstanding', 4000000000000000)"
            )
            seen = served.get("/leads/1/precall", expected="requirements_outstanding").json()
            assert (seen["source"], seen["agrees"], seen["as_of"][:4]) == ("state", True, "2096")
            world.pg("DELETE FROM leadstream.shown")
            told = served.get("/leads/1").json()
            assert (told["live"], told["agrees"]) == (None, None)
            assert told["sentences"][-1].startswith("MySQL was not read: the replica")
            stranger = served.get("/leads/5/precall", expected="none")
            assert stranger.status_code == 404
            assert "we hold nothing of user 5" in stranger.json()["detail"]
            until(lambda: served.get("/health/ready").json()["replica"] != "up", "the outage was noticed")
            assert served.get("/health/ready").status_code == 200
            mysql.start()
            until(
                lambda: served.get("/leads/1/precall", expected="none").json()["source"] == "replica",
                "the replica was asked again",
            )
            assert served.stop() == 0


def test_a_lead_is_explained(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1)
    world.backfill()
    world.age_everything()
    world.sql("UPDATE users SET current_signature_file_id = 77")
    world.sweep("unsigned-conversions")
    world.pg("UPDATE user_call_scores SET current_queue_type = 'requirements_outstanding'")
    with serving(world, SWEEPS="new-users") as served:
        served.post("/sweeps/unsigned-conversions", None)
        told = served.get("/leads/1").json()
    assert told["queue_type"] == "unsigned_users"
    assert told["live"]["verdict"]["rule"] == "nothing_owed"
    assert (told["agrees"], told["live"]["drift"]) == (False, ["signature"])
    assert [stint["opened_reason"] for stint in told["stints"]] == ["first_seen"]
    assert "The call centre's table says requirements_outstanding instead" in " ".join(told["sentences"])


def test_runs_are_started_with_the_token_only(mysql_world: ReconcilerWorld, tmp_path: Path) -> None:
    world = mysql_world
    world.user(1, ago=60)
    token_file = tmp_path / "token"
    token_file.write_text(f"{TOKEN}\n")
    with serving(world, API_TOKEN_FILE=str(token_file), SWEEPS="new-requirements,new-users") as served:
        for path in ("/sweeps/new-users", "/verify"):
            assert served.post(path, None).status_code == 401
            wrong = served.post(path, "wrong")
            assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
        until(lambda: world.queues() == {1: "unsigned_users"}, "the new user was found at the start")
        until(lambda: all(run["finished_at"] for run in served.get("/runs").json()), "the runs at the start ended")
        world.user(2, ago=60)
        done = served.run("/sweeps/new-users", TOKEN)
        assert (done["outcome"], done["first_seen"]) == ("ok", 1)
        assert served.run("/verify", TOKEN)["checked"] == 2
        assert served.post("/sweeps/nothing", TOKEN).status_code == 404
        off = served.post("/sweeps/unsigned-conversions", TOKEN)
        assert (off.status_code, off.json()["detail"]) == (
            409,
            "unsigned-conversions is switched off; name it in SWEEPS to switch it on",
        )
        assert served.post("/sweeps/new-users", TOKEN, hours_back=1, since="2026-01-01T00:00:00Z").status_code == 422
        assert served.post("/sweeps/new-users", TOKEN, hour_back=1).status_code == 422
        recorded = {run["name"]: run for run in served.get("/runs").json()}
        assert recorded["verify"]["outcome"] == "ok"
        assert recorded["verify"]["started_by"] == "API_TOKEN"


def test_a_run_keeps_the_name_of_whose_token_it_was(mysql_world: ReconcilerWorld, tmp_path: Path) -> None:
    listed = tmp_path / "tokens"
    listed.write_text("anna 0123456789abcdef run\nboard 0123456789abcdeg read\n")
    settings = {"API_TOKENS_FILE": str(listed), "SWEEPS": "new-users", "HTTP_PROTECT_READS": "true"}
    settings |= {"GRAFANA_URL": "https://grafana.example.com/d/1", "RUNBOOK_URL": "https://wiki.example.com/runbook"}
    with serving(mysql_world, **settings) as served:
        refused = served.post("/sweeps/rechecks", "0123456789abcdeg")
        assert (refused.status_code, "may read only" in refused.json()["detail"]) == (403, True)
        assert served.run("/sweeps/rechecks", "0123456789abcdef")["outcome"] == "ok"
        protected = (
            "/",
            "/runs",
            "/docs",
            "/openapi.json",
            "/dead-letters",
            "/customers/1",
            *(f"/lists/{name}" for name in KINDS),
        )
        assert {path: served.get(path).status_code for path in protected} == dict.fromkeys(protected, 401)
        home = served.client.get("/", auth=("anna", "0123456789abcdeg")).text
        assert home.count('href="https://grafana.example.com/d/1"') == 2
        assert 'href="https://wiki.example.com/runbook"' in home
        assert served.client.get("/lists/none", auth=("anna", "0123456789abcdeg")).status_code == 200
        bearer = {"Authorization": "Bearer 0123456789abcdeg"}
        runs = served.client.get("/runs", headers=bearer).json()
        assert {run["name"]: run["started_by"] for run in runs}["rechecks"] == "anna"
        assert served.client.get("/health/live", headers={"Host": "evil.example.com"}).status_code == 421
        listed.write_text("bo 0123456789abcdex run\n")
        assert served.client.get("/runs", headers=bearer).status_code == 401
        assert served.run("/sweeps/rechecks", "0123456789abcdex")["outcome"] == "ok"


def test_one_customer_is_read_live_when_somebody_with_the_token_asks(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    with serving(world, API_TOKEN=TOKEN, SWEEPS="new-users", RECHECK_SECONDS="1") as served:
        world.user(1, ago=90 * 24 * 3600)
        assert served.post("/v1/leads/1/recheck", None).status_code == 401
        asked = served.post("/v1/leads/1/recheck", TOKEN)
        assert (asked.status_code, "queued" in asked.json()["detail"]) == (202, True)
        (noted,) = (line for line in served.process.lines() if line["event"] == "recheck_queued")
        assert (noted["user_id"], noted["by"]) == (1, "API_TOKEN"), "the recheck itself is gone once it is done"
        until(lambda: world.queues() == {1: "unsigned_users"}, "the customer was read live")
        until(lambda: world.pg(ASKED_BY) == [({"API_TOKEN": 1}, "ok")], "the run that did it was recorded as theirs")
        assert served.post("/v1/leads/x/recheck", TOKEN).status_code == 422


def test_dead_letters_are_listed_retried_and_discarded(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=90 * 24 * 3600)
    with connect(world.postgres_url, "a test") as session:
        users = ((1, 7), (None, 8))
        letters = [
            dead_letter("ls.users", 0, offset, "undecodable", "?", user, Content(b"1", b"{")) for user, offset in users
        ]
        add(session, letters)
        session.commit()
    with serving(world, API_TOKEN=TOKEN, SWEEPS="new-users", RECHECK_SECONDS="1") as served:
        about, nobody = served.get("/v1/dead-letters").json()
        assert [(one["offset"], one["user_id"]) for one in (about, nobody)] == [(7, 1), (8, None)]
        retry = f"/v1/dead-letters/{about['number']}/retry"
        assert served.post(retry, None).status_code == 401
        assert served.post(retry, TOKEN).json() == {"resolved": True}
        assert served.post(retry, TOKEN).status_code == 404
        until(lambda: world.queues() == {1: "unsigned_users"}, "its customer was read live")
        assert served.post(f"/v1/dead-letters/{nobody['number']}/retry", TOKEN).json() == {"resolved": False}
        assert served.post(f"/v1/dead-letters/{nobody['number']}/discard", TOKEN).json() == {"resolved": True}
        assert served.get("/v1/dead-letters").json() == []


def test_old_dead_letters_are_dropped_though_no_new_one_comes(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    letters = [dead_letter("ls.users", 0, at, "undecodable", "?", None, Content(b"1", b"{")) for at in range(4)]
    with connect(world.postgres_url, "a test") as session:
        add(session, letters)
        session.commit()
    world.pg(
        "UPDATE leadstream.dead_letters SET set_aside_at = now() - interval '31 days',"
        " resolved_at = CASE message_offset WHEN 0 THEN now() END WHERE message_offset < 3 RETURNING id"
    )
    with serving(world, DEAD_LETTER_DAYS="30") as served:
        until(lambda: len(world.pg("SELECT id FROM leadstream.dead_letters")) == 1, "what is older was dropped")
        assert [one["offset"] for one in served.get("/v1/dead-letters").json()] == [3]
        expired = 'leadstream_dead_letters_expired_total{deployment="leadstream"} 2.0'
        until(lambda: expired in served.get("/metrics").text, "the unresolved ones were counted")
        (line,) = (line for line in served.process.lines() if line["event"] == "dead_letters_expired")
        assert (line["count"], line["days"]) == (2, 30)


def test_one_customer_is_read_live_by_a_command(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=90 * 24 * 3600)
    done = world.command("recheck", "1")
    assert done.returncode == 0, done.stderr
    assert world.queues() == {1: "unsigned_users"}
    assert world.pg(ASKED_BY) == [({"reconciler recheck": 1}, "ok")]


def test_without_a_token_nobody_starts_runs(mysql_world: ReconcilerWorld) -> None:
    with serving(mysql_world) as served:
        for token in (None, "x", "None"):
            answer = served.post("/sweeps/new-users", token)
            assert answer.status_code == 403
            assert answer.json()["detail"] == (
                "no token is configured, so runs cannot be started here; set API_TOKEN or API_TOKENS_FILE"
            )


def test_a_run_of_a_name_under_way_elsewhere_is_refused(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    with serving(world, API_TOKEN=TOKEN, SWEEPS="new-users") as served:
        until(lambda: runs_of(world, "new-users") == 1, "the start was made up for")
        with Runs(world.book()).alone("verify"):

            def refusal() -> httpx.Response | None:
                answer = served.post("/verify", TOKEN)
                return None if answer.status_code == 202 else answer

            refused = until(refusal, "it was refused while its request waited")
            assert refused is not None
            assert refused.status_code == 409
            assert refused.json()["detail"].startswith("verify is running already")


def test_missed_slots_run_once_at_the_start_and_not_again_after_a_restart(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=60)
    world.backfill()
    hours = "now() - interval '26 hours'"
    world.pg("INSERT INTO leadstream.runs (name, started_at, outcome) VALUES ('new-users', " + hours + ", 'ok')")
    started: list[str] = []
    for _ in range(2):
        with serving(world, AGING_SKIPPED_WEEKDAYS="") as served:
            until(lambda: all(runs_of(world, name) for name in [*SWEEPS, "age"]), "everything missed has run")
            until(lambda: runs_of(world, "new-users") >= 2, "the sweep ran that was missed")
            assert served.stop() == 0
        started += [line["run"] for line in served.process.lines() if line["event"] == "run_started"]
    due_again = len(started) - 5
    assert due_again <= 1, "a slot may have come during the test, but no more than one"
    assert sorted(set(started)) == sorted([*SWEEPS, "age"])


def test_only_the_sweeps_that_are_switched_on_are_scheduled(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    once = "INSERT INTO leadstream.runs (name, started_at, outcome) VALUES (%s, now() - interval '9 days', 'ok')"
    for name in ("new-requirements", "age", "verify"):
        world.pg(once, name)
    with serving(world, SWEEPS="new-users", SHADOW_MODE="true") as served:
        until(lambda: runs_of(world, "new-users") == 1, "the sweep ran")
        success = 'leadstream_reconciler_last_success_timestamp_seconds{deployment="leadstream",'
        until(
            lambda: f'{success}run="new-users"}}' in served.get("/metrics").text,
            "its success was told",
        )
        told = re.findall(re.escape(success) + r'run="([a-z-]+)"\}', served.get("/metrics").text)
        assert sorted(told) == ["new-users", "verify"], "nobody waits for what is switched off"
        world.pg("DELETE FROM leadstream.runs WHERE started_at < now() - interval '8 days'")
        page = served.get("/health/smart-discovery").json()
        assert served.stop() == 0
    assert {name for (name,) in world.pg("SELECT name FROM leadstream.runs")} - {"age"} == {"new-users"}
    assert page["lastRun"]["newUsers"].endswith("Z")
    assert page["lastRun"]["newRequirements"] is None


def test_it_takes_up_work_when_postgresql_comes_back(servers: Servers) -> None:
    with servers.private_postgres() as postgres, ReconcilerWorld(servers.mysql_url, postgres.url) as world:
        world.user(1)
        world.backfill()
        with serving(world) as served:
            postgres.stop()
            until(lambda: served.get("/health/ready").status_code == 503, "the outage was noticed")
            assert served.get("/health/live").status_code == 200
            live = served.get("/leads/1/precall", expected="requirements_outstanding").json()
            assert (live["source"], live["agrees"], live["recheck_queued"]) == ("replica", False, False)
            unsure = served.get("/leads/1/precall", expected="unsigned_users")
            assert (unsure.status_code, "must not be called" in unsure.json()["detail"]) == (503, True)
            assert served.get("/leads/1").status_code == 503
            page = served.get("/")
            assert (page.status_code, "Degraded: " in page.text) == (200, True)
            assert served.get("/customers/1").status_code == 503
            postgres.start()
            until(lambda: served.get("/health/ready").status_code == 200, "it was ready again")
            assert served.get("/leads/1").json()["agrees"] is True
            assert served.stop() == 0


def test_switched_off_it_answers_but_writes_nothing(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1)
    with serving(world, SMART_DISCOVERY_ENABLED="false", API_TOKEN=TOKEN) as served:
        answer = served.get("/leads/1/precall", expected="unsigned_users").json()
        assert (answer["drift"], answer["recheck_queued"]) == (["unknown"], False)
        assert served.post("/sweeps/new-users", TOKEN).status_code == 409
        assert served.stop() == 0
    assert world.pg("SELECT count(*) FROM leadstream.runs") == [(0,)]
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]


def test_metrics_tell_what_runs_did_and_name_no_user(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(918273)
    world.backfill()
    world.age_everything()
    world.pg("UPDATE user_call_scores SET last_call_at = now() AT TIME ZONE 'utc'")
    world.sql("UPDATE users SET current_signature_file_id = 77")
    with serving(world) as served:
        until(lambda: world.conversions() == [(918273, "signature_obtained")], "the sweep found the conversion")
        wanted = (
            'leadstream_conversions_total{deployment="leadstream",source="sweep",type="signature_obtained"} 1.0',
            'leadstream_time_to_conversion_seconds_count{deployment="leadstream",type="signature_obtained"} 1.0',
            'drift_total{deployment="leadstream",kind="signature",run="unsigned-conversions"} 1.0',
            'leadstream_reconciler_repaired_total{deployment="leadstream",run="unsigned-conversions"} 1.0',
            'leadstream_reconciler_last_success_timestamp_seconds{deployment="leadstream",run="unsigned-conversions"}',
            'leadstream_reconciler_run_seconds_count{deployment="leadstream",run="new-users"} 1.0',
            'leadstream_rechecks_due{deployment="leadstream"} 0.0',
            'leadstream_replica_up{deployment="leadstream"} 1.0',
            'leadstream_precalls_total{agrees="true",deployment="leadstream",source="replica"} 1.0',
            'leadstream_queue_leads{deployment="leadstream",queue_type="',
        )
        served.get("/leads/918273/precall", expected="none")
        until(lambda: all(line in served.get("/metrics").text for line in wanted), "every metric was there")
        assert "918273" not in served.get("/metrics").text
        page = served.get("/api/health/smart-discovery").json()
        assert page["metrics"]["conversionsDetected"] == 1


def test_what_is_unresolved_is_told_from_postgresql_by_whichever_process_it_came(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    refused = "PostgreSQL refused it with 23514 (user_call_scores, score_is_small)"
    ask = (
        "INSERT INTO leadstream.rechecks (user_id, reason, not_before, last_error) VALUES (%s, %s, now() + '1 day', %s)"
    )
    world.pg(ask, 1, refused, None)
    world.pg(ask, 2, "asked for by hand", refused)
    world.pg(ask, 3, "asked for by hand", None)
    world.pg("UPDATE leadstream.rechecks SET not_before = now() + interval '1 day'")
    run = "INSERT INTO leadstream.runs (name, started_at, outcome, counts, cursor) VALUES (%s, now() - %s, %s, %s, %s)"
    world.pg(run, "verify", timedelta(hours=2), "drift", '{"drift": {"queue": 2}}', None)
    world.pg(run, "verify", timedelta(hours=1), "failed", '{"drift": {"queue": 1}}', None)
    world.pg(run, "verify", timedelta(minutes=9), "running", "{}", None)
    world.pg(run, "audit", timedelta(hours=2), "drift", "{}", None)
    world.pg(run, "audit", timedelta(hours=1), "failed", "{}", None)
    world.pg(run, "backfill", timedelta(hours=1), "stopped", '{"first_user": 1, "last_user": 200}', 50)
    with serving(world, SWEEPS="new-users", RECHECK_SECONDS="3600", SHADOW_MODE="true") as served:
        wanted = (
            'leadstream_rechecks_refused{deployment="leadstream"} 2.0',
            'leadstream_run_outcome{deployment="leadstream",outcome="failed",run="verify"} 1.0',
            'leadstream_run_outcome{deployment="leadstream",outcome="stopped",run="backfill"} 1.0',
            'leadstream_run_started_timestamp_seconds{deployment="leadstream",run="backfill"} 0.0',
            'leadstream_verify_drift{deployment="leadstream",kind="queue"} 2.0',
            'leadstream_audit_differs{deployment="leadstream"} 1.0',
            'leadstream_backfill_done_ratio{deployment="leadstream"} 0.25',
            'leadstream_mode{deployment="leadstream",mode="shadow"} 1.0',
            'leadstream_mode{deployment="leadstream",mode="sweeps_off"} 1.0',
            'leadstream_mode{deployment="leadstream",mode="disabled"} 0.0',
            'leadstream_binlog_retention_seconds{deployment="leadstream"} ',
        )
        until(lambda: all(line in served.get("/metrics").text for line in wanted), "every metric was there")
        under_way = re.search(r"_run_started_timestamp_seconds\{.*verify\"\} (.+)", served.get("/metrics").text)
        assert under_way is not None
        assert float(under_way[1]) > 1e9


def test_openapi_has_an_example_of_every_question_and_answer_that_its_own_schema_allows(
    mysql_world: ReconcilerWorld,
) -> None:
    with serving(mysql_world) as served:
        document = served.get("/openapi.json").json()
    paths = document["paths"]
    assert set(paths) == {
        "/v1/leads/{user_id}/precall", "/v1/leads/{user_id}", "/health/live", "/health/ready",
        "/health/smart-discovery", "/metrics", "/v1/sweeps/{name}", "/v1/verify", "/v1/runs",
        "/v1/leads/{user_id}/recheck", "/v1/conversions", "/v1/conversions/by-agent",
        "/v1/dead-letters", "/v1/dead-letters/{number}/retry", "/v1/dead-letters/{number}/discard",
    }  # fmt: skip
    operations = [(path, name, told) for path, methods in paths.items() for name, told in methods.items()]
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)+", operation["operationId"]) for *_, operation in operations)
    assert len({operation["operationId"] for *_, operation in operations}) == len(operations)
    for path, method, operation in operations:
        answers = {**operation["responses"], "body": operation.get("requestBody", {"content": {}})}
        for status, answer in answers.items():
            for kind, media in answer.get("content", {}).items():
                assert kind.startswith("application/problem") == is_error(status, path), (method, path, status)
                if "json" in kind:
                    shown = examples(media, document)
                    assert shown, (method, path, status)
                    for example in shown:
                        jsonschema.validate(example, {**media.get("schema", {}), "components": document["components"]})


def is_error(status: str, path: str) -> bool:
    """Whether an answer is a problem; what is not ready says so in the form of /health."""
    return status[:1] in "45" and path != "/health/ready"


def examples(media: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    """What is shown of one question or answer, where it stands or at its schema."""
    if "example" in media:
        return [media["example"]]
    if "examples" in media:
        return [example["value"] for example in media["examples"].values()]
    name = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return list(document["components"]["schemas"].get(name, {}).get("examples", []))


def test_the_health_page_is_the_plans_json_and_nothing_else(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=60)
    with serving(world, AGING_SKIPPED_WEEKDAYS="") as served:
        until(lambda: all(runs_of(world, name) for name in SWEEPS), "everything missed has run")
        page = served.get("/health/smart-discovery")
        assert served.get("/api/health/smart-discovery").json() == page.json()
    sweeps = ("newUsers", "newRequirements", "unsignedConversions", "requirementsConversions")
    assert list(page.json()) == ["lastRun", "metrics"]
    assert list(page.json()["lastRun"]) == list(sweeps)
    for when in page.json()["lastRun"].values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", when)
    metrics = page.json()["metrics"]
    assert list(metrics) == ["newUsersFound", "conversionsDetected", "processingTimeMs"]
    assert (metrics["newUsersFound"], metrics["conversionsDetected"]) == (1, 0)
    assert all(isinstance(number, int) for number in metrics.values())


def test_a_taken_port_is_a_sentence_and_exit_code_2(mysql_world: ReconcilerWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = mysql_world.command("serve", HTTP_PORT=port)
    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_when_told_even_while_a_run_waits(
    mysql_world: ReconcilerWorld, number: signal.Signals, code: int
) -> None:
    world = mysql_world
    world.user(1, ago=60)
    world.pass_lanes(1)
    with serving(world, API_TOKEN=TOKEN, RECHECK_WAIT_SECONDS="60") as served:
        under_way = served.post("/sweeps/new-users", TOKEN)
        assert under_way.status_code in (202, 409)
        assert served.stop(number) == code
    assert world.pg("SELECT DISTINCT outcome FROM leadstream.runs WHERE name = 'new-users'") == [("stopped",)]
