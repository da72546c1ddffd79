"""Where everything of the test servers lives on disk, and how it gets there whole or not at all."""

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import versions

PROJECT = Path(__file__).resolve().parents[2]

# A unix socket's path may have 107 bytes; PostgreSQL appends "/.s.PGSQL.12345.lock" to its folder.
LONGEST_SOCKET_FOLDER = 80

_printing = threading.Lock()


class ServerError(Exception):
    """A test server cannot be had; the message names thing, place and repair in one sentence."""


def say(text: str) -> None:
    """Prints a line of progress; on stderr, because `env` owns stdout."""
    with _printing:
        print(text, file=sys.stderr, flush=True)


def home() -> Path:
    """The one folder of installs, logs and state: LEADSTREAM_SERVERS_DIR, else `.servers` in the project.

    Where versions of servers are named, a folder below it of just those versions.
    """
    folder = Path(os.environ.get("LEADSTREAM_SERVERS_DIR") or PROJECT / ".servers").absolute()
    named = versions.named()
    if named:
        folder = folder / "versions" / "-".join(named)
    if not folder.exists():
        open_folder(folder)
        (folder / ".gitignore").write_text("*\n")
    return folder


def data_home() -> Path:
    """Where servers that must not be root keep their data.

    That is `home()/data`, unless a folder above it is closed to other users (a checkout in root's own
    home): then a folder beside the temporary files, which the state file leads to.
    """
    folder = home() / "data"
    if any(not above.stat().st_mode & stat.S_IXOTH for above in folder.parents):
        folder = Path(tempfile.gettempdir()) / f"leadstream-servers-{_digest(home())}"
    return open_folder(folder)


def socket_folder(preferred: Path) -> Path:
    """`preferred`, or a short stand-in among the temporary files where a socket's path would grow too long."""
    if len(os.fsencode(preferred)) <= LONGEST_SOCKET_FOLDER:
        return preferred
    return Path(tempfile.gettempdir()) / f"leadstream-{_digest(preferred)}"


def open_folder(folder: Path) -> Path:
    """Creates `folder`, and what is missing above it, enterable by every account whatever our umask is."""
    if not folder.exists():
        open_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    return folder


def own(folder: Path, user: str | None) -> None:
    """Creates `folder`, open to `user` alone (root where None)."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.chown(folder, user or "root")
    folder.chmod(0o700)


def built(target: Path, build: Callable[[Path], None]) -> Path:
    """`target`, built by `build(temporary folder)` and renamed when complete, so that half-made is not made."""
    if not target.exists():
        part = target.with_name(f"{target.name}.part")
        remove(part)
        open_folder(part)
        build(part)
        part.rename(target)
    return target


def copied(
    kind: str, options: list[str], target: Path, make: Callable[[Path], None], leave: tuple[str, ...] = ()
) -> None:
    """`target`, an empty folder, filled with what `make` made once for this kind of server and these options.

    Making a server's data takes six seconds, copying them a quarter of one. `leave` are files that each server has of
    its own.
    """
    name = f"{kind}-{hashlib.sha256(' '.join(options).encode()).hexdigest()[:10]}"
    with locked(f"made-{name}"):
        made = built(target.parent.parent / f".made-{name}", make)
    subprocess.run(["cp", "--archive", "--reflink=auto", f"{made}/.", str(target)], check=True)
    for file in leave:
        (target / file).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Removes a folder with all it holds; one that is not there is fine."""
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Holds the lock `what` against other processes and threads; the kernel frees it if we die."""
    path = home() / "locks" / what
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
