"""`reconciler` as a person sees it on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.processes import PROGRAMS
from tests.support.waiting import PATIENCE

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(world: ReconcilerWorld, *arguments: str, columns: int = 120, **settings: str) -> tuple[int, str]:
    """Runs a command with a terminal for everything; its exit code and what was to be seen, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [str(PROGRAMS / "reconciler"), *arguments], env=world.processes.env | settings | {"TERM": "xterm-256color"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody has the terminal open any more
            break
        if not part:
            break
        seen += part
    os.close(ours)
    return process.wait(PATIENCE), ESCAPES.sub("", seen.decode())


def test_long_runs_show_a_bar_with_rate_and_remaining_time(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    for user_id in range(1, 41):
        world.user(user_id)
    for command in ("backfill", "verify"):
        code, seen = on_a_terminal(world, command, columns=160)  # wide enough for any duration
        assert code == 0, seen
        (bars) = re.findall(command + r" .*?(\d+)% +(\d+) users, +([\d,]+)/s, +(\S+) +left", seen)
        assert bars, seen
        assert bars[-1][:2] == ("100", "40")
        assert re.fullmatch(r"\d+:\d\d:\d\d|-:--:--", bars[-1][3])
        assert re.search(command[:4] + r"\S* +ok +40 ", seen), (
            "the table follows the bar, as wide as the terminal lets it"
        )


def test_a_table_fits_a_terminal_and_what_is_wrong_is_one_sentence(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=60)
    code, seen = on_a_terminal(world, "run", "all", "--dry-run")
    assert code == 0
    assert "new-users: drift 1 unknown" in seen
    assert max(len(line) for line in seen.splitlines()) <= 120
    code, seen = on_a_terminal(world, "run", "nonsense")
    assert code == 2
    assert len(seen.strip().splitlines()) == 1
    code, seen = on_a_terminal(world, "run", "all", DATABASE_URL="postgresql://me:hush@127.0.0.1:1/calls")
    assert code == 1
    assert "127.0.0.1:1" in seen
    assert "hush" not in seen
    assert "Traceback" not in seen
    for arguments in ((), ("run", "--help"), ("verify", "--help"), ("backfill", "--help"), ("age", "--help")):
        _, seen = on_a_terminal(world, *arguments)
        assert "Usage:" in seen
        assert not arguments or f"Example: reconciler {arguments[0]}" in seen or "reconciler age" in seen
