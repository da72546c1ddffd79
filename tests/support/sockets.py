"""What a socket does not do by itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator


def exactly(connection: socket.socket, size: int) -> bytes:
    """The next so many bytes. Raises ConnectionResetError where the other side closes before, and OSError."""
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionResetError("the other side closed the connection")
        found += more
    return found


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Whoever connects, until the listener is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        yield client
