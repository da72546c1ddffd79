"""PgBouncer between a client and a PostgreSQL, for tests of what it does to sessions."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import state
from tests.servers.packages import install
from tests.servers.places import ServerError, locked, own
from tests.servers.processes import ProcessId, end, is_alive, spawn
from tests.support.waiting import NeverCame, until

_USER = "nobody"  # PgBouncer refuses root
_PATIENCE = 120.0


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
        _wait_until_it_answers(process, port, folder)
        yield parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
    finally:
        end(process, signal.SIGTERM, _PATIENCE)
        shutil.rmtree(folder)


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _wait_until_it_answers(process: ProcessId, port: int, folder: Path) -> None:
    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if is_alive(process):
                return False
            raise ServerError(f"PgBouncer ended while starting: {(folder / 'log').read_text()[-500:]}") from error
        return True

    try:
        until(answers, "PgBouncer answered", _PATIENCE)
    except NeverCame as error:
        raise ServerError(f"PgBouncer does not start: {(folder / 'log').read_text()[-500:]}") from error
