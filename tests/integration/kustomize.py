"""The real kustomize: on the PATH, in kubectl, else built from its Go module and kept below `.servers`."""

from __future__ import annotations

import json
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


def kustomize() -> list[str]:
    """The command that builds a folder. Raises ServerError, naming what is missing, where it cannot be had."""
    if found := shutil.which("kustomize"):
        return [found, "build"]
    if (kubectl := shutil.which("kubectl")) and _kustomize_of(kubectl).startswith("v5."):
        return [kubectl, "kustomize"]
    with locked("kustomize"):
        return [str(built(home() / "kustomize" / MODULE.rpartition("@")[2], _build) / "kustomize"), "build"]


def render(folder: Path) -> list[dict[str, Any]]:
    """What kustomize makes of a folder, object by object. Raises ServerError."""
    text = run_or_raise([*kustomize(), str(folder)], f"kustomize build {folder.name}")
    return [document for document in yaml.safe_load_all(text) if document]


def _kustomize_of(kubectl: str) -> str:
    """The version of kustomize that is built into kubectl; empty for one too old to tell."""
    told = run([kubectl, "version", "--client", "--output=json"])
    return str(json.loads(told.stdout).get("kustomizeVersion", "")) if told.returncode == 0 else ""


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
