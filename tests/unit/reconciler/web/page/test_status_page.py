"""What the status page says, from what was seen."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path
from threading import Event, Thread
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import pytest

from consumer.process import Process
from consumer.store.lanes import LanePoint
from consumer.store.processes import KnownProcess
from reconciler.monitor.kafka import NOT_WATCHED, StreamSeen
from reconciler.monitor.lags import HourLag
from reconciler.monitor.servers import LastSuccess, LongestWait, Snapshot
from reconciler.monitor.today import Days, LatestConversion, Today, calendar, days
from reconciler.monitor.week import week
from reconciler.names import SWEEPS
from reconciler.postgres import microseconds
from reconciler.runs.run_log import Record
from reconciler.web.lists import KINDS, Entry, cursor
from reconciler.web.page.chart import HEIGHT, chart, scale_top, share
from reconciler.web.page.formatting import ago, clock, difference, span
from reconciler.web.page.routes import TodayCache, commands, for_people
from reconciler.web.page.status_page import page
from reconciler.web.page.view_model import LATE_SECONDS, Facts, Policy, State
from tests.support.waiting import PATIENCE

NOW = datetime(2026, 3, 2, 14, 10, tzinfo=UTC)
LONDON = ZoneInfo("Europe/London")
POLICY = Policy(LONDON, frozenset(SWEEPS), writes=True, token=True, shadow=False)
WELL = Snapshot(
    store_up=True, replica_up=True, lanes={0: LanePoint(1, 1)}, rechecks_due=0, rechecks_waiting=0,
    last_runs={name: LastSuccess(NOW - timedelta(minutes=9), 5, 0, 0) for name in SWEEPS}, replica_lag=0.2,
    queues={"unsigned_users": 1200, "requirements_outstanding": 30}, counted_at=NOW,
)  # fmt: skip
STREAM = StreamSeen("", reader_version=microseconds(NOW), next_seqs=(7, 5), seen_at=NOW.timestamp())


def lane(seconds_ago: float) -> LanePoint:
    return LanePoint(microseconds(NOW) - round(seconds_ago * 1e6), 5, owner="applier-1")


def some_day(*lanes: LanePoint, **seen: object) -> Today:
    today = Today(NOW, Days(), {}, {}, {}, {}, dict(enumerate(lanes or (lane(0.4), lane(0.2)))), None)
    return replace(today, **seen)  # type: ignore[arg-type]


def facts(today: Today | None = None, snapshot: Snapshot = WELL, policy: Policy = POLICY) -> Facts:
    return Facts(NOW, snapshot, today or some_day(), STREAM, policy)


def alerts(seen: Facts) -> str:
    return " ".join(alert.sentence for alert in page(seen).alerts)


def test_commands_in_a_sentence_are_code_and_everything_else_is_text() -> None:
    assert commands("look at `consumer read` <now>") == "look at <code>consumer read</code> &lt;now&gt;"
    assert commands("`<b>`") == "<code>&lt;b&gt;</code>"
    assert commands("an odd ` one") == "an odd ` one"


def test_an_explanation_has_the_zones_times_and_peoples_words() -> None:
    said = "Stint 1: in unsigned_users from 2026-07-02 14:10:00 UTC, until now: a conversion, signature_obtained."
    assert for_people(said, LONDON) == (
        "Stint 1: in the queue “Have not signed” from 2026-07-02 15:10:00 BST, until now: a conversion: the customer"
        " signed."
    )


def test_how_a_call_ended_is_no_key_on_a_page() -> None:
    said = "They must not be called, whatever queue they belong in: the last call ended with do_not_contact."
    assert for_people(said, LONDON).endswith("the last call ended with “do not contact”.")


def test_a_run_under_way_is_busy_and_says_for_how_long() -> None:
    record = Record("new-users", "running", NOW - timedelta(seconds=42), None, None, 0, {}, None)
    row = next(run for run in page(facts(some_day(newest={"new-users": record}))).runs if run.name == "new-users")
    assert (row.state, row.word, row.when) == (State.BUSY, "running", "for 42 s")


def test_a_day_without_conversions_after_another_is_said_in_words() -> None:
    shown = page(facts())
    assert shown.chart_words == "No conversion yet today, and none yesterday."
    assert shown.conversions.note == "none yesterday by now either"


def test_where_nothing_is_wrong_all_is_well() -> None:
    shown = page(facts())
    assert (shown.headline, shown.state, shown.alerts) == ("All is well", State.GOOD, [])
    assert [figure.value for figure in shown.queues] == ["1,200", "30", "0"]
    assert [figure.value for figure in shown.lags] == ["0.0 s", "0.4 s", "0.2 s", "0"]
    assert [row.waiting for row in shown.lanes] == ["2", "0"]


def test_before_anything_was_seen_nothing_is_known_and_nothing_is_claimed() -> None:
    shown = page(Facts(NOW, Snapshot(), None, StreamSeen(), POLICY))
    assert (shown.headline, shown.state) == ("Nothing is known yet", State.UNKNOWN)
    assert {alert.state for alert in shown.alerts} == {State.UNKNOWN}
    figures = [*shown.queues, shown.conversions, *shown.won, *shown.lags, *shown.drift]
    assert {figure.value for figure in figures} == {"—"}
    assert [row.word for row in shown.runs if row.name in SWEEPS] == ["never ran"] * 4


def test_a_server_that_is_away_is_named_and_old_figures_are_dated() -> None:
    away = replace(
        WELL, store_up=False, store_failed=True, store_error="PostgreSQL centre on db:5432 cannot be reached: refused"
    )
    shown = page(facts(snapshot=away))
    assert shown.headline == "Degraded: PostgreSQL centre on db:5432 cannot be reached"
    assert [alert.sentence for alert in shown.alerts] == [
        "PostgreSQL centre on db:5432 cannot be reached: refused.",
        "What follows is as of 14:10.",
    ]
    assert "stands still" in alerts(facts(snapshot=replace(WELL, replica_lag=float("inf"))))


def test_lanes_that_lag_alike_point_at_the_reader_and_single_ones_at_an_applier() -> None:
    assert "Every lane is 6 min behind: look at `consumer read`" in alerts(facts(some_day(lane(400), lane(399))))
    assert alerts(facts(some_day(lane(0.3), lane(90)))) == "Lane 1 up to 90 s behind: look at `consumer apply`."
    assert page(facts(some_day(lane(0.3), lane(90)))).state is State.NOTICE
    assert "has not run yet" in alerts(facts(some_day(LanePoint(0, 1))))


def test_a_dead_reader_is_the_headline_and_no_lag() -> None:
    dead = replace(STREAM, written_at=NOW.timestamp() - 3600, reader_version=microseconds(NOW) - 3600 * 10**6)
    shown = page(replace(facts(some_day(lane(3600), lane(3600))), stream=dead))
    assert shown.headline == "Degraded: the reader is not running since 13:10"
    assert [alert.sentence for alert in shown.alerts] == [
        "The reader is not running since 13:10: it has written nothing to Kafka; look at `consumer read`."
    ]
    assert (shown.lags[0].value, shown.lags[0].state) == ("not running", State.BAD)


def test_nobody_who_applies_is_the_headline_and_no_lag() -> None:
    still = lane(90)._replace(still=90.0)
    shown = page(replace(facts(some_day(still, still)), stream=replace(STREAM, next_seqs=(5, 5))))
    assert shown.headline == "Working: every lane is 90 s behind", "nothing waits, so that nobody is missed"
    waiting = replace(facts(some_day(still, still)), stream=replace(STREAM, next_seqs=(7, 9)))
    assert page(waiting).headline == "Degraded: nothing is applied since 14:08"
    assert "no applier is running, or none gets through; look at `consumer apply`" in alerts(waiting)
    switched_off = replace(waiting, policy=replace(POLICY, writes=False))
    assert "applier" not in alerts(switched_off)


def test_a_process_that_is_dead_comes_before_a_run_that_ended_badly() -> None:
    failed = Record("verify", "failed", NOW - timedelta(minutes=3), NOW, None, 0, {}, "MySQL refuses us")
    dead = replace(STREAM, written_at=NOW.timestamp() - 3600)
    shown = page(replace(facts(some_day(lane(3600), newest={"verify": failed})), stream=dead))
    assert shown.headline == "Degraded: the reader is not running since 13:10, and 1 more"
    still = lane(90)._replace(still=90.0)
    shown = page(replace(facts(some_day(still, newest={"verify": failed})), stream=replace(STREAM, next_seqs=(7,))))
    assert shown.headline == "Degraded: nothing is applied since 14:08, and 1 more"


@pytest.mark.parametrize(
    ("name", "state"),
    [("rechecks", State.BAD), ("age", State.BAD), ("attribution", State.NOTICE), ("audit", State.NOTICE)],
)
def test_whatever_runs_again_and_again_and_ended_badly_is_no_all_is_well(name: str, state: State) -> None:
    for outcome in ("failed", "aborted"):
        record = Record(name, outcome, NOW - timedelta(hours=2), NOW, None, 0, {}, "PostgreSQL refuses us")
        shown = page(facts(some_day(newest={name: record}, oldest_recheck=NOW)))
        assert (shown.state, len(shown.alerts)) == (state, 1)
        assert shown.alerts[0].sentence.endswith("ended badly: PostgreSQL refuses us.")
    well = Record(name, "ok", NOW - timedelta(hours=2), NOW, 5, 0, {}, None)
    assert page(facts(some_day(newest={name: well}))).headline == "All is well"


def test_a_run_that_does_not_recur_is_no_matter_for_ever() -> None:
    records = {
        name: Record(name, "failed", NOW - timedelta(days=2), NOW, None, 0, {}, "PostgreSQL refuses us")
        for name in ("rechecks", "age", "attribution", "audit")
    }
    for policy, left in (
        (replace(POLICY, shadow=True), ("Rechecks", "Audit")),
        (replace(POLICY, writes=False), ("Audit",)),
    ):
        told = alerts(facts(some_day(newest=records, oldest_recheck=NOW), policy=policy))
        assert re.findall("The run “(.+?)” ended badly", told) == list(left)


def test_what_nobody_may_run_any_more_is_said_for_two_days_alone() -> None:
    """An audit by hand, and attribution that others do by now, leave no later run by which it would go."""
    for hours, left in ((48, ["Aging", "Attribution", "Audit"]), (49, ["Aging"])):
        started = NOW - timedelta(hours=hours)
        records = {
            name: Record(name, "failed", started, started, None, 0, {}, "PostgreSQL refuses us")
            for name in ("age", "attribution", "audit")
        }
        told = re.findall("The run “(.+?)” ended badly", alerts(facts(some_day(newest=records))))
        assert told == left


def test_rechecks_that_failed_are_no_matter_once_a_sweep_has_done_them() -> None:
    """The job finds none due then, and makes no run that could end well."""
    failed = Record("rechecks", "failed", NOW - timedelta(minutes=40), NOW, None, 0, {}, "MySQL is away")
    today = some_day(newest={"rechecks": failed})
    before, after = (
        replace(WELL, last_runs=dict.fromkeys(SWEEPS, LastSuccess(NOW - timedelta(minutes=minutes), 5, 0, 0)))
        for minutes in (41, 39)
    )
    assert page(facts(today, after)).headline == "All is well"
    assert page(facts(today, before)).state is State.BAD
    assert page(facts(today, replace(WELL, last_runs={}))).state is State.BAD
    due = some_day(newest={"rechecks": failed}, oldest_recheck=NOW)
    assert page(facts(due, after)).state is State.BAD


def test_an_audit_that_found_differences_is_the_headline() -> None:
    found = replace(WELL, audit_differs=True, audited_at=NOW - timedelta(hours=2))
    headline = "Degraded: the last audit, 2 h ago, found rows of the binlog that Kafka lacks or has otherwise"
    for outcome in ("drift", "failed"):
        newest = Record("audit", outcome, NOW - timedelta(hours=1), NOW, 5, 0, {}, "MySQL is away")
        shown = page(facts(some_day(newest={"audit": newest}), found))
        assert (shown.state, shown.headline) == (State.BAD, headline)


def test_an_error_without_a_word_is_no_reason_for_no_page() -> None:
    away = replace(WELL, store_up=False, store_failed=True, store_error="")
    assert page(facts(snapshot=away)).state is State.BAD


def test_the_worst_stands_first() -> None:
    late = some_day(lane(0.4), lane(LATE_SECONDS + 1))
    shown = page(facts(today=late, snapshot=replace(WELL, dead_letters={"malformed": 1})))
    assert [alert.state for alert in shown.alerts] == [State.BAD, State.NOTICE]
    assert "could not be applied" in shown.alerts[0].sentence


def test_where_no_thread_can_be_had_the_week_is_asked_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    cache = TodayCache("postgresql://nobody@127.0.0.1:1/none", LONDON)
    monkeypatch.setattr(Thread, "start", start)
    cache._look_at_week()
    assert cache._week_due < inf


def test_nobody_waits_for_a_look_of_others_that_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, over = Event(), Event()

    def look(_: TodayCache) -> None:
        hangs.set()
        over.wait()

    monkeypatch.setattr(TodayCache, "_look", look)
    cache = TodayCache("", LONDON)
    first = Thread(target=cache.newest)
    first.start()
    try:
        assert hangs.wait(PATIENCE)
        assert cache.newest().today is None
    finally:
        over.set()
        first.join()


def test_what_is_to_be_known_is_the_headline_too() -> None:
    shadow = replace(POLICY, shadow=True)
    assert page(facts(policy=shadow)).headline == "Working: SHADOW_MODE is on"


def test_dead_letters_that_nobody_resolved_are_bad_whatever_is_wrong_with_them() -> None:
    seen = facts(snapshot=replace(WELL, dead_letters={"undecodable": 2, "other_epoch": 1}))
    assert (page(seen).lags[3].value, page(seen).lags[3].state) == ("3", State.BAD)
    assert "3 messages could not be applied" in alerts(seen)


def test_without_kafka_the_readers_lag_is_bounded_by_the_foremost_lane() -> None:
    shown = page(replace(facts(some_day(lane(30), lane(8))), stream=NOT_WATCHED))
    assert [(figure.value, figure.note) for figure in shown.lags[:1]] == [("8.0 s", "at most: the foremost lane")]
    assert shown.state is State.GOOD


def test_lags_are_those_of_the_moment_they_were_seen_not_older_by_the_wait_since() -> None:
    later = replace(facts(), now=NOW + timedelta(seconds=40))
    assert [figure.value for figure in page(later).lags[:2]] == ["0.0 s", "0.4 s"]
    behind = replace(later, stream=replace(STREAM, seen_at=NOW.timestamp() + 90))
    assert alerts(behind) == "`consumer read` is 90 s behind MySQL, and everything after it with it."


def test_a_sweep_that_failed_or_is_overdue_needs_attention_unless_it_is_switched_off() -> None:
    failed = Record("new-users", "failed", NOW, NOW, 12, 1, {}, "the replica does not answer")
    today = some_day(newest={"new-users": failed})
    late = {**WELL.last_runs, "new-requirements": LastSuccess(NOW - timedelta(hours=3), 5, 0, 0)}
    seen = facts(today, replace(WELL, last_runs=late))
    assert page(seen).headline == "Degraded: the sweep “New users” ended badly, and 1 more"
    assert "The sweep “New users” ended badly: The replica does not answer." in alerts(seen)
    assert "“New requirements” last succeeded 3 h ago" in alerts(seen)
    off = replace(POLICY, switched_on=frozenset({"unsigned-conversions"}))
    assert alerts(replace(seen, policy=off)) == ""
    assert [row.startable for row in page(replace(seen, policy=off)).runs[:5]] == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("policy", "said"),
    [(replace(POLICY, token=False), "API_TOKEN"), (replace(POLICY, writes=False), "SMART_DISCOVERY_ENABLED")],
)
def test_where_nobody_can_start_runs_there_is_no_button_and_the_page_says_why(policy: Policy, said: str) -> None:
    shown = page(facts(policy=policy))
    assert said in shown.why_no_runs
    assert not any(row.startable for row in shown.runs)


def test_what_was_repaired_today_is_said_for_it_should_be_nothing() -> None:
    today = some_day(repaired={"verify": 2}, drift={"verify": 3}, kinds={"signature": 2, "unknown": 1})
    shown = page(facts(today))
    assert [figure.value for figure in shown.drift] == ["3", "2", "0", "—"]
    assert shown.drift[0].note == "2 signature, 1 unknown"
    assert "Runs repaired 2 leads today that the stream had missed." in alerts(facts(today))


def test_today_is_compared_with_yesterday_by_the_same_time() -> None:
    found = days([(9, True, "signature_obtained", False, 4), (9, False, "x", True, 3), (20, False, "x", False, 5)])
    assert (found.today, found.yesterday, found.yesterday_by_now) == (Counter({9: 4}), Counter({9: 3, 20: 5}), 3)
    shown = page(facts(some_day(days=found)))
    assert (shown.conversions.value, shown.conversions.note) == ("4", "1 more than yesterday by now (3)")
    assert [(figure.label, figure.value) for figure in shown.won[:2]] == [
        ("Signed", "4"),
        ("Handed in the last document", "0"),
    ]
    assert shown.chart_words == "4 conversions today, 8 on the whole of yesterday. Busiest hour today: 09:00, with 4."


def test_seven_days_are_told_by_queue_by_day_and_in_all() -> None:
    won = [(date(2026, 3, 2), "signature_obtained", 4), (date(2026, 2, 24), "requirements_completed", 3)]
    moved = [
        ("requirements_outstanding", "unsigned_users", True, 2), ("none", "unsigned_users", False, 3),
        ("unsigned_users", None, False, 7), ("unsigned_users", "unsigned_users", True, 1),
    ]  # fmt: skip
    seven = week(NOW, calendar(NOW, LONDON), LONDON, won, moved)
    longest = {"unsigned_users": LongestWait(8911, NOW - timedelta(days=9))}
    shown = page(replace(facts(snapshot=replace(WELL, longest=longest)), week=seven))
    assert shown.queues[0].notes == ("today 0 came, 2 left", "seven days 7 came, 5 left")
    assert shown.queues[0].longest == (8911, "since 21 Feb 14:10")
    assert [(figure.value, figure.note) for figure in shown.won] == [
        ("0", "4 in seven days"), ("0", "3 in seven days"), ("7", "since Tue 24 Feb"),
    ]  # fmt: skip
    assert [(row.day, row.total, row.types) for row in shown.days if row.total] == [
        ("Mon 2 Mar", 4, [4, 0]), ("Tue 24 Feb", 3, [0, 3]),
    ]  # fmt: skip
    assert len(shown.days) == 7


def test_lag_is_told_by_hour_and_by_day_and_nothing_where_it_was_not_measured() -> None:
    shown = page(facts(some_day(lags=[
        HourLag(date(2026, 2, 25), 3, 700.0), HourLag(date(2026, 3, 1), 14, 0.4), HourLag(date(2026, 3, 2), 9, 0.5),
        HourLag(date(2026, 3, 2), 13, 61.0),
    ])))  # fmt: skip
    slowest = shown.lags[1]
    assert (slowest.key, slowest.value) == ("lag-lanes", "0.4 s")
    assert slowest.notes == ("today at worst 61 s, after 13:00", "seven days at worst 11 min, on Wed 25 Feb")
    assert [(row.when, row.lag, row.state) for row in shown.lag_hours] == [
        ("09:00", "0.5 s", State.GOOD), ("13:00", "61 s", State.NOTICE),
    ]  # fmt: skip
    assert [(row.when, row.lag, row.fill) for row in shown.lag_days] == [
        ("Mon 2 Mar", "61 s", 21), ("Sun 1 Mar", "0.4 s", 2), ("Wed 25 Feb", "11 min", 100),
    ]  # fmt: skip
    unmeasured = page(facts(some_day()))
    assert (unmeasured.lags[1].notes, unmeasured.lag_hours, unmeasured.lag_days) == ((), [], [])


def test_the_latest_conversions_name_customers_and_local_times() -> None:
    shown = page(facts(some_day(latest=[LatestConversion(8911, NOW, "signature_obtained")])))
    assert [(row.user_id, row.when, row.words) for row in shown.latest] == [(8911, "14:10", "signed")]


def test_refused_leads_are_told_and_counted() -> None:
    shown = page(facts(snapshot=replace(WELL, rechecks_refused=1)))
    assert shown.headline == "Degraded: PostgreSQL refuses the rows of 1 lead"
    assert (shown.drift[-1].value, shown.drift[-1].state) == ("1", State.BAD)


def test_an_applier_that_went_is_noticed_and_a_reader_that_did_is_bad() -> None:
    def known(name: str, silent: float) -> KnownProcess:
        return KnownProcess(Process("applier", name, "0.1.0", NOW - timedelta(hours=2), 142_000_000), silent)

    here = Process("reconciler", "host:1", "0.1.0", NOW - timedelta(minutes=3), None)
    reader = replace(STREAM, reader=here._replace(kind="reader"), written_at=NOW.timestamp() - 120)
    today = some_day(processes=[known("applier-1", 4), known("applier-2", 4), known("applier-3", 900)])
    rows = page(replace(facts(today), stream=reader, here=here)).processes
    assert [(row.kind, row.word, row.uptime, row.memory, row.state) for row in rows] == [
        ("reader", "silent since 14:08", "—", "—", State.BAD),
        ("applier", "applies 2 lanes", "2 h", "142 MB", State.GOOD),
        ("applier", "stands by", "2 h", "142 MB", State.GOOD),
        ("applier", "silent since 13:55", "—", "142 MB", State.NOTICE),
        ("reconciler", "serves this page", "3 min", "—", State.GOOD),
    ]
    assert page(replace(facts(), stream=NOT_WATCHED)).processes_note.startswith("The reader reports itself in Kafka")


def test_every_number_leads_to_its_list() -> None:
    shown = page(facts())
    links = [figure.link for figure in (*shown.queues, *shown.won, *shown.drift, shown.lags[-1])]
    assert {link.removeprefix("/lists/").partition("?")[0] for link in links} <= {*KINDS, "/dead-letters"}
    assert len(links) == 11


def test_the_place_in_a_list_survives_the_way_through_an_address() -> None:
    entry = Entry(-8911, NOW.replace(microsecond=123456), 3)
    assert cursor(entry.cursor) == entry
    assert cursor("") is None
    for wrong in ("x", "1.2", "1.2.3.4", f"{10**30}.1.1", f"1.{2**63}.1", "1e3.1.1"):
        with pytest.raises(ValueError, match=r".*"):
            cursor(wrong)


def test_a_day_is_the_business_s_own_also_when_clocks_change() -> None:
    summer = calendar(datetime(2026, 3, 29, 12, 0, tzinfo=UTC), LONDON)
    assert (summer.today, summer.tomorrow) == (
        datetime(2026, 3, 29, 0, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 23, 0, tzinfo=UTC),
    )
    assert summer.same_time == datetime(2026, 3, 28, 13, 0, tzinfo=UTC)
    assert summer.week == datetime(2026, 3, 23, 0, 0, tzinfo=UTC)
    assert calendar(datetime(2026, 4, 1, 12, 0, tzinfo=UTC), LONDON).week == datetime(2026, 3, 26, 0, 0, tzinfo=UTC)


def test_bars_reach_the_top_at_the_top_of_the_scale() -> None:
    drawn = chart({8: 10, 9: 5}, {8: 1})
    assert (drawn.top, len(drawn.hours)) == (10, 24)
    assert (drawn.hours[8].bar_y, drawn.hours[8].bar_height) == (0, HEIGHT)
    assert drawn.hours[9].bar_height == HEIGHT / 2
    assert [scale_top(highest) for highest in (0, 2, 3, 5, 11, 45, 199, 1001)] == [2, 2, 4, 10, 20, 50, 200, 2000]
    assert [share(lag, 300) for lag in (None, 0, 0.1, 150, 9000)] == [0, 0, 2, 50, 100]


def test_spans_and_times_are_as_precise_as_anyone_cares() -> None:
    spans = [0.04, 9.96, 42, 119, 181, 7800, 7200, 500_000]
    assert [span(seconds) for seconds in spans] == [
        "0.0 s", "10.0 s", "42 s", "119 s", "3 min", "2 h 10 min", "2 h", "5 d",
    ]  # fmt: skip
    assert (ago(NOW, NOW), ago(NOW - timedelta(hours=1), NOW)) == ("just now", "1 h ago")
    assert clock(NOW - timedelta(days=1), NOW, LONDON) == "1 Mar 14:10"
    assert (difference(3, 5), difference(2, 2)) == (
        "2 fewer than yesterday by now (5)",
        "as many as yesterday by now (2)",
    )


def test_the_wheel_holds_templates_and_files_of_the_pages(tmp_path: Path) -> None:
    root = Path(__file__).parents[5]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        check=True, cwd=root, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(ZipFile(wheel).namelist())
    web = root / "reconciler" / "web"
    wanted = {str(path.relative_to(root)) for path in web.rglob("*") if path.suffix in (".html", ".css", ".js", ".svg")}
    assert len(wanted) == 13
    assert wanted <= packed
