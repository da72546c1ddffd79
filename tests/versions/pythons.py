"""Other Pythons, each with the locked dependencies in a virtual environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.servers.packages import debootstrap, install
from tests.servers.places import PROJECT, ServerError, built, home, locked, open_folder, say
from tests.servers.processes import complaint, run, run_or_raise

_OF_UNSTABLE: Final = ("3.13", "3.14")
_VERSION: Final = "import sys, venv; print(*sys.version_info[:2], sep='.')"


class PythonMissing(Exception):
    """A Python cannot be had here with all that is locked; the message says why."""


def environment(version: str) -> Path:
    """The Python of a virtual environment with the locked dependencies and this project.

    Raises PythonMissing where a locked dependency has no wheel for that Python.
    """
    folder = open_folder(home() / "versions") / f"python-{version}"
    with locked(f"python-{version}"):
        try:
            return _filled(folder, interpreter(version)) / "bin" / "python"
        except ServerError as error:
            raise PythonMissing(str(error)) from error


def interpreter(version: str) -> Path:
    """A Python of that version: this machine's, else that of Debian's unstable suite."""
    for candidate in (sys.executable, shutil.which(f"python{version}")):
        if candidate is not None and run([candidate, "-c", _VERSION]).stdout.strip() == version:
            return Path(candidate)
    if version not in _OF_UNSTABLE:
        raise ServerError(f"there is no Python {version} on this machine; install it")
    chroot = open_folder(home() / "versions") / "pythons"
    with locked("pythons"):
        return built(chroot, _unpack) / "usr" / "bin" / f"python{version}"


def _unpack(folder: Path) -> None:
    """Fills the folder and makes its Pythons run outside of it: they name their own loader and libraries."""
    debootstrap("sid", folder, [f"python{version}" for version in _OF_UNSTABLE])
    install("patchelf")
    final = folder.with_name(folder.name.removesuffix(".part"))
    (loader,) = folder.glob("usr/lib64/ld-linux-*.so.*")
    (library,) = folder.glob("usr/lib/*/libc.so.6")
    where = ["--force-rpath", "--set-rpath", str(final / library.parent.relative_to(folder))]
    for version in _OF_UNSTABLE:
        program = str(folder / "usr" / "bin" / f"python{version}")
        command = ["patchelf", "--set-interpreter", str(final / loader.relative_to(folder)), *where, program]
        run_or_raise(command, f"making Python {version} run")


def _filled(folder: Path, python: Path) -> Path:
    """The virtual environment, whole: its packages have the hashes of the lock, and none is built here."""
    lock = PROJECT / "requirements.lock"
    wanted = f"{PROJECT}\n{lock.read_text()}"
    note = folder / "holds.txt"
    if note.exists() and note.read_text() == wanted:
        return folder
    say(f"{folder.name}: installing the locked dependencies")
    shutil.rmtree(folder, ignore_errors=True)
    run_or_raise([str(python), "-m", "venv", "--without-pip", str(folder)], f"making {folder.name}")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    _pip([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)])
    _pip([*pip, "--no-deps", "--no-build-isolation", "--editable", str(PROJECT)])
    note.write_text(wanted)
    return folder


def _pip(command: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    if result.returncode:
        raise ServerError(complaint(result.stderr))
