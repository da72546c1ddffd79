"""The pages for people: the status page at `/`, and one customer explained at `/customers/{id}`."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import structlog
from fastapi import FastAPI, Query, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from consumer.explain import Explanation
from consumer.measures import RECONCILER
from consumer.process import myself, release
from consumer.store.errors import NotPrepared, StoreError
from reconciler.monitor import today, week
from reconciler.monitor.kafka import StreamSeen
from reconciler.monitor.servers import ServerMonitor
from reconciler.monitor.today import Today
from reconciler.monitor.week import Week
from reconciler.mysql_statements import LARGEST
from reconciler.names import QUEUES
from reconciler.postgres import Postgres
from reconciler.runs.repair import why
from reconciler.web import dead_letters, lists, problems
from reconciler.web.page.api_reference import operations
from reconciler.web.page.list_page import list_page
from reconciler.web.page.status_page import CONVERSIONS, page
from reconciler.web.page.view_model import Facts, Policy, sentence
from reconciler.web.precall import PrecallService, UnknownUser
from reconciler.web.reads import Busy, Turns

log = structlog.get_logger(__name__)

FRESH_SECONDS: Final = 1.0
"""However many look at the page, PostgreSQL is asked once in so long."""
WEEK_FRESH_SECONDS: Final = 60.0
"""The same of what the page says of seven days, at the least."""
WEEK_WAIT_SECONDS: Final = 1.0
WEEK_ANSWER_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 2.0
HERE: Final = Path(__file__).parent
STATIC: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
WORDS: Final = {
    **{f"in {code}": f"in the queue “{title}”" for code, title in QUEUES.items()},
    **{f"a conversion, {code}": f"a conversion: the customer {words}" for code, words in CONVERSIONS},
}
"""Keys of ours in the words of people."""
OUTCOME: Final = re.compile(r"the last call ended with (\w+)")
"""How a call ended, which the call centre writes as a key."""


class StoreSeen(NamedTuple):
    """What the status page knows of PostgreSQL, None where it has never answered; `now` is by its clock."""

    now: datetime
    today: Today | None
    week: Week | None


@dataclass(frozen=True)
class Asset:
    """A static file."""

    content: bytes
    kind: str

    @cached_property
    def digest(self) -> str:
        """The name that changes with its content."""
        return sha256(self.content).hexdigest()[:12]


@dataclass(frozen=True)
class StintLine:
    """One stay in one queue, in a sentence; `converted` where it ended as a conversion."""

    sentence: str
    converted: bool


@dataclass(frozen=True)
class CustomerView:
    """An explanation in the order of the page: what is, the history, what else there is to say."""

    lead: str
    before: list[str]
    stints: list[StintLine]
    after: list[str]


def customer_view(explanation: Explanation, zone: ZoneInfo) -> CustomerView:
    """The sentences of `consumer explain`, all of them, in local time and people's words, with the stints apart."""
    sentences = [for_people(sentence, zone) for sentence in explanation.sentences]
    first = next((at for at, text in enumerate(sentences) if text.startswith("Stint ")), len(sentences))
    last = first + len(explanation.stints)
    stints = [
        StintLine(sentence, stint.conversion_type is not None)
        for sentence, stint in zip(sentences[first:last], explanation.stints, strict=True)
    ]
    return CustomerView(sentences[0], sentences[1:first], stints, sentences[last:])


def for_people(sentence: str, zone: ZoneInfo) -> str:
    """A sentence with the zone's times, and without keys that only programs know."""

    def local(found: re.Match[str]) -> str:
        moment = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).astimezone(zone)
        return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname()}"

    sentence = MOMENT.sub(local, sentence)
    for code, words in WORDS.items():
        sentence = re.sub(rf"{re.escape(code)}\b", words, sentence)
    return OUTCOME.sub(lambda found: f"the last call ended with “{found[1].replace('_', ' ')}”", sentence)


class TodayCache:
    """The newest look at PostgreSQL, kept a moment, so that a page that many look at costs what one costs."""

    def __init__(self, conninfo: str, zone: ZoneInfo) -> None:
        self._conninfo = conninfo
        self._zone = zone
        self._lock = threading.Lock()
        self._due = self._week_due = -inf
        self._newest: Today | None = None
        self._week: Week | None = None
        self._ahead = timedelta()
        """PostgreSQL's clock, less our own."""

    def newest(self) -> StoreSeen:
        """The newest that could be had, perhaps old: nobody waits for a look of others without end. Never raises."""
        if self._lock.acquire(timeout=FRESH_SECONDS):
            try:
                if time.monotonic() >= self._due:
                    self._look()
            finally:
                self._lock.release()
        return StoreSeen(datetime.now(UTC) + self._ahead, self._newest, self._week)

    def _look(self) -> None:
        try:
            with closing(Postgres(self._conninfo, answer_seconds=ANSWER_SECONDS)) as postgres:
                self._newest = today.look(postgres, self._zone)
            self._ahead = self._newest.seen_at - datetime.now(UTC)
            self._look_at_week()
        except (StoreError, psycopg.Error) as error:
            log.debug("page_outdated", reason=why(error))
        self._due = time.monotonic() + FRESH_SECONDS

    def _look_at_week(self) -> None:
        """Reads a whole table, beside whoever looks at the page, who waits but a little for it."""
        if time.monotonic() >= self._week_due:
            self._week_due = inf
            reading = threading.Thread(target=self._read_week, name="week", daemon=True)
            try:
                reading.start()
            except RuntimeError as error:  # no thread can be had at the moment
                log.warning("week_not_read", reason=str(error))
                self._week_due = time.monotonic() + WEEK_FRESH_SECONDS
                return
            reading.join(WEEK_WAIT_SECONDS)

    def _read_week(self) -> None:
        """So seldom that it takes a hundredth of the time, however large the table is."""
        began = time.monotonic()
        try:
            with closing(Postgres(self._conninfo, answer_seconds=WEEK_ANSWER_SECONDS)) as postgres:
                self._week = week.look(postgres, self._zone)
        except (StoreError, psycopg.Error) as error:
            log.warning("week_not_read", reason=why(error))
        finally:
            ended = time.monotonic()
            self._week_due = ended + max(WEEK_FRESH_SECONDS, 100 * (ended - began))


class Pages:
    """Templates and static files, read once."""

    def __init__(self, policy: Policy) -> None:
        files = [path for path in (HERE / "static").iterdir() if path.suffix in STATIC]
        self._assets = {path.name: Asset(path.read_bytes(), STATIC[path.suffix]) for path in files}
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["commands"] = commands
        self._templates.globals["links"] = [("Grafana", policy.grafana), ("Runbook", policy.runbook), ("API", "/docs")]
        self._templates.globals["version"] = release()
        self._templates.globals["asset"] = lambda name: f"/static/{self._assets[name].digest}/{name}"

    def html(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """A page."""
        text = self._templates.get_template(template).render(**values)
        return HTMLResponse(text, status)

    def asset(self, digest: str, name: str) -> Response:
        """A static file; browsers keep it, for another content has another address."""
        found = self._assets.get(name)
        if found is None or found.digest != digest:
            return problems.answer(404, f"there is no file {name[:40]} at this address; it is another release's")
        return Response(found.content, media_type=found.kind, headers={"cache-control": "public, max-age=31536000"})


def commands(sentence: str) -> Markup:
    """A sentence as HTML, with what stands between backticks as code."""
    parts = sentence.split("`")
    marked = (Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts))
    return Markup("").join(marked) if len(parts) % 2 else escape(sentence)


def add_pages(
    app: FastAPI,
    precalls: PrecallService,
    monitor: ServerMonitor,
    cache: TodayCache,
    stream: Callable[[], StreamSeen],
    policy: Callable[[], Policy],
    conninfo: str,
) -> None:
    """Adds the pages to the API; `policy` is asked each time, for tokens are renewed."""
    pages, zone, turns = Pages(policy()), policy().zone, Turns("lists", lists.AT_ONCE, lists.ANSWER_SECONDS)
    turns_at_letters = Turns("dead letters", 1, dead_letters.ANSWER_SECONDS)

    @app.get("/", include_in_schema=False)
    async def status() -> HTMLResponse:
        seen = await asyncio.to_thread(cache.newest)
        facts = Facts(seen.now, monitor.snapshot(), seen.today, stream(), policy(), seen.week, myself(RECONCILER))
        return pages.html("status.html", page=page(facts))

    @app.get("/customers", include_in_schema=False)
    async def search(user: str = "") -> Response:
        number = _user_id(user)
        if number is None:
            return _no_number(pages, user)
        return RedirectResponse(f"/customers/{number}", 303)

    @app.get("/customers/{user}", include_in_schema=False)
    async def customer(user: str) -> HTMLResponse:
        number = _user_id(user)
        if number is None:
            return _no_number(pages, user)
        title = f"Customer {number}"
        try:
            explanation = await precalls.explain(number)
        except UnknownUser as error:
            return pages.html("customer.html", 404, title=title, asked=number, wrong=sentence(str(error)))
        except StoreError as error:
            log.warning("customer_not_explained", reason=str(error))
            wrong = "PostgreSQL does not answer, so nothing can be said of any customer now. Try again in a moment."
            if isinstance(error, NotPrepared):
                wrong = sentence(str(error))
            return pages.html("customer.html", 503, title=title, asked=number, wrong=wrong)
        return pages.html(
            "customer.html",
            title=title,
            asked=number,
            view=customer_view(explanation, zone),
            startable=policy().may_start,
        )

    @app.get("/lists/{name}", include_in_schema=False)
    async def extract(name: str, days: str = "", after: str = "") -> HTMLResponse:
        kind = lists.KINDS.get(name)
        if kind is None:
            return _no_list(pages, f"There is no such list; there are {', '.join(lists.KINDS)}.", 404)
        span = days if kind.days and days == lists.SEVEN_DAYS else lists.SINCE_MIDNIGHT
        try:
            behind = lists.cursor(after)
        except ValueError:
            return _no_list(pages, "That is no place in this list. Begin at its first page.", 422)
        try:
            found = await turns.read(partial(lists.extract, conninfo, kind, zone, span, behind))
        except Busy:
            busy = _no_list(pages, "Many are looking at lists at the moment. Try again in a few seconds.", 503)
            busy.headers["retry-after"] = str(round(lists.ANSWER_SECONDS))
            return busy
        except (StoreError, psycopg.Error) as error:
            log.warning("list_not_shown", reason=why(error))
            return _no_list(pages, sentence(why(error)), 503)
        shown = list_page(name, kind, span, found, zone, is_first=behind is None)
        return pages.html("list.html", list=shown, title=shown.title)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return pages.html("docs.html", about=app.description, groups=operations(app.openapi()))

    @app.get("/dead-letters", include_in_schema=False)
    async def letters(after: int = Query(0, ge=0, le=LARGEST)) -> HTMLResponse:
        startable = policy().may_start
        try:
            found = await turns_at_letters.read(partial(dead_letters.listed, conninfo, dead_letters.LISTED + 1, after))
        except (Busy, StoreError) as error:
            wrong = sentence(str(error))
            return pages.html("dead_letters.html", 503, letters=[], wrong=wrong, startable=False)
        rows = [
            replace(letter, set_aside_at=letter.set_aside_at.astimezone(zone))
            for letter in found[: dead_letters.LISTED]
        ]
        further = rows[-1].number if len(found) > len(rows) else 0
        return pages.html("dead_letters.html", letters=rows, startable=startable, further=further, begun=after > 0)

    @app.get("/static/{digest}/{name}", include_in_schema=False)
    async def static(digest: str, name: str) -> Response:
        return pages.asset(digest, name)


def _no_list(pages: Pages, wrong: str, status: int) -> HTMLResponse:
    return pages.html("list.html", status, title="No list", problem=wrong)


def _user_id(text: str) -> int | None:
    """The id in a search field; blanks, commas and a leading # are what people paste along."""
    digits = text.strip().lstrip("#").replace(",", "").replace(" ", "")
    if not digits.isascii() or not digits.removeprefix("-").isdigit():
        return None
    number = int(digits[:21])
    return number if -LARGEST <= number <= LARGEST else None


def _no_number(pages: Pages, asked: str) -> HTMLResponse:
    wrong = "Give the customer's id in MySQL (users.id), a number such as 8911."
    return pages.html("customer.html", 422, title="That is no customer's id", asked=asked[:40], wrong=wrong)
