"""The HTTP API, from what it says of itself at /openapi.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event
from typing import Any, Final, cast

from consumer.settings import DatabaseSettings, DiscoverySettings, ReplicaSettings
from reconciler.monitor.kafka import NOT_WATCHED
from reconciler.runner import Jobs
from reconciler.runs.sessions import Settings
from reconciler.settings import AgingSettings, SweepSettings
from reconciler.tokens import Tokens
from reconciler.web.app import create_app

ABOUT: Final = """# HTTP

Made by `make reference` from the API's own description; not edited by hand. `reconciler serve` answers at `HTTP_HOST`
and `HTTP_PORT`; the same is at `/openapi.json` there, and `/docs` lets one try it. What starts something takes a token:
`Authorization: Bearer …`, one of `API_TOKENS_FILE`.
"""
_NOWHERE: Final = "//nowhere@127.0.0.1:1/nothing"


def page() -> str:
    """The page."""
    return "\n".join(_lines(_description())).rstrip() + "\n"


def _description() -> dict[str, Any]:
    """The API's description, of a server that nobody asks."""
    settings = Settings(
        cast(Any, ReplicaSettings)(replica_database_url=f"mysql:{_NOWHERE}"),
        cast(Any, DatabaseSettings)(database_url=f"postgresql:{_NOWHERE}"),
        DiscoverySettings(),
        SweepSettings(),
    )
    jobs = Jobs(settings, AgingSettings(), Event())
    app = create_app(cast(Any, None), jobs, cast(Any, None), Tokens([]), lambda: NOT_WATCHED, "UTC")
    return app.openapi()


def _lines(api: dict[str, Any]) -> Iterator[str]:
    yield ABOUT
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            yield from (f"## {method.upper()} {path}", "", operation.get("description", operation["summary"]), "")
            yield from _parameters(operation.get("parameters", []))
            for code, answer in operation["responses"].items():
                yield f"- {code}: {answer['description']}"
            yield ""
            yield from _example(operation["responses"])


def _parameters(parameters: list[dict[str, Any]]) -> Iterator[str]:
    for one in parameters:
        said = one.get("description", one["schema"].get("description", ""))
        must = ", required" if one.get("required") else ""
        yield f"- `{one['name']}` ({one['in']}{must}): {said}".rstrip(": ")
    if parameters:
        yield ""


def _example(answers: dict[str, Any]) -> Iterator[str]:
    """The first example of an answer that is none of a failure."""
    for code, answer in answers.items():
        for content in answer.get("content", {}).values() if code.startswith("2") else ():
            examples = [content["example"]] if "example" in content else []
            examples += [one["value"] for one in content.get("examples", {}).values()]
            for example in examples[:1]:
                yield from ("```json", json.dumps(example, indent=2, ensure_ascii=False), "```", "")
