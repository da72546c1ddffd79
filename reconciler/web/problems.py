"""What every error looks like: `application/problem+json` of RFC 9457, whoever found it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi.responses import JSONResponse

KIND: Final = "application/problem+json"
_URN: Final = "urn:leadstream:problem:"
TITLES: Final = {
    "unknown-user": "Nobody knows this user",
    "unknown-queue": "There is no such queue",
    "unknown-run": "There is no such run",
    "unknown-dead-letter": "There is no such unresolved dead letter",
    "invalid-request": "The question is wrong",
    "already-running": "The same run is under way",
    "not-allowed": "It cannot run with these settings",
    "run-failed": "The run has failed",
    "unavailable": "A server that is needed does not answer now",
}
"""What `type` can name besides `about:blank`, for programs that act on it; and the title of each."""


def problem(status: int, detail: str, kind: str = "", **more: object) -> dict[str, Any]:
    """The body of an error: `kind` is one of TITLES, or empty where the status says it all."""
    title = TITLES[kind] if kind else HTTPStatus(status).phrase
    return {
        "type": f"{_URN}{kind}" if kind else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        **more,
    }


def answer(
    status: int, detail: str, kind: str = "", headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """An error as an answer."""
    given = dict(headers or {}) | ({"retry-after": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {})
    return JSONResponse(problem(status, detail, kind, **more), status, given, KIND)


def sentence(faults: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a question, in a sentence: where it stands and what should be there."""
    return "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults)
