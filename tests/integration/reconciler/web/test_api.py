"""The API's forms: paths, errors of one shape, HEAD, versions."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from importlib.metadata import version

import httpx
import pytest

from consumer.commands.explain import explanation
from consumer.settings import DatabaseSettings, ReplicaSettings
from reconciler.web.problems import TITLES
from tests.integration.reconciler.serving import TOKEN, Served, serving
from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.servers

URN = "urn:leadstream:problem:"


@pytest.fixture
def served(mysql_world: ReconcilerWorld) -> Iterator[Served]:
    mysql_world.user(1)
    mysql_world.backfill()
    with serving(mysql_world, API_TOKEN=TOKEN, SWEEPS="new-users") as found:
        yield found


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and type of an error, which has all that RFC 9457 names."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    kind = body["type"].removeprefix(URN)
    assert body["title"] == TITLES[kind] if kind in TITLES else kind == "about:blank"
    assert body["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.status_code, kind


def test_somebody_whom_only_mysql_knows_differs_as_unknown_by_whichever_way(
    mysql_world: ReconcilerWorld, served: Served
) -> None:
    mysql_world.user(2)
    settings = {"replica_database_url": mysql_world.mysql_url, "database_url": mysql_world.postgres_url}
    told = explanation(2, ReplicaSettings.model_validate(settings), DatabaseSettings.model_validate(settings))
    assert served.get("/v1/leads/2").json()["live"]["drift"] == ["unknown"]
    assert told.live is not None
    assert told.live.drift == ["unknown"]


def test_every_error_has_one_shape(mysql_world: ReconcilerWorld, served: Served) -> None:
    post = served.client.post
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert problem(served.get("/v1/leads/99")) == (404, "unknown-user")
    assert problem(served.get("/v1/nothing")) == (404, "about:blank")
    assert "/docs" in served.get("/v1/nothing").json()["detail"]
    assert problem(post("/v1/runs")) == (405, "about:blank")
    assert post("/v1/runs").headers["allow"]
    assert problem(served.get("/v1/leads/1/precall", expected="somewhere")) == (422, "unknown-queue")
    wrong = served.get("/v1/leads/x/precall")
    assert problem(wrong) == (422, "invalid-request")
    assert [fault["loc"] for fault in wrong.json()["errors"]] == [["path", "user_id"], ["query", "expected"]]
    assert "query.expected: Field required" in wrong.json()["detail"]
    assert problem(post("/v1/verify", content=b"{", headers=right)) == (422, "invalid-request")
    assert problem(post("/v1/verify")) == (401, "about:blank")
    assert post("/v1/verify").headers["www-authenticate"] == "Bearer"
    assert problem(post("/v1/verify", content=b"x" * 20_000, headers=right)) == (413, "about:blank")
    assert problem(post("/v1/sweeps/nothing", headers=right)) == (404, "unknown-run")
    assert problem(post("/v1/sweeps/new-requirements", headers=right)) == (409, "not-allowed")
    assert problem(post("/v1/dead-letters/7/discard", headers=right)) == (404, "unknown-dead-letter")
    for number in (0, 2**63):
        assert problem(post(f"/v1/dead-letters/{number}/retry", headers=right)) == (422, "invalid-request")
    upside_down = served.get("/v1/conversions/by-agent", **{"from": "2026-04-01T00:00Z", "to": "2026-03-01T00:00Z"})
    assert problem(upside_down) == (422, "invalid-request")
    assert problem(served.get("/static/000000000000/page.css")) == (404, "about:blank")
    mysql_world.sql("RENAME TABLE users TO away")

    def start() -> httpx.Response | None:
        answer = post("/v1/sweeps/new-users", headers=right)
        return None if answer.status_code in (202, 409) else answer

    failed = until(start, "a run ended while its request waited")
    assert failed is not None
    assert problem(failed) == (502, "run-failed")
    assert (failed.json()["name"], failed.json()["outcome"]) == ("new-users", "failed")


def test_without_a_token_or_for_another_name_the_shape_is_the_same(mysql_world: ReconcilerWorld) -> None:
    with serving(mysql_world, HTTP_PROTECT_READS="true", API_TOKEN=TOKEN) as served:
        assert problem(served.get("/v1/runs")) == (401, "about:blank")
        assert problem(served.client.get("/v1/runs", headers={"Host": "evil.example"})) == (421, "about:blank")
        assert served.get("/healthz").status_code == 200
        paths = served.client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()["paths"]
        told = paths["/v1/runs"]["get"]
        assert told["security"] == paths["/v1/verify"]["post"]["security"]
        assert list(told["responses"]["401"]["content"]) == ["application/problem+json"]
        assert "security" not in paths["/health/live"]["get"]
    with serving(mysql_world) as served:
        assert problem(served.client.post("/v1/verify")) == (403, "about:blank")


def test_what_is_no_http_is_refused_in_the_same_shape_and_http_1_0_needs_no_host(served: Served) -> None:
    def ask(request: bytes) -> bytes:
        url = served.client.base_url
        with socket.create_connection((url.host, url.port or 80), PATIENCE) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    head, _, body = ask(b"hello\r\n\r\n").partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == 400
    assert ask(b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b'{"status":"alive"}')
    assert ask(b"OPTIONS / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 405 ")


def test_what_nobody_foresaw_is_a_problem_too_and_tells_nothing_of_itself(
    mysql_world: ReconcilerWorld, served: Served
) -> None:
    mysql_world.pg(
        "UPDATE leadstream.stints SET closed_at = now(), conversion_type = 'of_another_release', in_shadow = false"
    )
    failed = served.get("/v1/conversions")
    assert problem(failed) == (500, "about:blank")
    assert failed.headers["connection"] == "close"
    assert "of_another_release" not in served.get("/v1/conversions").text


def test_whatever_is_asked_by_get_is_asked_by_head(served: Served) -> None:
    for path in (
        "/",
        "/v1/runs",
        "/v1/conversions",
        "/v1/leads/1",
        "/v1/leads/99",
        "/healthz",
        "/health/ready",
        "/metrics",
    ):
        got, head = served.get(path), served.client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
    assert served.client.head("/v1/verify").status_code == 405


def test_paths_of_before_there_was_a_version_are_answered_as_ever(served: Served) -> None:
    for path in ("/leads/1", "/leads/99", "/runs", "/leads/1/precall?expected=none"):
        earlier, now = served.client.get(path), served.client.get(f"/v1{path}")
        assert earlier.status_code == now.status_code
        assert earlier.json().keys() == now.json().keys() if "runs" not in path else earlier.json()
    assert served.run("/sweeps/new-users", TOKEN)["outcome"] != "failed"
    assert served.run("/verify", TOKEN)["checked"] == 1


def test_every_place_says_the_version(mysql_world: ReconcilerWorld, served: Served) -> None:
    release = version("leadstream")
    assert served.get("/openapi.json").json()["info"]["version"] == release
    assert f'version="{release}"' in served.get("/metrics").text
    first = json.loads(served.process.text().splitlines()[0])
    assert (first["event"], first["process"], first["version"]) == ("process_starting", "reconciler", release)
    for program in ("consumer", "reconciler"):
        done = mysql_world.processes.run(program, "--version")
        assert (done.returncode, done.stdout) == (0, f"leadstream {release}\n")


@pytest.mark.parametrize(("command", "name"), [("read", "reader"), ("apply", "applier")])
def test_the_first_line_of_a_process_says_its_version(mysql_world: ReconcilerWorld, command: str, name: str) -> None:
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "TOPIC_PREFIX": "nowhere"}
    process = mysql_world.processes.start("consumer", command, **nowhere)
    process.wait_for("process_starting")
    first = json.loads(process.text().splitlines()[0])
    assert (first["process"], first["version"]) == (name, version("leadstream"))
