"""A real headless Chromium: Debian's, installed where that is possible."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

PROGRAM = "/usr/bin/chromium"
QUIETLY = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def install() -> None:
    """Installs Debian's chromium where it is missing; says what to do where that cannot be done here."""
    if Path(PROGRAM).exists():
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.fail(f"{PROGRAM} is missing; run `apt-get install chromium` as root")
    with Path("/tmp/install-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not Path(PROGRAM).exists():
            subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
            line = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
            subprocess.run(line, check=True, capture_output=True)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for a whole module."""
    install()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(QUIETLY))
        try:
            yield browser
        finally:
            browser.close()


def axe(folder: Path) -> str | None:
    """The source of axe-core, fetched by npm and kept nowhere else; None where npm cannot have it."""
    if shutil.which("npm") is None:
        return None
    line = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4.10.3"]
    done = subprocess.run(line, capture_output=True, check=False, timeout=120)
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    return source.read_text() if done.returncode == 0 and source.exists() else None
