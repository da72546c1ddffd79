"""Whether PostgreSQL does not let us in, whatever language it says so in."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from consumer.doctor.refused import is_refused
from tests.support.sockets import accepted, exactly

START: int = 3 << 16
"""Version 3.0 in what a client begins with; a question for encryption has another (PostgreSQL manual, 55.7)."""


def refusal(state: str, message: str) -> bytes:
    """An ErrorResponse (PostgreSQL's manual, 55.8)."""
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": message}
    body = b"".join(kind.encode() + value.encode() + b"\0" for kind, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """A PostgreSQL that answers every login so; its address."""

    def serve() -> None:
        for client in accepted(listener):
            with client:
                try:
                    while True:
                        size, version = struct.unpack("!ii", exactly(client, 8))
                        if version == START:
                            exactly(client, size - 8)
                            client.sendall(answer)
                            break
                        client.sendall(b"N")
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"postgresql://somebody@127.0.0.1:{listener.getsockname()[1]}/leads?connect_timeout=60"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def failure(address: str) -> psycopg.Error:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(address)
    return caught.value


@pytest.mark.parametrize(
    ("state", "message", "refused"),
    [
        ("28P01", "Passwort-Authentifizierung für Benutzer »somebody« fehlgeschlagen", True),
        ("28000", "kein pg_hba-Eintrag für Host", True),
        ("3D000", "база данных не существует", True),
        ("42501", "keine Berechtigung für Datenbank »leads«", True),
        ("57P03", "das Datenbanksystem startet", False),
        ("53300", 'tut mir leid, schon zu viele Verbindungen: C "28P01" M', False),
        ("08P01", "password authentication failed", True),
    ],
)
def test_a_refusal_is_told_from_a_server_that_is_away_by_its_sqlstate(state: str, message: str, refused: bool) -> None:
    with server(refusal(state, message)) as address:
        assert is_refused(failure(address), address) is refused


def test_a_server_that_is_away_refuses_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"postgresql://somebody@127.0.0.1:{free.getsockname()[1]}/leads"
    assert not is_refused(failure(address), address)
    assert not is_refused(psycopg.OperationalError("the command that prints the password failed"), "")
