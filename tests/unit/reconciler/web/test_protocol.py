"""What uvicorn itself refuses, over real sockets: errors of the one shape."""

from __future__ import annotations

import json
import socket
import threading
from asyncio import Event, Task, TimerHandle, get_event_loop, run, sleep, wait, wait_for
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from unittest.mock import MagicMock

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from reconciler.tokens import tokens
from reconciler.web import middleware, protocol
from reconciler.web.middleware import HEADERS, Door, Guard
from reconciler.web.protocol import MALFORMED, TOO_LARGE, Protocol
from tests.support.waiting import PATIENCE, until


async def well(_: Scope, receive: Receive, send: Send) -> None:
    """Begins its answer, and ends it when it has seen what it is asked."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await receive()
    await send({"type": "http.response.body", "body": b"well"})


async def reads_first(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await well(scope, receive, send)


@contextmanager
def listening(app: object, most: int | None = None) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None, limit_concurrency=most)  # type: ignore[arg-type]
    )
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            until(lambda: server.started, "the server is there")
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def asked(port: int, request: bytes) -> tuple[dict[str, str], bytes]:
    """Headers, the status among them, and body of an answer; both empty where there is none."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return headers | {"status": first.partition(" ")[2][:3]}, body


def refused(port: int, request: bytes) -> tuple[int, str]:
    headers, body = asked(port, request)
    assert headers["content-type"] == "application/problem+json", body
    assert {name.decode() for name, _ in HEADERS} <= headers.keys()
    problem = json.loads(body)
    assert str(problem["status"]) == headers["status"]
    assert problem["type"] == "about:blank"
    assert problem["title"]
    return problem["status"], problem["detail"]


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        (b"hello\r\n\r\n", 400, MALFORMED),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, MALFORMED),
        (b"GET / HTTP/1.1\r\n\r\n", 400, MALFORMED),
        (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: -5\r\n\r\n", 400, MALFORMED),
        (b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, MALFORMED),
        (b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 200_000, 431, TOO_LARGE),
        (b"GET /" + b"x" * 200_000, 431, TOO_LARGE),
        (b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip\r\n\r\n", 501, MALFORMED),
    ],
)
def test_what_is_no_http_is_refused_as_everything_else_is(request_: bytes, status: int, detail: str) -> None:
    with listening(reads_first) as port:
        assert refused(port, request_) == (status, detail)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_no_http_behind_a_head_that_is_leaves_no_error_in_the_log(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused before the application begins its own answer, which has nowhere to go then."""
    request_ = f"{method} / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode()
    with listening(Guard(well)) as port:
        assert refused(port, request_) == (400, MALFORMED)
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == []


def test_who_sends_far_too_much_sees_why_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closed on a client that is still sending is reset, and the answer lost with it."""
    monkeypatch.setattr(middleware, "LINGER_SECONDS", PATIENCE)
    size = 20_000_000
    request_ = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    with listening(Guard(well)) as port:
        assert refused(port, request_) == (413, "the body is larger than 16,384 bytes; send less")


def test_who_breaks_off_amid_an_answer_is_hung_up_on() -> None:
    with listening(well) as port:
        headers, _ = asked(port, b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert headers["status"] in ("200", "400")
        assert asked(port, b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")[1] == b"well"


def test_beyond_the_limit_of_connections_the_shape_is_the_same() -> None:
    with listening(well, most=2) as port, socket.create_connection(("127.0.0.1", port)) as other:
        other.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert other.recv(65536)
        status, detail = refused(port, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (status, detail) == (503, "too many are connected; ask again in a second")


@pytest.mark.parametrize("begun", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: here\r\nX: "])
def test_who_does_not_come_to_the_end_of_a_request_is_hung_up_on(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that nobody asks anything by would otherwise shut out the dialler, once there are enough of them."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.1)
    with listening(well) as port:
        assert asked(port, begun) == ({"status": ""}, b"")


class Clock:
    """A loop whose time goes on by hand."""

    def __init__(self) -> None:
        self.due: list[TimerHandle] = []

    def call_later(self, _: float, callback: Callable[..., object], *given: object) -> TimerHandle:
        timer = TimerHandle(0.0, callback, given, get_event_loop())
        self.due.append(timer)
        return timer

    def create_task(self, work: Coroutine[None, None, None], **named: object) -> Task[None]:
        return get_event_loop().create_task(work, **named)  # type: ignore[arg-type]

    def passes(self) -> None:
        """All that is due by now, and not what that makes due."""
        due, self.due = self.due, []
        for timer in due:
            if not timer.cancelled():
                timer._run()


def test_an_answer_may_take_longer_than_a_request_and_who_does_not_take_it_is_hung_up_on() -> None:
    async def play() -> None:
        clock, transport, answering = Clock(), MagicMock(), Event()
        transport.is_closing.return_value = False
        transport.get_write_buffer_size.return_value = 4

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await answering.wait()
            await well(scope, receive, send)

        config = uvicorn.Config(slow, lifespan="off", log_config=None)
        one = Protocol(config, ServerState(), {}, clock)
        one.connection_made(transport)
        one.data_received(b"GET / HTTP/1.1\r\nHost: here\r\n")
        one.data_received(b"\r\n")
        clock.passes()
        assert not transport.close.called, "it is answered"
        answering.set()
        await wait(one.server_state.tasks)
        one.data_received(b"GE")
        clock.passes()
        assert transport.close.called
        assert not transport.abort.called, "it may take its answer"
        clock.passes()
        assert transport.abort.called

    run(play())


def test_who_asks_on_and_takes_no_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer waits until those before it are taken, and holds a place among the requests under way."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 2.0)
    begun: list[int] = []
    ended: list[int] = []

    async def large(_: Scope, __: Receive, send: Send) -> None:
        begun.append(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 16_000_000})
        ended.append(1)

    with listening(large) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" * 3)
        until(lambda: len(ended) == 2, "the second no longer waits until the first is taken")
        assert len(begun) == 2, "the third was never asked"


def test_who_goes_on_taking_an_answer_is_not_hung_up_on() -> None:
    async def play() -> None:
        clock, transport = Clock(), MagicMock()
        transport.is_closing.return_value = False
        transport.get_write_buffer_size.return_value = 4
        one = Protocol(uvicorn.Config(well, lifespan="off", log_config=None), ServerState(), {}, clock)
        one.connection_made(transport)
        for _ in range(2):
            one.pause_writing()
            one.resume_writing()
        clock.passes()
        assert not transport.abort.called
        one.pause_writing()
        one.connection_lost(None)
        clock.passes()
        assert not transport.abort.called, "it has gone by itself"

    run(play())


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_a_large_answer_may_be_taken_slowly_and_who_stops_taking_it_is_hung_up_on(more: bytes) -> None:
    """A thin line; uvicorn hands the whole answer over at once, and it takes many times as long as a request may."""

    async def large(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4000000")]})
        await send({"type": "http.response.body", "body": b"x" * 4_000_000})

    async def play() -> None:
        clock, state, loop = Clock(), ServerState(), get_event_loop()
        config = uvicorn.Config(large, lifespan="off", log_config=None)
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, one = await loop.create_connection(lambda: Protocol(config, state, {}, clock), sock=ours)
        with theirs:
            await loop.sock_sendall(theirs, b"GET / HTTP/1.1\r\nHost: here\r\n" + more + b"\r\n")
            while not transport.get_write_buffer_size():
                await sleep(0)
            for _ in range(5):
                unread = transport.get_write_buffer_size()
                while transport.get_write_buffer_size() == unread:
                    assert await loop.sock_recv(theirs, 65536)
                clock.passes()
                await sleep(0)
                assert one in state.connections
            while one in state.connections:
                await sleep(0)
                clock.passes()

    run(wait_for(play(), PATIENCE))


async def tells(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    await receive()
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    body = json.dumps([scope["path"], scope["raw_path"].decode(), scope["query_string"].decode(), hosts]).encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("/a%20b?c=d", ["/a b", "/a%20b", "c=d", ["here"]]),
        ("http://there:80/a%20b?c=d", ["/a b", "/a%20b", "c=d", ["there:80"]]),
        ("HTTPS://[::1]:80/runs", ["/runs", "/runs", "", ["[::1]:80"]]),
        ("http://there", ["/", "/", "", ["there"]]),
        ("http://there?c=d", ["/", "/", "c=d", ["there"]]),
        ("/http://there/", ["/http://there/", "/http://there/", "", ["here"]]),
        ("ftp://there/", ["ftp://there/", "ftp://there/", "", ["here"]]),
    ],
)
def test_a_whole_address_is_a_target_too_and_its_host_goes_before(target: str, told: list[object]) -> None:
    """RFC 9112, 3.2.2."""
    with listening(tells) as port:
        headers, body = asked(port, f"GET {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        assert (headers["status"], json.loads(body)) == ("200", told)


def test_a_whole_address_without_a_host_or_with_a_user_is_none() -> None:
    """RFC 9110, 4.2.1 and 4.2.4."""
    with listening(tells) as port:
        for host in ("", "here:80@there"):
            request_ = f"GET http://{host}/runs HTTP/1.1\r\nHost: here\r\n\r\n".encode()
            assert refused(port, request_) == (400, MALFORMED)


def test_the_host_of_a_whole_address_is_held_to_be_one_of_ours() -> None:
    with listening(Door(tells, tokens(None, None), {"ours"}, protect_reads=False)) as port:
        assert asked(port, b"GET http://ours/ HTTP/1.1\r\nHost: theirs\r\n\r\n")[0]["status"] == "200"
        assert asked(port, b"GET http://theirs/ HTTP/1.1\r\nHost: ours\r\n\r\n")[0]["status"] == "421"
