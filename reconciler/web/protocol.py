"""HTTP/1 as uvicorn speaks it, and whole addresses as targets, which it does not know.

What uvicorn refuses itself is answered in the shape of every other error.
"""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.web.middleware import HEADERS, LINGER_SECONDS, refusal, refuse

MALFORMED: Final = "this is no request of HTTP/1.1, or it ends amid one"
REQUEST_SECONDS: Final = 30.0
"""How long the head of a request may take, from its first byte or from the beginning of the connection, and how long
nothing may be taken of an answer that the next one waits for, or the end of the connection: clients that stand still
would shut out all others."""
SCHEMES: Final = frozenset({b"http", b"https"})
TOO_LARGE: Final = "the address and headers of this request are too large; send less"


def by_path(scope: Scope) -> Scope:
    """A request for a whole address as one for its path, from its host instead of `Host` (RFC 9112, 3.2.2).

    Any other stays as it is. Raises ValueError for an address without a host, or with a user (RFC 9110, 4.2).
    """
    scheme, _, rest = scope["raw_path"].partition(b"://")
    if scheme.lower() not in SCHEMES:
        return scope
    host, _, path = rest.partition(b"/")
    if not host or b"@" in host:
        raise ValueError("no address of a server")
    raw = b"/" + path
    headers = [(b"host", host), *(header for header in scope["headers"] if header[0] != b"host")]
    return {**scope, "path": unquote(raw.decode("ascii")), "raw_path": raw, "headers": headers}


class Protocol(H11Protocol):
    """One connection."""

    def __init__(self, *given: Any, **more: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*given, **more)
        most, self.limit_concurrency = self.limit_concurrency, None  # uvicorn would refuse in words of its own
        asked = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if most is not None and len(self.connections) >= most:
                await refuse(
                    send, HTTPStatus.SERVICE_UNAVAILABLE, "too many are connected; ask again in a second", HEADERS
                )
                return
            try:
                scope = by_path(scope)
            except ValueError:
                await refuse(send, HTTPStatus.BAD_REQUEST, MALFORMED, HEADERS)
                return
            await asked(scope, receive, send)

        self.app = app
        self._refused = False
        self._waiting: asyncio.TimerHandle | None = None
        """Ends the connection unless a whole request comes."""
        self._unread: asyncio.TimerHandle | None = None
        """Ends it unless answers go on being taken."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client, which is to ask something."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever's wish it was."""
        self._wait_no_more()
        self._watch_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client, dropped once it was refused."""
        if not self._refused:
            super().data_received(data)
            self._wait()

    def pause_writing(self) -> None:
        """Answers lie unread: the next one, whose request came with this one's, would wait for that without an end."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """The client has read nearly all; the next answer may come, or the end once it has read the rest."""
        self._watch_no_more()
        if self.transport.is_closing():
            self._watch_reading()
        super().resume_writing()

    def _watch_reading(self) -> None:
        """Hangs up on a client once it takes nothing for so long; a slow one may take as long as it needs.

        uvicorn writes a body as one piece, so while this goes on, what is unread only grows less.
        """
        self._watch_no_more()
        unread = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(REQUEST_SECONDS, self._look_at_reading, unread)

    def _look_at_reading(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch_reading()
        else:
            self.transport.abort()

    def _watch_no_more(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def on_response_complete(self) -> None:
        """The end of an answer, as far as we are concerned."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Hangs up on a client that asks nothing."""
        super().timeout_keep_alive_handler()
        self._watch_reading()

    def _wait(self) -> None:
        """Waits for a whole request, for so long; not while one is answered, which has limits of its own."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(REQUEST_SECONDS, self.timeout_keep_alive_handler)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def send_400_response(self, msg: str) -> None:
        """Refuses what cannot be read as HTTP; h11 says by the error at hand whether it is only too large.

        It goes on reading for a moment: whoever is hung up on while still sending may never see the answer.
        """
        self._refused = True
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # amid an answer, which is no longer to be had
            self.transport.close()
            return
        if self.cycle is not None and not self.cycle.response_complete:  # what was to be its answer goes nowhere
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        status = getattr(sys.exception(), "error_status_hint", HTTPStatus.BAD_REQUEST)
        too_large = status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        headers, body = refusal(status, TOO_LARGE if too_large else MALFORMED, HEADERS)
        reason = HTTPStatus(status).phrase.encode()
        for event in (
            h11.Response(status_code=status, headers=headers, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
