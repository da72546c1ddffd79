"""The API as a page for people, from the OpenAPI document: what may be asked, and how it is answered. Pure.

A page of our own, because the usual ones load their scripts from other servers, which our pages allow nobody to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

METHODS: Final = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class ListedAnswer:
    """How it may be answered; `example` is JSON, empty where there is none."""

    status: str
    about: str
    example: str


@dataclass(frozen=True)
class Operation:
    """One question: `token` says that it takes a token that may run; `parameters` are as in the document."""

    method: str
    path: str
    summary: str
    about: str
    token: bool
    parameters: list[Mapping[str, Any]]
    answers: list[ListedAnswer]


def operations(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Every operation of an OpenAPI document by its first tag, in the document's order."""
    groups: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                groups.setdefault((operation.get("tags") or ["other"])[0], []).append(
                    _operation(method, path, operation)
                )
    return groups


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Operation:
    answers = [
        ListedAnswer(str(status), answer.get("description", ""), _example(answer))
        for status, answer in operation.get("responses", {}).items()
    ]
    return Operation(
        method.upper(),
        path,
        operation.get("summary", ""),
        operation.get("description", ""),
        bool(operation.get("security")),
        operation.get("parameters", []),
        answers,
    )


def _example(answer: Mapping[str, Any]) -> str:
    for media in answer.get("content", {}).values():
        if "example" in media:
            return _text(media["example"])
        for named in media.get("examples", {}).values():
            return _text(named["value"])
    return ""


def _text(example: object) -> str:
    return json.dumps(example, indent=2, ensure_ascii=False)
