"""The routes: what a dialler, a person, an orchestrator and Prometheus may ask."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import psycopg
import structlog
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException as StarletteHTTPException

from consumer.explain import Explanation
from consumer.measures import exposition
from consumer.mysql.errors import SourceError
from consumer.process import release
from consumer.store.dead_letters import NoSuchDeadLetter
from consumer.store.errors import StoreError
from consumer.tuning import keep_what_is_there
from reconciler.monitor.kafka import StreamSeen
from reconciler.monitor.servers import ServerMonitor
from reconciler.names import STARTABLE
from reconciler.postgres import Postgres
from reconciler.runner import Jobs, NotAllowed
from reconciler.runs.repair import why
from reconciler.runs.report import as_dict
from reconciler.runs.run_log import AlreadyRunning, Record, Runs
from reconciler.runs.sweeps import Report
from reconciler.runs.wait_for_stream import Stopped
from reconciler.tokens import Tokens
from reconciler.web import conversions, dead_letters, models, problems
from reconciler.web.health import SmartDiscovery, smart_discovery
from reconciler.web.middleware import HEADERS, OPEN, READING, Door, Guard, Ways
from reconciler.web.models import Answers, SweepRequest, UserId, VerifyRequest
from reconciler.web.page.routes import TodayCache, add_pages
from reconciler.web.page.view_model import Policy
from reconciler.web.precall import NoAnswer, NoSuchQueue, Precall, PrecallService, UnknownUser
from reconciler.web.reads import Busy, Turns

log = structlog.get_logger(__name__)

NOBODY: Final = "no token is configured, so runs cannot be started here; set API_TOKEN or API_TOKENS_FILE"
WAIT_SECONDS: Final = 2.0
"""How long a request waits for the run it started; then it answers 202 and the run goes on."""
HEALTH_SECONDS: Final = 5.0
"""How long whoever asks for health waits for PostgreSQL; then it is what was seen last."""
RUNS_AT_ONCE: Final = len(STARTABLE) + 2

ABOUT: Final = """
The safety net of leadstream. `GET /v1/leads/{user_id}/precall` is for the dialler, `GET /v1/leads/{user_id}` for
people who ask why a customer is, or is not, in a queue, `GET /v1/conversions` for whoever pays by conversions. Starting
runs takes a token of `API_TOKENS_FILE`, or that of `API_TOKEN`. Errors are `application/problem+json` (RFC 9457).
"""

BEARER: Final = HTTPBearer(auto_error=False, description="A token of API_TOKENS_FILE, or that of API_TOKEN.")


def create_app(
    precalls: PrecallService,
    jobs: Jobs,
    monitor: ServerMonitor,
    tokens: Tokens,
    stream: Callable[[], StreamSeen],
    zone: str,
    hosts: Collection[str] | None = None,
    *,
    protect_reads: bool = False,
    grafana: str = "",
    runbook: str = "",
) -> FastAPI:
    """The API and the pages; it ends `precalls` and waits for the runs it started when it is shut down.

    `stream` is what is known of Kafka, `zone` the time zone of the pages; `hosts` and
    `protect_reads` are as `Door` takes them; `grafana` and `runbook` are addresses to link to.
    """
    pool = ThreadPoolExecutor(RUNS_AT_ONCE, "run")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await precalls.warm()
        gc.collect()
        keep_what_is_there()  # what is there by now stays: going through all of it again would hold up answers by 40 ms
        yield
        await asyncio.to_thread(pool.shutdown)
        await asyncio.to_thread(precalls.close)

    app = FastAPI(
        title="leadstream reconciler",
        version=release(),
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would lead to http:// and the name in Host, whatever stands before us
        lifespan=lifespan,
    )
    app.add_middleware(Ways)
    app.add_middleware(Door, tokens=tokens, hosts=hosts, protect_reads=protect_reads)
    app.add_middleware(Guard)
    _answer_errors(app)
    _leads(app, precalls)
    _health(app, jobs, monitor)
    by = _authorised(tokens)
    _runs(app, jobs, partial(_start, pool), by)
    routers = [dead_letters.router(jobs, by, _REFUSED), conversions.router(jobs)]
    for router in routers:
        app.include_router(router)
    settings = jobs.settings
    policy = Policy(
        ZoneInfo(zone),
        settings.sweeps.sweeps,
        settings.discovery.smart_discovery_enabled,
        tokens.may_run,
        settings.discovery.shadow_mode,
        grafana,
        runbook,
    )
    _complete(app, routers, protect_reads=protect_reads)
    add_pages(
        app,
        precalls,
        monitor,
        TodayCache(settings.database.conninfo, policy.zone),
        stream,
        lambda: replace(policy, token=tokens.may_run),
        settings.database.conninfo,
    )
    return app


def _complete(app: FastAPI, routers: Sequence[APIRouter], *, protect_reads: bool) -> None:
    """Has the OpenAPI document say what FastAPI leaves out: examples as they are, nulls included, how errors look, and
    that reads take a token where they do."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = generated()
        for route in (*app.routes, *(route for router in routers for route in router.routes)):
            if isinstance(route, APIRoute) and route.include_in_schema:
                for status, answer in route.responses.items():
                    for method in route.methods or ():
                        described = document["paths"][route.path][method.lower()]["responses"][str(status)]
                        for kind, media in answer.get("content", {}).items():
                            described["content"][kind].update(media)
        operations = (operation for methods in document["paths"].values() for operation in methods.values())
        for answer in (answer for operation in operations for answer in operation["responses"].values()):
            media = answer.get("content", {})
            if "application/json" in media and _is_problem(media["application/json"]):
                media[problems.KIND] = media.pop("application/json")
        if protect_reads:
            for path, methods in document["paths"].items():
                if "get" in methods and not path.startswith(OPEN):
                    methods["get"]["security"] = [{BEARER.scheme_name: []}]
                    methods["get"]["responses"]["401"] = _UNREAD
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _is_problem(media: dict[str, Any]) -> bool:
    """Whether answers are errors: by their schema, or, of a run that failed, by what it shows."""
    shown = [example["value"] for example in media.get("examples", {}).values()]
    return media.get("schema", {}).get("$ref", "").rpartition("/")[2] in ("Problem", "Wrong") or any(
        isinstance(example, dict) and str(example.get("type", "")).startswith("urn:") for example in shown
    )


def _answer_errors(app: FastAPI) -> None:
    """Errors that have a sentence of their own answer with it."""
    statuses: dict[type[Exception], tuple[int, str]] = {
        UnknownUser: (404, "unknown-user"),
        NoSuchQueue: (422, "unknown-queue"),
        NoSuchRun: (404, "unknown-run"),
        NoSuchDeadLetter: (404, "unknown-dead-letter"),
        NoAnswer: (503, "unavailable"),
        StoreError: (503, "unavailable"),
        SourceError: (503, "unavailable"),
        AlreadyRunning: (409, "already-running"),
        NotAllowed: (409, "not-allowed"),
        Stopped: (503, "unavailable"),
        Busy: (503, "unavailable"),
    }

    async def ours(_: Request, error: Exception) -> JSONResponse:
        status, kind = next(answer for cause, answer in statuses.items() if isinstance(error, cause))
        return problems.answer(status, str(error) or "the process is being stopped; ask again in a moment", kind)

    async def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)
        path, detail = request.url.path[:100], error.detail
        if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
            detail = f"there is nothing at {path}; /docs says what there is"
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            detail = f"{path} is not asked by {request.method}; ask by {allowed}"
        elif error.status_code == 400:
            detail = "the body cannot be read; send JSON in UTF-8"
        return problems.answer(error.status_code, detail, headers=error.headers)

    async def wrong(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = [{key: fault[key] for key in ("type", "loc", "msg")} for fault in error.errors()]
        for fault in errors:
            if fault["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
                fault["msg"] = "it is not said to be JSON; send Content-Type: application/json with it"
        return problems.answer(422, problems.sentence(errors), "invalid-request", errors=errors)

    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        detail = "an error that nobody foresaw; the log of reconciler serve has it"
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        headers["connection"] = "close"  # uvicorn hangs up behind such an error, which the client would not know
        return problems.answer(500, detail, headers=headers)

    for cause in statuses:
        app.add_exception_handler(cause, ours)
    app.add_exception_handler(StarletteHTTPException, plain)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_exception_handler(Exception, unforeseen)


def _leads(app: FastAPI, precalls: PrecallService) -> None:
    @app.get(
        "/v1/leads/{user_id}/precall",
        operation_id="checkBeforeCall",
        tags=["leads"],
        summary="May the dialler call?",
        responses={
            200: models.examples(live=models.PRECALL, without_the_replica=models.PRECALL_FROM_STATE),
            404: models.nobody(),
            422: models.wrong(models.WRONG),
            503: models.refusal(
                503,
                "Neither server answers, or PostgreSQL has not since the start, or it alone knows whom not to call.",
                "the replica does not answer, and PostgreSQL does not answer",
                "unavailable",
            ),
        },
    )
    async def precall(
        user_id: Annotated[UserId, Path()],
        expected: Annotated[
            str, Query(description="The queue that the dialler took the customer from: its label, or its name here.")
        ],
    ) -> Precall:
        """Where the customer belongs at this moment, read live from the replica within `PRECALL_DEADLINE_MS`.

        `queue_type` is the queue they belong in now, by our name, and `none` where they must not be called; `agrees`
        says whether that is the one asked about: where not, do not call. `because` says why in a sentence. `source`
        says where the answer is from: `replica`, or `state` (what we hold, or what agents see by a newer live read)
        where the replica did not answer in time, which `note` then says. `as_of` is the time of the data, null where
        nobody knows it. `drift` names what we hold otherwise than MySQL; where there is any, a recheck of the customer
        is queued (`recheck_queued`). Where PostgreSQL does not answer, nobody knows who must not be called: then no
        queue that is called agrees, and the answer is 503.
        """
        return await precalls.precall(user_id, expected)

    @app.get(
        "/v1/leads/{user_id}",
        operation_id="explainLead",
        tags=["leads"],
        summary="Why is this customer (not) in a queue?",
        responses={
            200: models.examples(a_customer=models.EXPLANATION),
            404: models.nobody(),
            422: models.wrong(models.WRONG_ID),
            503: models.silent(),
        },
    )
    async def lead(user_id: Annotated[UserId, Path()]) -> Explanation:
        """What we hold, the rule that decided, every stint and conversion, and what MySQL says now."""
        return await precalls.explain(user_id)


def _health(app: FastAPI, jobs: Jobs, monitor: ServerMonitor) -> None:
    turns = Turns("health", 1, HEALTH_SECONDS)

    @app.get("/healthz", include_in_schema=False)
    @app.get(
        "/health/live",
        operation_id="isAlive",
        tags=["health"],
        summary="Does the process answer?",
        responses={200: models.examples(alive={"status": "alive"})},
    )
    async def live() -> models.Alive:
        return models.Alive()

    @app.get(
        "/health/ready",
        operation_id="isReady",
        tags=["health"],
        summary="Can it work?",
        responses={
            200: models.examples(ready=models.READY),
            503: {"model": models.Readiness, "description": "Not now.", **models.examples(not_ready=models.NOT_READY)},
        },
    )
    async def ready(response: Response) -> models.Readiness:
        """Ready as long as PostgreSQL answers; without the replica, pre-call checks answer from what we hold."""
        seen = monitor.snapshot()
        response.status_code = 200 if seen.store_up else 503
        return models.Readiness(
            status="ready" if seen.store_up else "not ready",
            store="up" if seen.store_up else seen.store_error,
            replica="up" if seen.replica_up else seen.replica_error,
        )

    @app.get("/api/health/smart-discovery", include_in_schema=False)
    @app.get(
        "/health/smart-discovery",
        operation_id="showSmartDiscovery",
        tags=["health"],
        summary="When sweeps ran, and what was found",
    )
    async def discovery() -> SmartDiscovery:
        """When each sweep last ran with success, and what was found lately by the stream and the sweeps together."""
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await turns.read(partial(_look_at_runs, monitor, jobs))
        except TimeoutError:
            log.warning("health_outdated", reason=f"PostgreSQL has not answered for {HEALTH_SECONDS:g} s")
        except (Busy, StoreError, psycopg.Error) as error:
            log.warning("health_outdated", reason=why(error))
        return smart_discovery(monitor.snapshot())

    @app.get("/metrics", operation_id="showMetrics", tags=["health"], summary="For Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


def _look_at_runs(monitor: ServerMonitor, jobs: Jobs) -> None:
    with closing(Postgres(jobs.settings.database.conninfo, answer_seconds=1.0)) as postgres:
        monitor.look_at_runs(postgres)


class NoSuchRun(Exception):
    """A name that no run has."""


def failed(report: dict[str, Any]) -> dict[str, Any]:
    """The report of a run that failed, as an error."""
    return problems.problem(502, str(report["error"] or "its report says why"), "run-failed") | report


async def _start(pool: ThreadPoolExecutor, name: str, work: Callable[[], Report]) -> JSONResponse:
    """A run in a thread of its own: 200 with the report of one that ended in a little while, else 202.

    Raises what the run raised until then.
    """
    run = asyncio.get_running_loop().run_in_executor(pool, work)
    run.add_done_callback(lambda done: _log_refusal(name, done))
    await asyncio.wait({run}, timeout=WAIT_SECONDS)
    if run.done():
        report = as_dict(run.result())
        if report["outcome"] != "failed":
            return JSONResponse(report)
        return JSONResponse(failed(report), 502, media_type=problems.KIND)
    return JSONResponse({"detail": f"{name} is under way; GET /v1/runs tells how it ends"}, 202)


def _log_refusal(name: str, done: asyncio.Future[Report]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        log.warning("run_refused", run=name, reason=why(error))


def _authorised(tokens: Tokens) -> Any:
    """The dependency that gives the name of a caller who may run things, and refuses others."""

    async def authorised(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> str:
        """The caller's name."""
        if not tokens.may_run:
            raise HTTPException(403, NOBODY)
        caller = tokens.caller(given.credentials if given else None)
        if caller is not None and not caller.may_run:
            raise HTTPException(403, f"the token of {caller.name} may read only; runs take one that may run")
        if caller is None:
            raise HTTPException(
                401, "the token is missing or wrong; send Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
            )
        return caller.name

    return Depends(authorised)


def _runs(
    app: FastAPI, jobs: Jobs, start: Callable[[str, Callable[[], Report]], Awaitable[JSONResponse]], by: Any
) -> None:
    answers: Answers = {
        200: {"description": "The run has ended.", **models.examples(ended=models.REPORT)},
        202: models.accepted("The run is under way.", "new-users is under way; GET /v1/runs tells how it ends"),
        **_REFUSED,
        422: models.wrong(models.WRONG_BODY),
        502: {
            "description": "The run has failed; its report says why.",
            **models.examples(failed=failed(models.FAILED)),
        },
        503: models.silent(),
    }

    @app.post(
        "/v1/sweeps/{name}",
        operation_id="runSweep",
        tags=["runs"],
        summary="Run a sweep now",
        responses={
            **answers,
            404: models.refusal(
                404, "There is no such run.", f"there is no run x; there are {', '.join(STARTABLE)}", "unknown-run"
            ),
        },
        response_model=None,
    )
    async def sweep(
        name: Annotated[str, Path(description=f"One of {', '.join(STARTABLE)}.")],
        request: Annotated[SweepRequest, Body(default_factory=SweepRequest)],
        caller: str = by,
    ) -> JSONResponse:
        """Runs a sweep, or the rechecks that are due; never two of the same name at once."""
        if name not in STARTABLE:
            raise NoSuchRun(f"there is no run {name[:40]}; there are {', '.join(STARTABLE)}")
        jobs.allow(name)
        return await start(name, lambda: jobs.sweep(name, request.scope, dry_run=request.dry_run, by=caller))

    @app.post(
        "/v1/leads/{user_id}/recheck",
        operation_id="recheckLead",
        tags=["leads"],
        summary="Read this customer live",
        status_code=202,
        responses={
            202: models.accepted("The customer is queued.", models.QUEUED),
            **{code: answers[code] for code in (401, 403, 409)},
            422: models.wrong(models.WRONG_ID),
            503: models.silent(),
        },
        response_model=None,
    )
    async def recheck(user_id: Annotated[UserId, Path()], caller: str = by) -> JSONResponse:
        """Queues the customer for the next rechecks, which compare with MySQL and repair what differs."""
        await asyncio.to_thread(jobs.recheck, user_id, caller)
        return JSONResponse({"detail": models.QUEUED}, 202)

    @app.post(
        "/v1/verify",
        operation_id="runVerify",
        tags=["runs"],
        summary="Compare every user with MySQL",
        responses=answers,
        response_model=None,
    )
    async def verify(
        request: Annotated[VerifyRequest, Body(default_factory=VerifyRequest)], caller: str = by
    ) -> JSONResponse:
        """Compares everybody, or a sample; with `repair` it repairs what differs."""
        jobs.allow("verify")
        return await start("verify", lambda: jobs.verify(repair=request.repair, sample=request.sample, by=caller))

    @app.get(
        "/v1/runs",
        operation_id="listRuns",
        tags=["runs"],
        summary="The newest run of each name",
        responses={
            200: models.examples(after_the_first_sweep=models.RUNS),
            503: models.silent(),
        },
    )
    def runs() -> list[Record]:
        """Those under way and those that ended, however they were started."""
        with closing(Postgres(jobs.settings.database.conninfo, answer_seconds=5.0)) as postgres:
            return Runs(postgres).newest(whole=False)


_UNREAD: Final = {
    "description": "No token, or the wrong one.",
    "content": {
        problems.KIND: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "example": problems.problem(401, READING),
        }
    },
}
_REFUSED: Final[Answers] = {
    401: models.refusal(
        401, "No token, or the wrong one.", "the token is missing or wrong; send Authorization: Bearer …"
    ),
    403: models.refusal(403, "No token is configured, or it may only read.", NOBODY),
    409: models.refusal(
        409,
        "It cannot run now.",
        "new-users is running already since 2026-03-02 09:00:00 UTC; wait for it to end",
        "already-running",
    ),
}
