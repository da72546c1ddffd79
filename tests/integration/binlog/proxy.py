"""A bad network between the reader and its server: silent, slow, cut off, or changing bytes."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Self

from tests.support.sockets import accepted

CHUNK = 65536


class Proxy:
    """Passes bytes between its own port and a server; what it does to the server's bytes can be set at any time.

    `pause` seconds pass before each `chunk` bytes; `silent` passes nothing more; `cut_after` bytes end the connection;
    `flip_at` is the number of the byte (of those since it was set) in which one bit is changed.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.pause = 0.0
        self.chunk = CHUNK
        self.silent = False
        self.cut_after: int | None = None
        self.flip_at: int | None = None

    @property
    def connections(self) -> int:
        """How many clients have come so far."""
        return len(self._sockets) // 2

    @property
    def outward_ports(self) -> set[int]:
        """The ports by which servers know its connections."""
        return {one.getsockname()[1] for one in self._sockets[1::2] if one.fileno() != -1}

    def lead_to(self, host: str, port: int) -> None:
        """Takes connections to another server from here on; those that are there stay where they are."""
        self._server = (host, port)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        for client in accepted(self._listener):
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(CHUNK):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(self.chunk):
                while self.silent:
                    time.sleep(0.05)
                if self.pause:
                    time.sleep(self.pause)
                if self.flip_at is not None:
                    if self.flip_at < len(data):
                        data = data[: self.flip_at] + bytes([data[self.flip_at] ^ 4]) + data[self.flip_at + 1 :]
                        self.flip_at = None
                    else:
                        self.flip_at -= len(data)
                if self.cut_after is not None:
                    data = data[: self.cut_after]
                    self.cut_after -= len(data)
                client.sendall(data)
                if self.cut_after == 0:
                    self.cut_after = None
                    client.shutdown(socket.SHUT_RDWR)
                    return
        except OSError:
            pass
