"""What a socket does not do by itself."""

from __future__ import annotations

import socket


def exactly(connection: socket.socket, size: int) -> bytes:
    """The next so many bytes. Raises ConnectionResetError where the other side closes before, and OSError."""
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionResetError("the other side closed the connection")
        found += more
    return found
