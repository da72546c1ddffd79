"""The status page in a real browser, over real servers: a shift leader's and an on-call engineer's view."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pydantic import SecretStr

from consumer.commands.setup import prepare
from consumer.process import release
from consumer.settings import DatabaseSettings, DiscoverySettings, KafkaSettings, ReplicaSettings
from consumer.store.connection import connect
from consumer.store.dead_letters import Content, add, dead_letter
from consumer.stream.checkpoint import Start
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.producer import ReaderTransactions
from reconciler.monitor.today import CONVERSIONS, KINDS, LATEST, TODAY, calendar, look
from reconciler.monitor.week import CONVERSIONS_BY_DAY
from reconciler.names import RUN_NAMES
from reconciler.runs.run_log import NEWEST
from reconciler.web.page.routes import for_people
from tests.bench.kafka import Topics
from tests.integration.reconciler.clocks import clock_says
from tests.integration.reconciler.serving import TOKEN, Served, serving
from tests.integration.reconciler.web.browser import axe, chromium
from tests.integration.reconciler.world import LANES, ReconcilerWorld
from tests.servers import Servers, ensure
from tests.support.waiting import until

LONDON = ZoneInfo("Europe/London")
PATIENCE = 180_000
UPDATE = 250
"""Milliseconds; the latter between two updates of the page in these tests."""
HASTE = f"""
const wait = window.setTimeout;
window.setTimeout = (what, time, ...rest) => wait(what, time === 2000 ? {UPDATE} : time, ...rest);
"""
"""People see the page updated every two seconds, the tests more often."""
expect.set_options(timeout=PATIENCE)


class PlayedReader:
    """A reader at work: a checkpoint every two seconds, so far behind MySQL as is asked for."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.seconds_behind = 0.5
        self.next_seqs = [1] * LANES
        self._kafka = kafka
        self._stop = Event()
        self._thread = Thread(target=self._run, name="played reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with CheckpointLog(self._kafka) as log:
            first = log.require()
        transactions = ReaderTransactions(self._kafka, self._stop.is_set)
        transactions.take_over()
        while not self._stop.is_set():
            version = int((time.time() - self.seconds_behind) * 1e6)
            transactions.ready()
            transactions.commit(msgspec.structs.replace(first, version=version, next_seqs=self.next_seqs))
            transactions.await_commit()
            self._stop.wait(2)
        transactions.close()


@dataclass
class Shift:
    """A call centre at work, its page, and a browser that looks at it."""

    world: ReconcilerWorld
    served: Served
    browser: Browser
    axe: str | None
    kafka: KafkaSettings
    reader: PlayedReader

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.served.port}/"

    def stream_is_at(self, seconds_ago: float) -> None:
        """Plays the stream: every lane has come so far."""
        self.world.pg(
            "UPDATE leadstream.lanes SET version = %s, owner = 'applier-1'", int((time.time() - seconds_ago) * 1e6)
        )

    def convert(self, user_id: int, ago: str = "0 s") -> None:
        """A conversion, as the applier records it."""
        self.world.pg(
            "INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at,"
            " closed_reason, conversion_type) VALUES (%s, 1, 'requirements_outstanding', now() - interval '9 days',"
            " 'first_seen', now() - %s::interval, 'requirements_completed', 'requirements_completed')",
            user_id, ago,
        )  # fmt: skip


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    """One for all tests of this file."""
    folder = tmp_path_factory.mktemp("page")
    servers: Servers = ensure(["mysql", "kafka", "postgres"])
    with ReconcilerWorld(servers.mysql_url, servers.postgres_url) as world:
        kafka = KafkaSettings(
            kafka_bootstrap_servers=servers.kafka_bootstrap, topic_prefix=f"page-{uuid.uuid4().hex[:8]}", lanes=LANES
        )
        replica = ReplicaSettings(replica_database_url=SecretStr(world.mysql_url))
        prepare(
            replica, DatabaseSettings(database_url=SecretStr(world.postgres_url)), kafka, DiscoverySettings(), Start.NOW
        )
        world.user(1)
        world.user(2, signature=5)
        world.claim(20, 2)
        world.requirement(200, 20)
        world.backfill()
        world.age_everything()
        settings = {
            "API_TOKEN": TOKEN, "AGING_TIMEZONE": "Europe/London", "LANES": str(LANES),
            "TOPIC_PREFIX": kafka.topic_prefix, "KAFKA_BOOTSTRAP_SERVERS": servers.kafka_bootstrap,
        }  # fmt: skip
        with PlayedReader(kafka) as reader, serving(world, **settings) as served, chromium() as browser:
            shift = Shift(world, served, browser, axe(folder / "npm"), kafka, reader)
            shift.stream_is_at(0.5)
            yield shift
    Topics(servers.kafka_bootstrap, kafka.topic_prefix).remove()


@pytest.fixture
def page(shift: Shift) -> Iterator[Page]:
    """The status page, open; the browser must have nothing to complain about."""
    with looking(shift) as page:
        yield page


@contextmanager
def looking(shift: Shift, **options: Any) -> Iterator[Page]:
    context: BrowserContext = shift.browser.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(HASTE)
    page.goto(shift.url)
    yield page
    context.close()
    assert [line for line in complaints if "the server responded with a status of 4" not in line] == []


def settle(page: Page) -> None:
    """Lets what is under way in the page come to its end."""
    page.wait_for_load_state("networkidle")


def test_it_shows_queues_conversions_lag_and_runs(shift: Shift, page: Page) -> None:
    shift.stream_is_at(0.5)
    expect(page).to_have_title(re.compile("leadstream"))
    expect(page.locator("#queue-unsigned_users .value")).to_have_text("1")
    expect(page.locator("#queue-requirements_outstanding .value")).to_have_text("1")
    expect(page.locator("#new-users-outcome")).to_contain_text("done")
    expect(page.locator("#new-users-when")).to_contain_text("next at")
    expect(page.locator("#lag-lanes .value")).to_contain_text(re.compile(r"[\d.]+ (s|min)"))
    expect(page.locator("#clock")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    expect(page.locator("footer")).to_contain_text(f"leadstream {release()}")
    assert "user_id" not in page.content()


def test_a_conversion_appears_without_the_page_being_loaded_anew(shift: Shift, page: Page) -> None:
    page.evaluate("window.loadedOnce = true")
    before = int(page.locator("#won-today .big").inner_text())
    shift.convert(501)
    expect(page.locator("#won-today .big")).to_have_text(str(before + 1))
    expect(page.locator("#won-chart rect[height]").first).to_be_attached()
    expect(page.locator("#won-chart figcaption")).to_contain_text(f"{before + 1} conversion")
    assert page.evaluate("window.loadedOnce") is True


def test_the_worst_lag_of_hours_and_days_appears_without_the_page_being_loaded_anew(shift: Shift, page: Page) -> None:
    page.get_by_text("Lag today, hour by hour").click()
    page.get_by_text("Lag of seven days, day by day").click()
    shift.world.pg("INSERT INTO leadstream.lags VALUES (now() - interval '3 days', 4000), (now(), 4001)")
    expect(page.locator("#lag-lanes")).to_contain_text("today at worst 1 h 6 min")
    expect(page.locator("#lag-hours")).to_contain_text("1 h 6 min (very late)")
    expect(page.locator("#lag-days tr")).to_have_count(2)
    shift.world.pg("DELETE FROM leadstream.lags")


def test_a_paused_or_hidden_page_asks_nothing_and_catches_up_afterwards(shift: Shift, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    pause = page.get_by_role("button", name="Pause updates")
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    settle(page)
    asked.clear()
    page.wait_for_timeout(4 * UPDATE)
    assert asked == []
    with page.expect_request(shift.url):
        pause.click()
    expect(pause).to_have_attribute("aria-pressed", "false")

    show = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    event = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(show % "true" + event)
    settle(page)
    asked.clear()
    page.wait_for_timeout(4 * UPDATE)
    assert asked == []
    with page.expect_request(shift.url):
        page.evaluate(show % "false" + event)


def test_the_search_explains_a_customer_in_the_words_of_explain(shift: Shift, page: Page) -> None:
    page.get_by_label("Customer").fill(" #2 ")
    page.get_by_role("button", name="Explain").click()
    expect(page).to_have_url(f"{shift.url}customers/2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Customer 2")
    told = shift.served.get("/leads/2").json()["sentences"]
    text = page.get_by_role("main").inner_text()
    shown = [for_people(sentence, LONDON) for sentence in told if not sentence.startswith("MySQL, read at")]
    assert [sentence for sentence in shown if sentence not in text] == []
    assert "in the queue “Owe documents”" in text
    assert " UTC" not in text
    assert "says the same" in text


def test_a_customer_is_read_live_by_a_button_with_the_token(shift: Shift, page: Page) -> None:
    page.goto(f"{shift.url}customers/2")
    page.get_by_role("button", name="Read live").click()
    page.get_by_label("Token").fill("wrong")
    page.get_by_label("Token").press("Enter")
    expect(page.locator("#result")).to_contain_text("That token is wrong")
    page.get_by_role("button", name="Read live").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    expect(page.locator("#result")).to_contain_text("Queued")
    shift.world.pg("DELETE FROM leadstream.rechecks")


def test_a_token_that_may_only_read_is_forgotten_so_that_another_can_be_entered(shift: Shift) -> None:
    says = {"detail": "the token of anna may read only; runs take one that may run"}
    with shift.browser.new_context() as context:
        page = context.new_page()
        page.route("**/v1/**", lambda route: route.fulfill(status=403, json=says))
        page.goto(f"{shift.url}customers/2")
        for _ in range(2):
            page.get_by_role("button", name="Read live").click()
            page.get_by_label("Token").fill("reads")
            page.get_by_label("Token").press("Enter")
            expect(page.locator("#result")).to_contain_text("may read only")


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [("99", 404, "There is no user 99 in MySQL"), ("x", 422, "a number such as 8911"), ("8,9-11", 422, "a number")],
)
def test_the_search_says_what_is_wrong(shift: Shift, page: Page, asked: str, status: int, said: str) -> None:
    page.get_by_label("Customer").fill(asked)
    with page.expect_response(lambda response: response.status == status):
        page.get_by_label("Customer").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_label("Customer")).to_be_focused()
    expect(page.get_by_label("Customer")).to_have_value(asked)


def test_a_sweep_runs_with_the_right_token_only_and_the_tab_remembers_it(shift: Shift, page: Page) -> None:
    run = page.get_by_role("button", name="Run Rechecks now")
    told = page.locator("#result")
    run.click()
    page.get_by_label("Token").fill("wrong")
    page.get_by_label("Token").press("Enter")
    expect(told).to_contain_text("That token is wrong")
    assert page.evaluate("sessionStorage.length") == 0
    run.click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    expect(told).to_contain_text("Rechecks is done: 0 checked, nothing to repair.")
    expect(page.locator("#rechecks-outcome")).to_contain_text("done")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    run.click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(told).to_contain_text("Rechecks is done")


def test_a_sweep_under_way_is_seen_and_cannot_be_started_again(shift: Shift, page: Page) -> None:
    button = page.get_by_role("button", name="Run Documents now")
    expect(button).not_to_have_attribute("aria-disabled", "true")
    shift.world.pg(
        "INSERT INTO leadstream.runs (name, started_at, outcome) VALUES ('requirements-conversions', now(), 'running')"
    )
    expect(page.locator("#requirements-conversions-outcome")).to_contain_text("running")
    expect(page.locator("#requirements-conversions-when")).to_contain_text(re.compile(r"for [\d.]+ s"))
    expect(button).to_have_attribute("aria-disabled", "true")
    button.click(force=True)
    expect(page.get_by_role("dialog")).to_be_hidden()
    shift.world.pg("DELETE FROM leadstream.runs WHERE outcome = 'running'")
    expect(button).not_to_have_attribute("aria-disabled", "true")


def test_everything_is_reached_and_done_by_keyboard(shift: Shift, page: Page) -> None:
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    reached = []
    latest = page.locator("#latest a").all_inner_texts()
    name = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"
    for _ in range(40):
        keys.press("Tab")
        reached.append(" ".join(page.evaluate(name).split()))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if reached[-1] == "Run New users now":
            break
    assert reached == [
        "Pause updates", "Have not signed", "1", "Owe documents", "2",
        "In no queue", "Conversions today", "By hour, as a table", "Day by day, as a table",
        "By agent, as a table", "Signed",
        "Handed in the last document", "In seven days", *latest, "Dead letters", "Lane by lane",
        "Lag today, hour by hour", "Lag of seven days, day by day", "Drift found today",
        "Repaired today", "Rechecks waiting", "Leads refused", "Run New users now",
    ]  # fmt: skip
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Run “New users”")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Run New users now")).to_be_focused()
    for _ in range(2):
        with page.expect_response(shift.url):
            pass
    expect(page.get_by_role("button", name="Run New users now")).to_be_focused()


TOO_WIDE = (
    "document.documentElement.scrollWidth <= 360 ? [] : [...document.querySelectorAll('body *')]"
    ".filter(e => e.getBoundingClientRect().right > 360).map(e => e.outerHTML.slice(0, 200))"
)


@pytest.fixture(params=[0, 100_000, 10_000_000], ids=["at the present", "a day behind", "months behind"])
def late_shift(shift: Shift, request: pytest.FixtureRequest) -> Iterator[Shift]:
    """One whose stream is so many seconds behind, with much that waits."""
    if not request.param:
        yield shift
        return
    shift.reader.seconds_behind, shift.reader.next_seqs = request.param, [1_000_000_000] * LANES
    shift.stream_is_at(request.param)
    yield shift
    shift.reader.seconds_behind, shift.reader.next_seqs = 0.5, [1] * LANES
    shift.stream_is_at(0.5)
    with looking(shift) as page:
        expect(page.locator("#status")).not_to_contain_text("behind")
    shift.world.pg("DELETE FROM leadstream.lags")


def test_a_phone_shows_everything_without_scrolling_sideways(late_shift: Shift) -> None:
    shift = late_shift
    with looking(shift, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as page:
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate(TOO_WIDE) == []
        small = page.evaluate(
            "[...document.querySelectorAll('button, input, summary')].filter(e => e.offsetHeight)"
            ".filter(e => e.offsetHeight < 24 || e.offsetWidth < 24).map(e => e.outerHTML)"
        )
        assert small == []
        for path in ("customers/2", "lists/none", "lists/conversions?days=week", "dead-letters", "docs"):
            page.goto(f"{shift.url}{path}")
            for summary in page.locator("summary").all():
                summary.click()
            assert page.evaluate(TOO_WIDE) == [], path


def test_dark_mode_is_dark_and_reduced_motion_is_still(shift: Shift) -> None:
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    with looking(shift, color_scheme="dark", reduced_motion="reduce") as page:
        assert max(page.evaluate(brightness)) < 64
        number = page.locator("#won-today .big").inner_text()
        shift.convert(502)
        expect(page.locator("#won-today .big")).not_to_have_text(number)
        moving = "document.getAnimations().length"
        assert page.evaluate(moving) == 0
    with looking(shift, color_scheme="light") as page:
        assert min(page.evaluate(brightness)) > 192


def test_a_screen_reader_finds_landmarks_headings_captions_and_names(shift: Shift, page: Page) -> None:
    for role in ("banner", "search", "main"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    assert headings == ["Queues now", "Conversions today", "Lag", "Safety net", "Processes"]
    assert page.evaluate("[...document.querySelectorAll('table')].every(table => table.caption)")
    runs = page.get_by_role("table", name="The last run of each sweep")
    expect(runs.get_by_role("rowheader").first).to_contain_text("New users")
    nameless = (
        "[...document.querySelectorAll('button, input, a')].filter(e => !e.closest('dialog'))"
        ".filter(e => !(e.ariaLabel || e.innerText.trim() || e.labels?.length))"
    )
    assert page.evaluate(f"{nameless}.length") == 0
    expect(page.locator("#status")).to_have_attribute("aria-live", "polite")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(shift: Shift, scheme: str) -> None:
    if shift.axe is None:
        pytest.skip("npm cannot install axe-core here")
    with looking(shift, color_scheme=scheme, bypass_csp=True) as page:
        for summary in page.locator("summary").all():
            summary.click()
        assert violations(page, shift.axe) == []
        page.get_by_role("button", name="Run New users now").click()
        assert violations(page, shift.axe) == []
        page.goto(f"{shift.url}customers/2")
        assert violations(page, shift.axe) == []
        for path in ("customers/x", "lists/none", "lists/conversions?days=week", "lists/x", "dead-letters", "docs"):
            page.goto(f"{shift.url}{path}")
            assert violations(page, shift.axe) == [], path


def violations(page: Page, source: str) -> list[str]:
    """What axe-core finds: rule, place and what is the matter."""
    page.evaluate(source)
    found = page.evaluate("axe.run()")["violations"]
    return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


def test_late_lanes_are_told_in_words(shift: Shift, page: Page) -> None:
    shift.stream_is_at(400)
    expect(page.locator("#headline")).to_contain_text("Degraded: every lane is 6 min behind")
    expect(page.locator("#status")).to_contain_text("Every lane is 6 min behind: look at consumer read")
    page.get_by_text("Lane by lane").click()
    expect(page.locator("#lanes tr").first).to_contain_text("(very late)")
    shift.stream_is_at(0.5)
    expect(page.locator("#status")).not_to_contain_text("behind")


def test_dead_letters_and_the_readers_lag_are_shown(shift: Shift, page: Page) -> None:
    shift.reader.seconds_behind, shift.reader.next_seqs = 7200.0, [8] * LANES
    topic = f"{shift.kafka.topic_prefix}.users"
    with connect(shift.world.postgres_url, "a test") as session:
        add(session, [dead_letter(topic, 0, 7, "undecodable", "no JSON", None, Content(b"1", b"{"))])
    expect(page.locator("#letters .value")).to_contain_text("1")
    expect(page.locator("#status")).to_contain_text("consumer read is 2 h")
    expect(page.locator("#lag-reader .value")).to_contain_text("2 h")
    expect(page.locator("#status")).to_contain_text("1 message could not be applied; see consumer dead-letters list.")
    page.get_by_text("Lane by lane").click()
    expect(page.locator("#lanes tr").first).to_contain_text("7")
    shift.reader.seconds_behind, shift.reader.next_seqs = 0.5, [1] * LANES


def test_a_dead_letter_is_discarded_on_its_page(shift: Shift, page: Page) -> None:
    topic = f"{shift.kafka.topic_prefix}.claims"
    with connect(shift.world.postgres_url, "a test") as session:
        add(session, [dead_letter(topic, 0, 9, "undecodable", "no JSON", None, Content(None, b"{"))])
        session.commit()
    page.goto(shift.url)
    page.get_by_role("link", name="Dead letters").click()
    row = page.get_by_role("row").filter(has_text="offset 9")
    expect(row).to_contain_text("nobody")
    row.get_by_role("button", name="Discard").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#result")).to_contain_text("is discarded")
    expect(row).to_have_count(0)


def test_processes_tell_their_version_age_and_memory(shift: Shift, page: Page) -> None:
    told = "INSERT INTO leadstream.processes VALUES ('applier', %s, '0.1.0', now() - interval '3 hours', 142000000, %s)"
    shift.world.pg("DELETE FROM leadstream.processes WHERE kind = 'applier'")
    shift.world.pg(told, "applier-1", datetime.now(UTC))
    shift.world.pg(told, "applier-2", datetime.now(UTC) - timedelta(minutes=5))
    shift.stream_is_at(0.5)
    rows = page.locator("#process-rows tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(0)).to_have_text(re.compile(r"reader .*reads.*\d MB"))
    expect(rows.nth(1)).to_have_text(re.compile(rf"applier applier-1.*applies {LANES} lanes.*0\.1\.0.*3 h.*142 MB"))
    expect(rows.nth(2)).to_have_text(re.compile(r"applier applier-2.*silent since \d\d:\d\d"))
    expect(rows.nth(3)).to_have_text(re.compile(r"reconciler .*serves this page.*[1-9]\d* MB"))
    assert shift.world.pg("SELECT count(*) FROM leadstream.processes WHERE kind = 'reconciler'") == [(1,)]
    shift.world.pg("DELETE FROM leadstream.processes WHERE kind = 'applier'")


def test_the_numbers_lead_to_who_is_meant(shift: Shift, page: Page) -> None:
    shift.convert(601, "1 s")
    page.goto(shift.url)
    expect(page.locator("#queue-unsigned_users")).to_contain_text("longest: 1, since")
    page.get_by_role("link", name="Have not signed").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Have not signed")
    expect(page.get_by_role("rowheader")).to_have_text(["1"])
    page.get_by_role("link", name="Status page").click()
    expect(page.locator("#latest li").first).to_contain_text("601 handed in the last document")
    page.get_by_role("link", name="Handed in the last document").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Handed in the last document today")
    page.get_by_role("link", name="Seven days").click()
    expect(page.get_by_role("rowheader").first).to_have_text("601")
    page.get_by_role("link", name="601").click()
    expect(page).to_have_url(f"{shift.url}customers/601")


def test_a_long_list_is_paged_and_leaves_nobody_out(shift: Shift, page: Page) -> None:
    shift.world.pg(
        "INSERT INTO leadstream.rechecks (user_id, reason, not_before)"
        " SELECT user_id, 'a test', now() + interval '1 day' FROM generate_series(2001, 2250) AS user_id"
    )
    page.goto(f"{shift.url}lists/rechecks")
    seen = page.get_by_role("rowheader").all_inner_texts()
    assert len(seen) == 100
    while (further := page.get_by_role("link", name="Next page")).count():
        further.click()
        expect(page.get_by_role("rowheader").first).not_to_have_text(seen[-100])
        seen += page.get_by_role("rowheader").all_inner_texts()
    assert seen == [str(user_id) for user_id in range(2001, 2251)]
    page.get_by_role("link", name="First page").click()
    expect(page.get_by_role("rowheader").first).to_have_text("2001")
    shift.world.pg("DELETE FROM leadstream.rechecks")


def test_drift_and_refused_leads_name_their_customers(shift: Shift) -> None:
    world = shift.world
    world.pg("UPDATE user_call_scores SET current_queue_type = 'none' WHERE user_id = 2")
    world.pg(
        "INSERT INTO leadstream.rechecks (user_id, reason, not_before) VALUES"
        " (77, 'PostgreSQL refused it with 23514', now() + interval '1 day'), (78, 'a test', now() + interval '1 day')"
    )
    assert shift.served.run("/verify", TOKEN, repair=True)["outcome"] == "ok"
    for name in ("drift", "repaired"):
        assert listed(shift, name) == ["2"]
    assert listed(shift, "refused") == ["77"]
    world.pg("DELETE FROM leadstream.rechecks")
    world.pg("DELETE FROM leadstream.runs WHERE name = 'verify'")


def listed(shift: Shift, name: str) -> list[str]:
    """Whom a list names."""
    return re.findall(r'<a href="/customers/(-?\d+)">', shift.served.get(f"/lists/{name}").text)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/lists/x", 404, "There is no such list"),
        ("/lists/none?after=x", 422, "no place in this list"),
        ("/lists/none?after=1.1.1.1", 422, "no place in this list"),
        ("/lists/conversions?days=week", 200, "Conversions, seven days"),
        ("/lists/signature_obtained", 200, "Nobody signed"),
        ("/dead-letters?after=9000", 200, "no further ones"),
    ],
)  # fmt: skip
def test_a_list_says_what_is_wrong_and_that_it_is_empty(shift: Shift, path: str, status: int, said: str) -> None:
    answer = shift.served.client.get(path)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_the_api_is_told_on_a_page_of_our_own(shift: Shift, page: Page) -> None:
    page.get_by_role("link", name="API").click()
    expect(page).to_have_url(f"{shift.url}docs")
    told = page.get_by_role("main").inner_text()
    paths = shift.served.get("/openapi.json").json()["paths"]
    assert [path for path in paths if path not in told] == []
    page.get_by_text("May the dialler call?").click()
    expect(page.get_by_text("for_call", exact=False).or_(page.get_by_text("as_of", exact=False)).first).to_be_visible()


def test_today_is_postgresqls_day_whatever_our_own_clock_says(shift: Shift) -> None:
    world = shift.world
    world.pg(
        "INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at,"
        " closed_reason, conversion_type) VALUES"
        " (701, 1, 'unsigned_users', '2031-06-01', 'first_seen', '2031-07-01 23:10:00+00', 'x', 'signature_obtained'),"
        " (702, 1, 'unsigned_users', '2031-06-01', 'first_seen', '2031-07-01 22:50:00+00', 'x', 'signature_obtained')"
    )
    with clock_says(world, datetime(2031, 7, 1, 23, 30, tzinfo=UTC)) as postgres:
        found = look(postgres, LONDON)
    world.pg("DELETE FROM leadstream.stints WHERE user_id IN (701, 702)")
    assert found.seen_at == datetime(2031, 7, 1, 23, 30, tzinfo=UTC)
    assert (found.days.today, found.days.yesterday) == ({0: 1}, {23: 1})


def test_a_page_that_lost_its_server_says_since_when(shift: Shift) -> None:
    context = shift.browser.new_context()
    page = context.new_page()
    page.add_init_script(HASTE)
    page.goto(shift.url)
    context.set_offline(True)
    expect(page.locator("#lost")).to_contain_text(re.compile(r"connection is lost since \d\d:\d\d:\d\d"))
    context.set_offline(False)
    expect(page.locator("#lost")).to_be_hidden()
    context.close()


def test_pages_allow_nothing_inline_and_files_are_kept(shift: Shift) -> None:
    status = shift.served.get("/")
    assert "script-src 'self'" in status.headers["content-security-policy"]
    assert "unsafe" not in status.headers["content-security-policy"]
    assert status.headers["cache-control"] == "no-store"
    (style,) = re.findall(r'href="(/static/\w+/page\.css)"', status.text)
    assert "max-age" in shift.served.get(style).headers["cache-control"]
    assert shift.served.get("/static/0/page.css").status_code == 404
    assert shift.served.get("/leads/2").headers["content-security-policy"].startswith("default-src 'none'")


def test_a_page_view_reads_no_table_from_end_to_end(shift: Shift) -> None:
    world = shift.world
    world.pg(
        "INSERT INTO leadstream.runs (name, started_at, outcome)"
        " SELECT 'rechecks', now() - interval '9 days', 'ok' FROM generate_series(1, 5000)"
    )
    world.pg(
        "INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at)"
        " SELECT user_id, 1, 'none', now(), 'first_seen', now() FROM generate_series(100000, 105000) AS user_id"
    )
    world.pg("ANALYZE leadstream.runs, leadstream.stints")
    moments = calendar(datetime.now(UTC), ZoneInfo("Europe/London"))
    names = list(RUN_NAMES)
    for statement, parameters in (
        (CONVERSIONS, {"zone": "Europe/London", **moments._asdict()}),
        (CONVERSIONS_BY_DAY, {"zone": "Europe/London", **moments._asdict()}),
        (LATEST, {"week": moments.week, "limit": 6}),
        (NEWEST, {"names": names, "any": False}), (TODAY, [names, moments.today]), (KINDS, [names, moments.today]),
    ):  # fmt: skip
        plan = "\n".join(line for (line,) in world.centre.execute("EXPLAIN " + statement, parameters))
        assert "Seq Scan" not in plan, plan


def test_before_anything_is_set_up_the_page_says_so(shift: Shift) -> None:
    name = f"fresh_{uuid.uuid4().hex[:8]}"
    world = shift.world
    world.pg(f"CREATE DATABASE {name}")
    url = urlsplit(world.postgres_url)._replace(path=f"/{name}").geturl()
    with serving(world, ready="/health/live", DATABASE_URL=url) as served:
        until(lambda: "consumer setup" in served.get("/").text, "it said what to do")
        status = served.get("/")
        assert status.status_code == 200
        assert "Nothing is known yet" in status.text
        assert served.get("/customers/1").status_code == 503
        assert "consumer setup" in served.get("/customers/1").text
    world.pg(f"DROP DATABASE {name} WITH (FORCE)")
