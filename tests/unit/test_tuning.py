"""How many arenas the threads of a process have."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Final

import pytest

from consumer.tuning import ARENAS

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


def arenas(how: str) -> int:
    """How many a process has whose threads have all allocated something."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    command = [sys.executable, "-c", COUNT, how]
    told = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return int(told.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas and malloc_info are glibc's")
def test_threads_share_a_few_arenas() -> None:
    assert arenas("by default") > ARENAS
    assert arenas("shared") <= ARENAS
