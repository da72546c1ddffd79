"""Processes that outlive the one that starts them, and are never mistaken for somebody else's."""

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.places import ServerError
from tests.support.waiting import NeverCame, until

_UMASK = 0o022  # whoever calls us: what we install must be readable by the servers' own accounts

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class ProcessId:
    """A process named beyond doubt: pids are reused, but not with the same start time since the same boot."""

    pid: int
    started: int  # clock ticks since boot
    boot: str
    marker: str  # stands in the command line


def spawn(
    argv: Sequence[str], *, marker: str, log: Path, user: str | None = None, cwd: Path | None = None
) -> ProcessId:
    """Starts a process in a session of its own, both outputs appended to `log`.

    `marker` must be part of `argv`; it is how the process is known again.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cwd or "/",
            user=user,
            group=_group_of(user),
            extra_groups=[] if user else None,
            umask=_UMASK,
        )
    _children[child.pid] = child
    return identify(child.pid, marker)


def identify(pid: int, marker: str = "") -> ProcessId:
    """The identity of a process that runs now."""
    return ProcessId(pid, _start_time(pid), _boot(), marker)


def is_alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs (a zombie does not)."""
    child = _children.get(process.pid)
    if child is not None and child.poll() is not None:
        return False
    try:
        same = _start_time(process.pid) == process.started and _boot() == process.boot
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Between fork and the end of exec a process has no command line yet; its start time has to do.
    return same and (not command or process.marker.encode() in command)


def end(process: ProcessId, how: signal.Signals, patience: float) -> bool:
    """Ends exactly this process with signal `how`, by SIGKILL after `patience` seconds.

    Returns whether the signal `how` was enough. A process that is gone already is fine.
    """
    if not is_alive(process):
        return True
    if how == signal.SIGKILL:
        _kill_with_children(process.pid)
    else:
        os.kill(process.pid, how)
    willing = _gone_within(process, patience)
    if not willing:
        _kill_with_children(process.pid)
        _gone_within(process, 30)
    child = _children.pop(process.pid, None)
    if child is not None:
        child.wait()
    return willing


def run(
    argv: Sequence[str], *, user: str | None = None, stdin: str = "", cwd: Path | None = None, patience: float = 900
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and returns what it said; never raises for its exit status."""
    return subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd or "/",
        user=user,
        group=_group_of(user),
        extra_groups=[] if user else None,
        umask=_UMASK,
        timeout=patience,
        env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
    )


def run_or_raise(argv: Sequence[str], what: str, *, user: str | None = None, stdin: str = "") -> str:
    """Runs a command and returns its stdout; raises ServerError, naming `what`, where it fails."""
    result = run(argv, user=user, stdin=stdin)
    if result.returncode:
        raise ServerError(f"{what} fails (status {result.returncode}): {complaint(result.stderr or result.stdout)}")
    return result.stdout


def complaint(text: str) -> str:
    """What went wrong, from a program's output: its first line with an error, else its last lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return errors[0] if errors else " ".join(lines[-6:]) or "it says nothing"


def _kill_with_children(pid: int) -> None:
    """SIGKILL to a process and its children, as a crash of the machine would hit them.

    PostgreSQL's sessions would outlive their parent for a moment and keep the next one from starting.
    """
    children = [child for child in _processes() if _parent_of(child) == pid]
    for victim in [pid, *children]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _parent_of(pid: int) -> int | None:
    try:
        return int(_stat(pid)[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _group_of(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _gone_within(process: ProcessId, seconds: float) -> bool:
    try:
        return until(lambda: not is_alive(process), f"process {process.pid} was gone", seconds)
    except NeverCame:
        return False


def _start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot."""
    state, *fields = _stat(pid)
    if state in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[18])


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from its third field, the state, on (proc(5)); the name before may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
