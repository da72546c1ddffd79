"""Limits, headers and the comparison of tokens, without a server."""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from consumer.settings import SettingsError, load
from reconciler.settings import ServeSettings
from reconciler.tokens import Caller, parse, tokens
from reconciler.web.middleware import HEADERS, Door, Guard, Ways

SHARED = "geheim-ü-für-diesen-test"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body it was given."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=5")]})
    await send({"type": "http.response.body", "body": body})


def post(guard: Guard, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://test") as client:
            return await client.post("/", content=content)

    return asyncio.run(ask())


async def pieces(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * 10


def test_a_body_arrives_whole_and_answers_carry_security_headers() -> None:
    answer = post(Guard(echo), pieces(3))
    assert answer.content == b"x" * 30
    given = {name.decode(): value.decode() for name, value in HEADERS}
    assert {name: answer.headers[name] for name in given} == {**given, "cache-control": "max-age=5"}


def test_a_body_that_is_too_large_is_refused_however_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.web.middleware.MAX_BODY", 39)
    for content in (b"x" * 40, pieces(4)):
        answer = post(Guard(echo), content)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "the body is larger than 39 bytes; send less"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_requests_beyond_the_limit_are_refused_and_later_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.web.middleware.MAX_REQUESTS", 2)

    async def scenario() -> list[int]:
        release = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await release.wait()
            await echo(scope, receive, send)

        transport = httpx.ASGITransport(Guard(slow))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            first = [asyncio.create_task(client.get("/")) for _ in range(2)]
            await asyncio.sleep(0.05)
            refused = await client.get("/")
            release.set()
            answers = [refused, *[await task for task in first], await client.get("/")]
        assert refused.headers["retry-after"] == "1"
        return [answer.status_code for answer in answers]

    assert asyncio.run(scenario()) == [503, 200, 200, 200]


def test_whatever_others_wait_for_there_is_room_for_checks_before_a_call_and_for_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pages that wait for a PostgreSQL which says nothing would else stop the calls, and have the process killed."""
    monkeypatch.setattr("reconciler.web.middleware.MAX_REQUESTS", 4)
    urgent = ("/v1/leads/1/precall", "/leads/1/precall", "/health/live", "/healthz", "/health/ready")

    async def scenario() -> list[int]:
        release = asyncio.Event()

        async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/":
                await release.wait()
            await echo(scope, receive, send)

        transport = httpx.ASGITransport(Guard(hangs))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            pages = [asyncio.create_task(client.get("/")) for _ in range(3)]
            await asyncio.sleep(0.05)
            answers = [await client.get(path) for path in ("/", "/health/smart-discovery", *urgent)]
            release.set()
            answers += [await page for page in pages]
        return [answer.status_code for answer in answers]

    assert asyncio.run(scenario()) == [503, 503, *[200] * 8]


def test_what_a_client_sent_who_hung_up_before_the_end_is_not_acted_on() -> None:
    async def scenario() -> list[str]:
        reached: list[str] = []

        async def act(scope: Scope, receive: Receive, send: Send) -> None:
            reached.append("the application")

        sent: list[Message] = [
            {"type": "http.request", "body": b'{"dry_run":', "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return sent.pop(0)

        async def send(message: Message) -> None:
            reached.append(message["type"])

        await Guard(act)({"type": "http", "method": "POST"}, receive, send)
        return reached

    assert asyncio.run(scenario()) == []


def test_a_body_that_does_not_arrive_in_time_is_refused_and_keeps_nobody_from_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reconciler.web.middleware.BODY_SECONDS", 1.0)
    monkeypatch.setattr("reconciler.web.middleware.MAX_REQUESTS", 8)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def stuck(guard: Guard) -> list[Message]:
        answers: list[Message] = []

        async def silence() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            answers.append(message)

        await guard({"type": "http", "method": "POST"}, silence, send)
        return answers

    async def scenario() -> list[int]:
        guard = Guard(answer)
        slow = [asyncio.create_task(stuck(guard)) for _ in range(3)]
        await asyncio.sleep(0.05)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://test") as client:
            asked = await client.get("/")
        return [asked.status_code, *sorted([(await task)[0]["status"] for task in slow])]

    assert asyncio.run(scenario()) == [200, 408, 408, 503]


def test_pages_may_use_scripts_and_styles_of_ours_and_nothing_inline_or_from_elsewhere() -> None:
    policy = post(Guard(echo), b"").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert {rules[kind] for kind in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}


def test_a_token_is_compared_by_the_function_that_takes_the_same_time_for_every_wrong_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []

    def spy(given: bytes, token: bytes) -> bool:
        compared.append((given, token))
        return False

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert tokens(SecretStr(SHARED), None).caller(SHARED) is None
    assert compared == [(SHARED.encode(), SHARED.encode())]


def test_only_the_token_is_the_token() -> None:
    known = tokens(SecretStr(SHARED), None)
    assert known.caller(SHARED) == Caller("API_TOKEN", may_run=True)
    assert not any(known.caller(given) for given in (None, "", SHARED[:-1], f"{SHARED} ", SHARED.upper()))


def test_a_shared_token_that_could_be_guessed_is_refused_as_those_of_persons_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "0123456789abcde")
    with pytest.raises(SettingsError) as refused:
        load(ServeSettings)
    assert str(refused.value) == (
        "API_TOKEN is wrong: it should have 16 characters or more; `openssl rand -hex 32` makes one"
    )
    monkeypatch.setenv("API_TOKEN", "0123456789abcdef")
    assert load(ServeSettings).api_token is not None
    path = tmp_path / "token"
    written(path, SHARED)
    known = tokens(SecretStr(SHARED), None, {"API_TOKEN": path})
    written(path, "0123456789abcde")
    with capture_logs() as logs:
        assert known.caller(SHARED) == Caller("API_TOKEN", may_run=True)
    assert [line["event"] for line in logs] == ["tokens_not_renewed"]


LISTED = SecretStr("# people\nanna  0123456789abcdef  run\n\nboard 0123456789abcdeg read\n")


def test_everybody_has_a_token_of_their_own_with_a_name_and_a_right() -> None:
    known = tokens(None, LISTED)
    assert known.caller("0123456789abcdef") == Caller("anna", may_run=True)
    assert known.caller("0123456789abcdeg") == Caller("board", may_run=False)
    assert known.may_run
    assert not tokens(None, None)


def written(path: Path, text: str) -> None:
    """Put in its place whole, as secrets are mounted."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def test_a_file_of_tokens_is_read_anew_and_one_that_is_broken_keeps_those_before(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    written(path, LISTED.get_secret_value())
    known = tokens(None, LISTED, {"API_TOKENS": path})
    assert known.caller("0123456789abcdef") == Caller("anna", may_run=True)
    written(path, "bo 0123456789abcdex read\n")
    assert known.caller("0123456789abcdef") is None
    assert known.caller("0123456789abcdex") == Caller("bo", may_run=False)
    assert not known.may_run
    for broken in ("bo 0123456789abcdez", "", " \n", None):
        written(path, broken) if broken is not None else path.unlink()
        with capture_logs() as logs:
            for _ in range(3):
                assert known.caller("0123456789abcdex") == Caller("bo", may_run=False)
        assert [line["event"] for line in logs] == ["tokens_not_renewed"]
        assert "0123456789abcdez" not in str(logs)
    path.write_bytes(b"anna 0123456789abcde\xff run\n")
    with capture_logs() as logs:
        assert known.caller("0123456789abcdex") == Caller("bo", may_run=False)
    assert "0123456789" not in str(logs)
    written(path, "# nobody\n")
    assert not known


def test_the_shared_token_is_renewed_beside_those_of_persons(tmp_path: Path) -> None:
    path = tmp_path / "token"
    written(path, SHARED)
    known = tokens(SecretStr(SHARED), LISTED, {"API_TOKEN": path})
    second = f"{SHARED}-zweiter"
    written(path, second)
    assert known.caller(SHARED) is None
    assert known.caller(second) == Caller("API_TOKEN", may_run=True)
    assert known.caller("0123456789abcdef") == Caller("anna", may_run=True)


@pytest.mark.parametrize("line", ["# nobody", "# revoked on 30 November, by anna"])
def test_a_line_in_the_place_of_the_shared_token_revokes_it_and_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "token"
    written(path, SHARED)
    known = tokens(SecretStr(SHARED), None, {"API_TOKEN": path})
    written(path, f"{line}\n")
    with capture_logs() as logs:
        assert not known
        assert known.caller(SHARED) is None
        assert known.caller(line) is None
    assert [line["event"] for line in logs] == ["tokens_renewed"]
    assert not tokens(SecretStr(line), None), "nor is it one at the start"


def test_a_token_that_was_taken_from_somebody_is_nobodys_whatever_the_other_file_holds(tmp_path: Path) -> None:
    shared, listed = tmp_path / "token", tmp_path / "tokens"
    written(shared, SHARED)
    written(listed, LISTED.get_secret_value())
    known = tokens(SecretStr(SHARED), LISTED, {"API_TOKEN": shared, "API_TOKENS": listed})
    assert known.caller("0123456789abcdef") == Caller("anna", may_run=True)
    written(listed, "board 0123456789abcdeg read\n")
    written(shared, "short")
    with capture_logs() as logs:
        assert known.caller("0123456789abcdef") is None
    assert [line.get("files", line.get("count")) for line in logs] == [["API_TOKEN_FILE"], 2]
    written(shared, f"{SHARED}-zweiter")
    assert known.caller("0123456789abcdef") is None
    assert known.caller(f"{SHARED}-zweiter") == Caller("API_TOKEN", may_run=True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("anna 0123456789abcdef", "a name, a token and read or run"),
        ("anna 0123456789abcdef admin", "a name, a token and read or run"),
        ("anna short run", "the token of anna should have 16 characters or more"),
        ("an/na 0123456789abcdef run", "the name should be of letters"),
        ("bo 0123456789abcdef run\nbo 0123456789abcdef run", "line 3: bo stands there twice"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_no_token_is_told(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        parse(f"# people\n{line}\n")
    assert "0123456789abcdef" not in str(refused.value)


def ask(door: ASGIApp, path: str = "/", **headers: str) -> httpx.Response:
    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(get())


async def well(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200), ("127.0.0.1", 200), ("[::1]:8080", 200), ("10.2.3.4:8080", 200),
        ("Leads.Example.com", 200), ("leads.example.com.:8080", 200), ("localhost.", 200), ("evil.example.com.", 421),
        (".", 421), ("evil.example.com", 421), ("", 421), ("127.0.0.1.evil.com", 421),
    ],
)  # fmt: skip
def test_names_that_are_not_ours_are_refused(host: str, status: int) -> None:
    door = Door(well, tokens(None, None), {"leads.example.com"}, protect_reads=False)
    assert ask(door, host=host).status_code == status
    assert ask(Door(well, tokens(None, None), None, protect_reads=False), host=host).status_code == 200


def test_where_reads_are_protected_they_take_a_token_and_probes_none() -> None:
    door = Door(well, tokens(None, LISTED), None, protect_reads=True)
    refused = ask(door, "/customers/1")
    assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
    assert ask(door, "/health/live").status_code == ask(door, "/metrics").status_code == 200
    basic = b64encode(b"whoever:0123456789abcdeg").decode()
    for given in ("Bearer 0123456789abcdeg", f"Basic {basic}"):
        assert ask(door, "/customers/1", authorization=given).status_code == 200
    for given in ("Bearer x", "Basic x", "Basic !", "Digest 0123456789abcdeg"):
        assert ask(door, "/customers/1", authorization=given).status_code == 401


async def told(scope: Scope, _: Receive, send: Send) -> None:
    """Answers with the path it was asked for."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/", "/"), ("/docs", "/docs"), ("/docs/", "/docs"), ("/v1/verify/", "/v1/verify"),
        ("/runs", "/v1/runs"), ("/runs/", "/v1/runs"), ("/leads/1/precall/", "/v1/leads/1/precall"),
    ],
)  # fmt: skip
def test_a_slash_at_the_end_and_a_path_of_before_lead_to_the_same(path: str, asked: str) -> None:
    """By no redirection: what stands before us speaks https, and knows us by another name."""
    assert ask(Ways(told), path).text == asked
