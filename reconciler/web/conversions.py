"""Conversions over HTTP, for whoever pays or counts by them: every one once, in an order that only grows at its end."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, Field

from consumer.store import conversion_events, lookups
from consumer.store.conversion_events import Recorded, as_data
from reconciler.postgres import Postgres
from reconciler.runner import Jobs
from reconciler.runs import attribution
from reconciler.runs.attribution import Earned
from reconciler.web import models
from reconciler.web.reads import Turns

LISTED: Final = 100
MOST: Final = 1000
AT_ONCE: Final = 4
"""Sessions with PostgreSQL at the most, however many ask."""
ANSWER_SECONDS: Final = 5.0

EXAMPLE: Final[models.Example] = {
    "conversions": [
        {
            "id": "34c8aa51-79df-51a1-b705-b24b2cdf5438",
            "user_id": 8911,
            "conversion_type": "signature_obtained",
            "previous_queue_type": "unsigned_users",
            "queued_at": "2026-03-01T00:00:00.000000Z",
            "converted_at": "2026-03-01T01:30:00.000000Z",
            "signature_file_id": "70112",
            "stint": 1,
            "cursor": "1772328601250001",
        }
    ],
    "next": "1772328601250001",
    "more": False,
}


BY_AGENT: Final[models.Example] = {
    "agents": [
        {"agent_id": 7, "primary": {"signature_obtained": 12, "requirements_completed": 3}, "contributed": 2},
        {"agent_id": None, "primary": {"signature_obtained": 4}, "contributed": 0},
    ]
}


class Conversion(BaseModel):
    """A conversion."""

    id: str = Field(description="Its own for ever: that of its row in `conversions`, and of its CloudEvent.")
    user_id: int
    conversion_type: str = Field(description="`signature_obtained` or `requirements_completed`.")
    previous_queue_type: str = Field(description="The queue that it ended the stay in, by its name here.")
    queued_at: str = Field(description="When the customer came into that queue.")
    converted_at: str = Field(description="When the change that earned it was committed in MySQL.")
    signature_file_id: str | None = Field(description="Of `signature_obtained`: `current_signature_file_id`.")
    stint: int = Field(description="The number of that stay in a queue, counted for each customer from 1.")
    cursor: str = Field(description="Its place in the order.")


class Agent(BaseModel):
    """An agent's conversions."""

    agent_id: int | None
    primary: dict[str, int] = Field(description="By type, those that are this agent's.")
    contributed: int = Field(description="To how many others this agent contributed.")


class ByAgent(BaseModel):
    """Conversions by agent, those with the most first."""

    agents: list[Agent]


class Conversions(BaseModel):
    """A page of conversions."""

    conversions: list[Conversion]
    next: str = Field(description="What to give as `after` next time: now where there are `more`, else later.")
    more: bool


def page(conninfo: str, after: int, limit: int, *, writes: bool) -> tuple[list[Recorded], bool]:
    """Conversions behind a cursor, and whether there are more; `writes`: others may be numbered. Raises StoreError."""
    with closing(Postgres(conninfo, answer_seconds=ANSWER_SECONDS)) as postgres, postgres.session() as connection:
        found = conversion_events.after(connection, after, limit + 1)
        while writes and len(found) <= limit and conversion_events.number(connection):
            found = conversion_events.after(connection, after, limit + 1)
    return found[:limit], len(found) > limit


def _by_agent(conninfo: str, begin: datetime, end: datetime) -> list[Earned]:
    with closing(Postgres(conninfo, answer_seconds=ANSWER_SECONDS)) as postgres, postgres.session() as connection:
        return attribution.by_agent(connection, begin, end) if lookups.has_centre(connection) else []


def router(jobs: Jobs) -> APIRouter:
    """The routes."""
    answers: models.Answers = {422: models.wrong(models.WRONG_CURSOR), 503: models.silent()}
    routes = APIRouter(tags=["conversions"], responses=answers)
    settings = jobs.settings
    turns = Turns("conversions", AT_ONCE, ANSWER_SECONDS)

    @routes.get(
        "/v1/conversions",
        operation_id="listConversions",
        summary="Every conversion once, in order",
        responses={200: {"content": models.shown(EXAMPLE)}},
    )
    async def conversions(
        after: Annotated[
            str, Query(pattern="^[0-9]{1,18}$", description="`next` of the answer before; 0: from the first one on.")
        ] = "0",
        limit: Annotated[int, Query(ge=1, le=MOST, description="How many at most.")] = LISTED,
    ) -> Conversions:
        """Those behind a cursor. What is recorded later comes later, however long its transaction took, so whoever
        keeps `next` and asks on from there gets every conversion once; after a restore of our schema those of its last
        stretch may come again, with the same id.

        In SHADOW_MODE there are none: what is recorded then comes when the cut-over publishes it. Whoever has no tables
        of a call centre gets the same as others.
        """
        writes = settings.discovery.smart_discovery_enabled
        work = partial(page, settings.database.conninfo, int(after), limit, writes=writes)
        found, more = await turns.read(work)
        listed = [Conversion.model_validate(as_data(one)) for one in found]
        return Conversions(conversions=listed, next=listed[-1].cursor if listed else str(int(after)), more=more)

    @routes.get(
        "/v1/conversions/by-agent",
        operation_id="countConversionsByAgent",
        summary="Whose calls earned how many",
        responses={200: {"content": models.shown(BY_AGENT)}},
    )
    async def by_agent(
        begin: Annotated[AwareDatetime, Query(alias="from", description="From when on.")],
        end: Annotated[AwareDatetime, Query(alias="to", description="Until when, itself not included.")],
    ) -> ByAgent:
        """Conversions of a time by the agents whose calls earned them, whoever noted it; `agent_id` null: nobody has.

        Without tables of a call centre there are none.
        """
        if end < begin:
            wrong = {"type": "value_error", "loc": ("query", "to"), "msg": "Value error, it is before from"}
            raise RequestValidationError([wrong])
        found = await turns.read(partial(_by_agent, settings.database.conninfo, begin, end))
        return ByAgent(agents=[Agent.model_validate(one._asdict()) for one in found])

    return routes
