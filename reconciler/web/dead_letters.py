"""Dead letters over HTTP: what could not be applied, listed, retried and discarded as `consumer dead-letters` does."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query

from consumer.store import dead_letters
from consumer.store.dead_letters import Unresolved
from reconciler.postgres import Postgres
from reconciler.runner import Jobs
from reconciler.web import models
from reconciler.web.models import Answers, Resolved

LISTED: Final = 200
"""Dead letters on one page, and in one answer where nobody asks for more."""
ANSWER_SECONDS: Final = 5.0
Number = Annotated[int, Path(ge=1, lt=2**63, description="Its number, as the list has it.")]


def listed(conninfo: str, limit: int = LISTED, after: int = 0) -> list[Unresolved]:
    """Those of the numbers above `after` that nobody has resolved, oldest first. Raises StoreError."""
    with closing(Postgres(conninfo, answer_seconds=ANSWER_SECONDS)) as postgres, postgres.session() as connection:
        return dead_letters.unresolved(connection, limit, after)


def router(jobs: Jobs, by: Any, refusals: Answers) -> APIRouter:
    """The routes; `by` is the dependency that says who resolves, `refusals` how it answers whom it does not let."""
    answers: Answers = {422: models.wrong(models.WRONG_ID), 503: models.silent()}
    routes = APIRouter(tags=["dead letters"], responses=answers)
    gone = "There is no such dead letter, or somebody has resolved it."
    resolving: Answers = {
        200: {"content": models.shown(models.RETRIED)},
        404: models.refusal(404, gone, models.NO_DEAD_LETTER, "unknown-dead-letter"),
        **refusals,
    }

    @routes.get(
        "/v1/dead-letters",
        operation_id="listDeadLetters",
        summary="Messages that could not be applied",
        responses={200: {"content": models.shown(models.DEAD_LETTERS)}},
    )
    def unresolved(limit: int = Query(LISTED, ge=1, le=10_000)) -> list[Unresolved]:
        """Those that nobody has resolved, oldest first, without their bytes."""
        return listed(jobs.settings.database.conninfo, limit)

    @routes.post(
        "/v1/dead-letters/{number}/retry",
        operation_id="retryDeadLetter",
        summary="Read its customer live",
        responses=resolving,
    )
    def retry(number: Number, caller: str = by) -> Resolved:
        """Queues its customer to be read live, and resolves it; one that names no customer stays."""
        return Resolved(resolved=jobs.retry_dead_letter(number, caller))

    @routes.post(
        "/v1/dead-letters/{number}/discard",
        operation_id="discardDeadLetter",
        summary="Resolve it without doing anything",
        responses=resolving,
    )
    def discard(number: Number, caller: str = by) -> Resolved:
        """Notes that nothing is left to be done about it."""
        jobs.discard_dead_letter(number, caller)
        return Resolved(resolved=True)

    return routes
