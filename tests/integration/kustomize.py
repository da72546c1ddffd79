"""The real kustomize: the one on the PATH, else built from its Go module and kept below `.servers`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from tests.servers import ServerError
from tests.servers.packages import install
from tests.servers.places import built, home, locked, say
from tests.servers.processes import run, run_or_raise

MODULE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.0.3"
"""The newest that Debian 12's own Go builds."""
DEBIANS_GO: Final = "/usr/bin/go"


def kustomize() -> str:
    """The path of the program. Raises ServerError, naming what is missing, where it cannot be had."""
    found = shutil.which("kustomize")
    if found:
        return found
    with locked("kustomize"):
        return str(built(home() / "kustomize" / MODULE.rpartition("@")[2], _build) / "kustomize")


def render(folder: Path) -> list[dict[str, Any]]:
    """What `kustomize build` makes of a folder, object by object. Raises ServerError."""
    text = run_or_raise([kustomize(), "build", str(folder)], f"kustomize build {folder.name}")
    return [document for document in yaml.safe_load_all(text) if document]


def _build(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise ServerError("neither kustomize nor go is on the PATH, and installing Go needs root on Debian")
        install("golang-go")
        go = DEBIANS_GO
    say(f"go: building {MODULE}")
    work = folder / "work"
    environment = [f"GOBIN={folder}", f"GOPATH={work}", f"GOCACHE={work / 'cache'}", "GOFLAGS=-modcacherw"]
    result = run(["env", *environment, go, "install", MODULE])
    shutil.rmtree(work, ignore_errors=True)
    if result.returncode:
        raise ServerError(f"kustomize cannot be had: go install {MODULE} says {result.stderr.strip()[-500:]}")
