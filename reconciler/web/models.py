"""What requests bring, and what answers look like in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from consumer.store.runs import Window
from reconciler.postgres import microseconds
from reconciler.runs.repair import RunTally
from reconciler.runs.report import as_dict
from reconciler.runs.sweeps import Report, SweepScope
from reconciler.web.problems import problem, sentence

UserId = Annotated[int, Field(ge=-(2**63), lt=2**63, description="`users.id` in MySQL.")]
Example = dict[str, Any]
Answers = dict[int | str, dict[str, Any]]
"""How a route may answer, by status, as the OpenAPI document shows it."""


class SweepRequest(BaseModel):
    """What a sweep should look at instead of its usual window."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{}, {"hours_back": 24}, {"everyone": True, "dry_run": True}]}
    )

    since: AwareDatetime | None = Field(default=None, description="Begin of the window.")
    hours_back: float | None = Field(
        default=None, ge=0, le=876_000, description="Begin of the window, in hours before now."
    )
    everyone: bool = Field(default=False, description="Conversion sweeps: not only leads called lately.")
    dry_run: bool = Field(default=False, description="Find and confirm drift, but write nothing.")

    @model_validator(mode="after")
    def _one_begin(self) -> Self:
        if self.since is not None and self.hours_back is not None:
            raise ValueError("since and hours_back exclude each other; give one of them")
        return self

    @property
    def scope(self) -> SweepScope:
        """As sweeps take it."""
        since = None if self.since is None else microseconds(self.since)
        return SweepScope(since, self.hours_back, self.everyone)


class VerifyRequest(BaseModel):
    """How to verify."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}, {"repair": True}, {"sample": 1000}]})

    repair: bool = Field(default=False, description="Repair what differs, not only report it.")
    sample: int | None = Field(default=None, ge=1, description="Compare only so many users, chosen by chance.")


class Resolved(BaseModel):
    """What became of a dead letter; False: it names no customer, so that nothing could be done about it."""

    resolved: bool


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: str = Field(description="What it is, for programs: `urn:leadstream:problem:…`, or `about:blank`.")
    title: str = Field(description="The same for people.")
    status: int = Field(description="The status of the answer.")
    detail: str = Field(description="What went wrong this time, in a sentence.")


class Fault(BaseModel):
    """One thing that is wrong with a question."""

    type: str
    loc: list[str | int] = Field(description="Where it stands.")
    msg: str


class Wrong(Problem):
    """What is wrong with a question."""

    errors: list[Fault] = Field(default=[], description="Each thing that is wrong, where it is one of its form.")


class Accepted(BaseModel):
    """What was begun, in a sentence."""

    detail: str


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether it can work, and what each server is like: `up`, or a sentence."""

    status: str
    store: str
    replica: str


def invalid(kind: str, place: list[str], said: str) -> Example:
    """The answer to a question with this fault."""
    errors = [{"type": kind, "loc": place, "msg": said}]
    return problem(422, sentence(errors), "invalid-request", errors=errors)


READY: Final[Example] = {"status": "ready", "store": "up", "replica": "up"}
NOT_READY: Final[Example] = {
    "status": "not ready",
    "store": "PostgreSQL at db:5432 does not answer (connection refused); start it or correct DATABASE_URL",
    "replica": "up",
}
WRONG: Final[Example] = invalid("missing", ["query", "expected"], "Field required")
SILENT: Final = "PostgreSQL does not answer; ask again in a moment"
NO_DEAD_LETTER: Final = "there is no unresolved dead letter 3; see `consumer dead-letters list`"
RETRIED: Final[Example] = {"resolved": True}
DEAD_LETTERS: Final[list[Example]] = [
    {
        "number": 3,
        "set_aside_at": "2026-03-02T09:00:00Z",
        "reason": "undecodable",
        "detail": "JSON is malformed: invalid character (byte 0)",
        "user_id": 8911,
        "topic": "leadstream.users",
        "partition": 4,
        "offset": 70112,
        "size": 412,
    }
]
QUEUED: Final = "the customer is queued to be read live; GET /v1/leads/{user_id} shows when that is done"
WRONG_ID: Final[Example] = invalid(
    "int_parsing", ["path", "user_id"], "Input should be a valid integer, unable to parse string as an integer"
)
WRONG_CURSOR: Final[Example] = invalid(
    "string_pattern_mismatch", ["query", "after"], "String should match pattern '^[0-9]{1,18}$'"
)
WRONG_BODY: Final[Example] = invalid("extra_forbidden", ["body", "hour_back"], "Extra inputs are not permitted")

PRECALL: Final[Example] = {
    "user_id": 8911,
    "expected": "unsigned_users",
    "queue_type": "none",
    "agrees": False,
    "because": "every claim is closed (claims 20131, 20132: cancelled)",
    "source": "replica",
    "as_of": "2026-03-02T09:14:07.318200Z",
    "drift": [],
    "recheck_queued": False,
    "note": None,
}

PRECALL_FROM_STATE: Final[Example] = {
    **PRECALL,
    "queue_type": "unsigned_users",
    "agrees": True,
    "because": "the customer has not signed (current_signature_file_id is empty)",
    "source": "state",
    "as_of": "2026-03-02T09:14:06.904511Z",
    "note": "This is what we hold: the replica did not answer within 200 ms.",
}

_VERDICT: Final[Example] = {
    "queue_type": "requirements_outstanding",
    "rule": "requirement_outstanding",
    "because": "the customer signed and still owes requirement 77120",
}
EXPLANATION: Final[Example] = {
    "user_id": 8911,
    "queue_type": "requirements_outstanding",
    "verdict": _VERDICT,
    "since": "2026-03-01T14:00:05.120443Z",
    "as_of": "2026-03-02T09:14:06.904511Z",
    "stints": [
        {
            "number": 1,
            "queue_type": "unsigned_users",
            "opened_at": "2026-02-20T10:11:12Z",
            "opened_reason": "first_seen",
            "closed_at": "2026-03-01T14:00:05.120443Z",
            "closed_reason": "signature_obtained",
            "conversion_type": "signature_obtained",
            "source": "stream",
        },
        {
            "number": 2,
            "queue_type": "requirements_outstanding",
            "opened_at": "2026-03-01T14:00:05.120443Z",
            "opened_reason": "signature_obtained",
            "closed_at": None,
            "closed_reason": None,
            "conversion_type": None,
            "source": "stream",
        },
    ],
    "conversions": [
        {
            "conversion_type": "signature_obtained",
            "previous_queue_type": "unsigned_users",
            "converted_at": "2026-03-01T14:00:05.120443Z",
            "final_score": 12,
            "total_call_attempts": 3,
        }
    ],
    "call_centre": {
        "current_queue_type": "requirements_outstanding",
        "is_active": True,
        "current_score": 1,
        "total_attempts": 3,
        "last_call_at": "2026-03-01T11:30:00Z",
        "last_outcome": "callback",
        "pending": ["requirements_outstanding"],
    },
    "recheck": None,
    "shown": None,
    "changes": [
        {"row": "user", "id": "8911", "status": None, "at": "2026-03-01T14:00:05.120443Z"},
        {"row": "requirement", "id": "77120", "status": "pending", "at": "2026-02-21T09:30:00.000112Z"},
    ],
    "live": {
        "exists": True,
        "verdict": _VERDICT,
        "as_of": "2026-03-02T09:14:07.318200Z",
        "drift": [],
    },
    "agrees": True,
    "behind_seconds": 0.0,
    "sentences": [
        "User 8911 is in requirements_outstanding since 2026-03-01 14:00:05 UTC, because the customer signed and still"
        " owes requirement 77120.",
        "Stint 1: in unsigned_users from 2026-02-20 10:11:12 UTC, because this is where we first saw them, until"
        " 2026-03-01 14:00:05 UTC, when the customer signed: a conversion, signature_obtained.",
        "Stint 2: in requirements_outstanding from 2026-03-01 14:00:05 UTC, because the customer signed, until now.",
        "The last changes seen of the rows we hold, of each its newest: user 8911 at 2026-03-01 14:00:05 UTC,"
        " requirement 77120 (pending) at 2026-02-21 09:30:00 UTC.",
        "MySQL, read at 2026-03-02 09:14:07 UTC, says the same.",
    ],
}

_WINDOW: Final = Window(1_772_437_798_000_000, 1_772_442_000_000_000)
_AWAY: Final = "db:3306 does not answer (timed out); start it or correct REPLICA_DATABASE_URL"
REPORT: Final[Example] = as_dict(Report("new-users", "ok", _WINDOW, RunTally(checked=87, in_step=87), 3, 41))
FAILED: Final[Example] = as_dict(Report("new-users", "failed", None, RunTally(), 0, 60_112, _AWAY))

RUNS: Final[list[Example]] = [
    {
        "name": "new-users",
        "outcome": "ok",
        "started_at": "2026-03-02T09:00:00.018Z",
        "finished_at": "2026-03-02T09:00:00.059Z",
        "milliseconds": 41,
        "queries": 1,
        "counts": {"checked": 87, "in_step": 87, "repaired": 0},
        "error": None,
        "started_by": "schedule",
    }
]


def wrong(example: Example) -> dict[str, Any]:
    """The answer to a wrong question, in the document."""
    return {"model": Wrong, "description": "The question is wrong.", "content": shown(example)}


def shown(example: Example | list[Example]) -> dict[str, Any]:
    """The one example of an answer."""
    return {"application/json": {"example": example}}


def examples(**values: Example | list[Example]) -> dict[str, Any]:
    """Examples by their names."""
    named = {name.replace("_", " "): {"value": value} for name, value in values.items()}
    return {"content": {"application/json": {"examples": named}}}


def accepted(what: str, sentence: str) -> dict[str, Any]:
    """The answer that something was begun."""
    return {"model": Accepted, "description": what, "content": shown({"detail": sentence})}


def refusal(status: int, what: str, sentence: str, kind: str = "") -> dict[str, Any]:
    """An error, as the document shows it."""
    return {"model": Problem, "description": what, "content": shown(problem(status, sentence, kind))}


def nobody() -> dict[str, Any]:
    """Nobody knows the customer."""
    sentence = "there is no user 8911 in MySQL, and never was one that we know"
    return refusal(404, "Nobody knows this user.", sentence, "unknown-user")


def silent() -> dict[str, Any]:
    """PostgreSQL does not answer."""
    return refusal(503, "PostgreSQL does not answer.", SILENT, "unavailable")
