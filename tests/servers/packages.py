"""Software from Debian's and Maven's package registries, fetched by their ordinary clients.

Which mirror and which proxy is the machine's business: everything is asked of apt at run time.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

from tests.servers.places import ServerError, built, home, locked, remove, say
from tests.servers.processes import complaint, run, run_or_raise

_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Options::=--force-confold")
_APT_ERROR = 100  # its exit status; an interrupted one is not tried again
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_POLICY = Path("/usr/sbin/policy-rc.d")
_OUR_POLICY = "#!/bin/sh\n# written by tests/servers while it installs packages; safe to delete\nexit 101\n"


def install(*packages: str) -> None:
    """Installs those Debian packages that are missing, starting none of their services."""
    with locked("apt"):
        missing = [package for package in packages if not is_installed(package)]
        if not missing:
            return
        say(f"apt: installing {' '.join(missing)}")
        if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
            update()
        command = [*_APT, "install", "--no-install-recommends", *missing]
        with _services_held_back():
            result = run(command)
            if result.returncode == _APT_ERROR:  # most often the lists are older than the mirror's files
                update()
                result = run(command)
        if result.returncode:
            raise ServerError(f"apt-get cannot install {' '.join(missing)}: {complaint(result.stderr)}")


def is_installed(package: str) -> bool:
    """Whether dpkg has the package, unpacked and configured."""
    return run(["dpkg-query", "-W", "-f=${Status}", package]).stdout == "install ok installed"


@cache
def in_this_release(package: str, version: str = "") -> bool:
    """Whether this machine's Debian has a package, of that version where one is named; installed or to be had."""
    policy = [line.split() for line in run(["apt-cache", "policy", package]).stdout.splitlines()]
    known = [words[1].rpartition(":")[2] for words in policy if words and words[0] in {"Installed:", "Candidate:"}]
    found = [name for name in known if name != "(none)"]
    return bool(found) and all(f"{name}.".startswith(f"{version}." if version else "") for name in found)


def update() -> None:
    """Fetches apt's lists."""
    say("apt: fetching the package lists")
    run_or_raise([*_APT, "update"], "apt-get update")


def mirror() -> str:
    """The address of the Debian mirror this machine uses for its own release."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    codename = release.get("VERSION_CODENAME", "").strip('"')
    ask = ["apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian", f"Codename: {codename}"]
    sites = sorted(set(run(ask).stdout.split()))
    if not sites:
        update()
        sites = sorted(set(run(ask).stdout.split()))
    if not sites:
        raise ServerError(f"apt knows no mirror for Debian {codename}; add one to /etc/apt/sources.list")
    return sites[0]


def debootstrap(suite: str, folder: Path, packages: Sequence[str], *, proc: bool = False) -> None:
    """Fills `folder` with a minimal Debian of that suite and those packages, for chroot.

    Some packages are installed only where they find a `/proc`: it is mounted for apt alone, and gone with it.
    """
    install("debootstrap")
    site = mirror()
    secure = site.startswith("https:")
    command = ["debootstrap", "--variant=minbase", *(["--include=ca-certificates"] if secure else [])]
    say(f"debootstrap: unpacking a minimal Debian {suite}")
    run_or_raise([*command, suite, str(folder), site], f"debootstrap {suite}")
    for settings in _settings_of_apt():
        shutil.copy(settings, folder / "etc/apt/apt.conf.d")
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if secure and certificates.exists():
        shutil.copy(certificates, folder / "etc/ssl/certs")
    policy = folder / _POLICY.relative_to("/")
    policy.write_text(_OUR_POLICY)
    policy.chmod(0o755)
    say(f"debootstrap: installing {' '.join(packages)} in it")
    apt = ["chroot", str(folder), *_APT]
    run_or_raise([*apt, "update"], f"apt-get update in {suite}")
    mounted = ["unshare", "--mount", "sh", "-c", 'mount -t proc proc "$0/proc" && exec "$@"', str(folder)]
    fetch = [*apt, "install", "--no-install-recommends", *packages]
    run_or_raise([*mounted, *fetch] if proc else fetch, f"apt-get install from {suite}")
    run_or_raise([*apt, "clean"], f"apt-get clean in {suite}")


def maven_libs(name: str, coordinates: Sequence[str]) -> Path:
    """The folder with the jars of those Maven artifacts (`group:artifact:version`) and all they need.

    Fetched once; fetched again when the coordinates of that name change.
    """
    folder = home() / "maven" / name
    wanted = "\n".join(coordinates) + "\n"
    with locked(f"maven-{name}"):
        note = folder / "coordinates.txt"
        if note.exists() and note.read_text() != wanted:
            remove(folder)
        return built(folder, lambda part: _fetch(part, name, coordinates, wanted))


def java() -> str:
    """The path of a Java 17 or later; installs Debian's where there is none."""
    if shutil.which("java") is None:
        install("default-jre-headless")
    return shutil.which("java") or "java"


def _fetch(folder: Path, name: str, coordinates: Sequence[str], wanted: str) -> None:
    if shutil.which("mvn") is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise ServerError(f"the jars of {name} need Maven, which is not on the PATH; install it (mvn)")
        java()
        install("maven")
    say(f"maven: fetching {name} ({', '.join(coordinates)})")
    (folder / "pom.xml").write_text(_pom(name, coordinates))
    command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), f"{_COPY}:copy-dependencies"]
    result = run([*command, f"-DoutputDirectory={folder}", "-DincludeScope=runtime"])
    if result.returncode:
        raise ServerError(f"Maven cannot fetch {name}: {complaint(result.stdout + result.stderr)}")
    (folder / "coordinates.txt").write_text(wanted)


def _pom(name: str, coordinates: Sequence[str]) -> str:
    parts = [coordinate.split(":") for coordinate in coordinates]
    dependencies = "".join(
        f"<dependency><groupId>{escape(group)}</groupId><artifactId>{escape(artifact)}</artifactId>"
        f"<version>{escape(version)}</version></dependency>"
        for group, artifact, version in parts
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>leadstream.servers</groupId><artifactId>{escape(name)}</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
    )


@contextmanager
def _services_held_back() -> Iterator[None]:
    """Keeps packages from starting services while they are installed (invoke-rc.d(8), policy-rc.d).

    A policy of the machine's own is left as it is; ours is known by its text, so that one left over by
    an interrupted run goes with the next.
    """
    if not _POLICY.exists():
        _POLICY.write_text(_OUR_POLICY)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if _POLICY.read_text() == _OUR_POLICY:
            _POLICY.unlink()


def _settings_of_apt() -> list[Path]:
    """The machine's apt settings without which the mirror cannot be reached: artifact, proxy, CA."""
    return [
        path
        for path in sorted(Path("/etc/apt/apt.conf.d").iterdir())
        if "artifact" in path.name or "Acquire::http" in path.read_text(errors="replace")
    ]
