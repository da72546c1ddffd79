"""PgBouncer between a client and a PostgreSQL, for tests of what it does to sessions."""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import state
from tests.servers.packages import install
from tests.servers.places import ServerError, locked, own
from tests.servers.processes import end, is_alive, spawn

_USER = "nobody"  # PgBouncer refuses root
_PATIENCE = 20.0


def why_not() -> str | None:
    """Why there can be no PgBouncer here; None where there can."""
    if _program() is not None or (os.geteuid() == 0 and shutil.which("apt-get")):
        return None
    return "PgBouncer is not on the PATH, and it takes root and apt-get to install it"


@contextmanager
def pgbouncer(postgres_url: str, mode: str, *, servers: int = 3) -> Iterator[str]:
    """The URL of a PgBouncer before that server, of `pool_mode` mode with `servers` connections to it at most."""
    if _program() is None:
        install("pgbouncer")
    parts = urlsplit(postgres_url)
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    with locked("ports"):
        port = state.free_port(set())
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port} user={parts.username} password={parts.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n"
        f"pool_mode = {mode}\ndefault_pool_size = {servers}\nignore_startup_parameters = extra_float_digits,options\n"
    )
    own(folder, _USER)
    command = [_program() or "pgbouncer", str(folder / "pgbouncer.ini")]
    process = spawn(command, marker=str(folder), log=folder / "log", user=_USER)
    try:
        _wait(port, folder, lambda: is_alive(process))
        yield parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
    finally:
        end(process, signal.SIGTERM, _PATIENCE)
        shutil.rmtree(folder)


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _wait(port: int, folder: Path, runs: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if not runs() or time.monotonic() > deadline:
                raise ServerError(f"PgBouncer does not start: {(folder / 'log').read_text()[-500:]}") from error
            time.sleep(0.05)
        else:
            return
