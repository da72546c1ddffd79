"""How many arenas the threads of a process have, and what they keep."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Final

import pytest

from consumer.tuning import ARENAS

GLIBC: Final = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="arenas, malloc_info and malloc_trim are glibc's"
)
THREADS: Final = 12
COUNT: Final = f"""
import ctypes, re, sys, tempfile, threading
from consumer.tuning import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fdopen.restype = ctypes.c_void_p, ctypes.c_void_p
started = threading.Barrier({THREADS})
def work():
    started.wait()
    libc.malloc(5000)
    started.wait()
threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.TemporaryFile() as told:
    file = ctypes.c_void_p(libc.fdopen(told.fileno(), b"w"))
    libc.malloc_info(0, file)
    libc.fflush(file)
    told.seek(0)
    print(len(re.findall(rb"<heap nr", told.read())))
"""

BLOCKS: Final = 50_000
KEPT: Final = f"""
import ctypes, os
from consumer.tuning import give_back_freed
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [libc.malloc(1000) for _ in range({BLOCKS})]
for block in blocks:
    ctypes.memset(block, 1, 1000)
for block in blocks[:-1]:
    libc.free(block)
before = rss()
give_back_freed()
print(before - rss())
"""
"""The last block, which stays, lies behind all that were freed."""


def arenas(how: str) -> int:
    """How many a process has whose threads have all allocated something."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    return told([sys.executable, "-c", COUNT, how], environment)


def told(command: list[str], environment: dict[str, str]) -> int:
    """The number that a process prints."""
    return int(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)


@GLIBC
def test_threads_share_a_few_arenas() -> None:
    assert arenas("by default") > ARENAS
    assert arenas("shared") <= ARENAS


@GLIBC
def test_pages_that_were_freed_before_a_block_that_stays_are_given_back() -> None:
    assert told([sys.executable, "-c", KEPT], dict(os.environ)) > 0.9 * BLOCKS * 1000
