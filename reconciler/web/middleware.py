"""What every request passes first: limits on size and number, and headers for every answer. Plain ASGI, for speed."""

from __future__ import annotations

import asyncio
import binascii
import json
from base64 import b64decode
from collections.abc import Collection, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.tokens import Tokens
from reconciler.web.problems import KIND, problem

MAX_BODY: Final = 16 * 1024
"""Bytes in a request's body."""
BODY_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 1.0
"""How long a client that was refused may go on sending."""
MAX_REQUESTS: Final = 256
"""Requests under way; a quarter of them may bring a body, so that slow ones keep nobody from asking, and a quarter is
for checks before a call and for probes alone, whatever all others wait for."""
PROBES: Final = frozenset({"/health/live", "/healthz", "/health/ready"})
BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose body, if any, nobody reads."""

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    b" base-uri 'none'; frame-ancestors 'none'"
)
"""Scripts and styles are files of ours; nothing inline, nothing from elsewhere, nothing that frames or is framed."""
HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Guard:
    """Refuses what is too large (413) or too much (503), and adds security headers to everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = self._with_body = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(header for header in HEADERS if header[0] not in given)]
            await send(message)

        brings_body = scope["method"] not in BODILESS
        most = MAX_REQUESTS if _is_urgent(scope.get("path", "")) else MAX_REQUESTS - MAX_REQUESTS // 4
        if self._under_way >= most or (brings_body and self._with_body >= MAX_REQUESTS // 4):
            await refuse(send_with_headers, 503, "too many requests are under way; ask again in a second")
            return
        self._under_way += 1
        self._with_body += brings_body
        try:
            if brings_body:
                await self._bring(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        finally:
            self._under_way -= 1
            self._with_body -= brings_body

    async def _bring(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands the request on with its whole body; what a client sent that hung up before its end is not acted on."""
        try:
            body = await asyncio.wait_for(self._body(receive), BODY_SECONDS)
        except ClientDisconnect:
            return
        except TimeoutError:
            await refuse(send, 408, f"the body did not arrive within {BODY_SECONDS:g} s; send it at once")
        except _TooLarge as error:
            amid = _amid(receive, send) if error.goes_on else send
            await refuse(amid, 413, f"the body is larger than {MAX_BODY:,} bytes; send less")
        else:
            await self._app(scope, _replayed(body, receive), send)

    async def _body(self, receive: Receive) -> bytes:
        """The whole body. Raises ClientDisconnect, and _TooLarge."""
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += bytes(message.get("body", b""))
            goes_on = message.get("more_body", False)
            if len(body) > MAX_BODY:
                raise _TooLarge(goes_on=goes_on)
            if not goes_on:
                return body


class _TooLarge(Exception):
    """A body of more than MAX_BODY; whether it `goes_on`."""

    def __init__(self, *, goes_on: bool) -> None:
        super().__init__()
        self.goes_on = goes_on


def _amid(receive: Receive, send: Send) -> Send:
    """Answers while a body is still being sent, and reads on for a moment: whoever is hung up on while still sending
    may never see the answer."""

    async def passed_over() -> None:
        while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
            pass

    async def send_on(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            await asyncio.wait_for(passed_over(), LINGER_SECONDS)
        await send({"type": "http.response.body", "body": b""})

    return send_on


def _is_urgent(path: str) -> bool:
    """Whether an agent, or whoever starts dead processes anew, waits for the answer; it takes a moment at the most."""
    return path.endswith("/precall") or path in PROBES


EARLIER: Final = ("/leads/", "/sweeps/", "/runs", "/verify")
"""How paths began that begin with /v1 now; who asks by them goes on being answered."""


class Ways:
    """What else may be asked: by HEAD whatever is asked by GET, with a slash at the end, and by paths of before there
    was a /v1."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            path = scope["path"].rstrip("/") or "/"
            if path.startswith(EARLIER):
                path = f"/v1{path}"
            if path != scope["path"]:
                scope = {**scope, "path": path}
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _without_body(send)
        await self._app(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def headers_alone(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headers_alone


READING: Final = "reading takes a token: as the password, or as Bearer"
OPEN: Final = ("/health", "/api/health", "/metrics", "/static/")
"""What is answered without a token in any case: probes, Prometheus, and files that hold nothing."""


class Door:
    """Whom the pages and reads are for: requests by a name of ours, and, where reads are protected, with a token."""

    def __init__(self, app: ASGIApp, tokens: Tokens, hosts: Collection[str] | None, *, protect_reads: bool) -> None:
        """`hosts` are the names that `Host` may have besides addresses and localhost, against pages of others whose
        name leads here; None: any."""
        self._app = app
        self._tokens = tokens
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._protect_reads = protect_reads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            host = name_of(headers.get(b"host", ""))
            if b"host" in headers and not self._is_ours(host):  # HTTP/1.0 needs none, and no browser comes without
                await refuse(send, 421, f"this server is not {host[:100]}; add that name to HTTP_ALLOWED_HOSTS")
                return
            reads = self._protect_reads and scope["method"] in BODILESS and not scope["path"].startswith(OPEN)
            if reads and self._tokens.caller(token_of(headers.get(b"authorization", ""))) is None:
                challenge = [(b"www-authenticate", b'Basic realm="leadstream", charset="UTF-8"')]
                await refuse(send, 401, READING, challenge)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        return self._hosts is None or host == "localhost" or host in self._hosts or is_address(host)


def name_of(host: str) -> str:
    """The name or address in a `Host`, without its port, and without the dot that ends a name which is whole."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def is_address(host: str) -> bool:
    """Whether this is an IP address, which nobody's name server can bend."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def token_of(authorization: str) -> str | None:
    """The token in an `Authorization`: what follows Bearer, or the password of Basic; None where there is none."""
    kind, _, given = authorization.partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    if kind.lower() == "basic":
        try:
            return b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Hands the body over once more, then what follows it."""
    read = False

    async def replay() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def refusal(
    status: int, sentence: str, more: Sequence[tuple[bytes, bytes]] = ()
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an error of the one shape, after which we hang up."""
    body = json.dumps(problem(status, sentence)).encode()
    kind, length = (b"content-type", KIND.encode()), (b"content-length", b"%d" % len(body))
    return [kind, length, (b"connection", b"close"), *more], body


async def refuse(send: Send, status: int, sentence: str, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answers with an error of the one shape, and hangs up."""
    headers, body = refusal(status, sentence, more)
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
