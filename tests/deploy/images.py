"""The images of the compose file: pulled where that works, else made from Debian's and Maven's packages.

Ours stand in for the official ones with the same variables, folders and start files, so that the compose file is tried
as it is.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.engine import Engine
from tests.servers.kafka import kafka_classpath
from tests.servers.mysql import MySQL
from tests.servers.packages import debootstrap
from tests.servers.places import ServerError, home, remove, say
from tests.servers.processes import run, run_or_raise

OFFICIAL = {
    "BASE_IMAGE": "python:3.13-slim-bookworm",
    "MYSQL_IMAGE": "mysql:9",
    "KAFKA_IMAGE": "apache/kafka:4.1.1",
    "POSTGRES_IMAGE": "postgres:17",
    "PROMETHEUS_IMAGE": "prom/prometheus:v3.5.0",
}
"""The compose file's defaults, by the variable that overrides them."""

GRAFANA = "grafana/grafana:12.1.0"

_BASE = "leadstream-tests/python:bookworm"
_SIZE = "{{.Size}}"


def provide(engine: Engine) -> dict[str, str]:
    """The variables for the compose file, every image of theirs being there. Raises ServerError."""
    if all(_is_there(engine, image) or engine.run("pull", "-q", image).returncode == 0 for image in OFFICIAL.values()):
        return dict(OFFICIAL)
    _once(engine, _BASE, lambda: _import_base(engine))
    images = {"BASE_IMAGE": _BASE}
    _once(engine, "leadstream-tests/mysql-tree", lambda: _import_mysql(engine))
    images["MYSQL_IMAGE"] = _build(engine, "mysql", {"TREE": "leadstream-tests/mysql-tree"})
    images["KAFKA_IMAGE"] = _build(engine, "kafka", {"BASE_IMAGE": _BASE}, {"libs": kafka_classpath()})
    for name in ("postgres", "prometheus"):
        images[f"{name.upper()}_IMAGE"] = _build(engine, name, {"BASE_IMAGE": _BASE})
    return images


def has_grafana(engine: Engine) -> bool:
    """Whether Grafana's image is there or can be pulled; nothing stands in for it."""
    return _is_there(engine, GRAFANA) or engine.run("pull", "-q", GRAFANA).returncode == 0


def build_ours(engine: Engine, base: str, name: str) -> None:
    """Builds `deploy/Dockerfile` on `base`. The machine's settings of pip are handed in as secrets, never copied."""
    with _pip_settings() as secrets:
        command = ["build", "--network=host", "--file", "deploy/Dockerfile", "--build-arg", f"BASE_IMAGE={base}"]
        result = engine.run(*command, *secrets, "--tag", name, ".")
    if result.returncode:
        raise ServerError(f"deploy/Dockerfile cannot be built: {result.stderr[-3000:]}")


def size(engine: Engine, image: str) -> int:
    """Bytes of all layers."""
    return int(engine.ask("image", "inspect", "--format", _SIZE, image))


def _is_there(engine: Engine, image: str) -> bool:
    return engine.run("image", "inspect", "--format", _SIZE, image).returncode == 0


def _once(engine: Engine, image: str, make: Callable[[], None]) -> None:
    if not _is_there(engine, image):
        say(f"docker: making {image}")
        make()


def _import_base(engine: Engine) -> None:
    """A Debian with Python and little else, as `debian:bookworm-slim` is: no manuals, no translations, no lists."""
    folder = home() / "docker" / "bookworm"
    remove(folder)
    folder.mkdir(mode=0o755)
    debootstrap("bookworm", folder, ["python3", "python3-venv"])
    _import(engine, folder, _BASE)
    remove(folder)


def _import_mysql(engine: Engine) -> None:
    MySQL().install()
    _import(engine, home() / "mysql", "leadstream-tests/mysql-tree")


def _import(engine: Engine, folder: Path, name: str) -> None:
    left_out = [
        "./proc/*", "./sys/*", "./dev/*", "./srv/*", "./tmp/*", "./var/cache/apt/*", "./var/lib/apt/lists/*",
        "./usr/share/doc/*", "./usr/share/info/*", "./usr/share/locale/*", "./usr/share/man/*/*", "./var/log/*",
    ]  # fmt: skip
    excludes = " ".join(f"'--exclude={pattern}'" for pattern in left_out)
    docker = " ".join(f"'{word}'" for word in engine.command("import", "-", name))
    run_or_raise(
        ["bash", "-c", f"set -o pipefail; tar -C '{folder}' {excludes} -c . | {docker}"], f"docker import {name}"
    )


def _build(engine: Engine, kind: str, arguments: Mapping[str, str], folders: Mapping[str, Path] | None = None) -> str:
    """Builds tests/deploy/images/KIND; the engine's cache makes a second time quick."""
    name = f"leadstream-tests/{kind}"
    with tempfile.TemporaryDirectory() as context:
        shutil.copytree(Path(__file__).with_name("images") / kind, context, dirs_exist_ok=True)
        for target, source in (folders or {}).items():
            shutil.copytree(source, Path(context) / target)
        given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        say(f"docker: building {name}")
        result = engine.run("build", "--network=host", *given, "--tag", name, context)
    if result.returncode:
        raise ServerError(f"the image {name} cannot be built: {result.stderr[-3000:]}")
    return name


@contextmanager
def _pip_settings() -> Iterator[list[str]]:
    """The machine's own way to a package index, as arguments of `docker build`: pip's settings, and the CA file."""
    listed = run([sys.executable, "-m", "pip", "config", "list"]).stdout.splitlines()
    values: dict[str, str] = {}
    for line in listed:  # section.name='value'; the section :env: is the environment's and wins
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", "install", ":env:") and name in ("index-url", "extra-index-url", "trusted-host"):
            values[name] = value.strip("'")
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "pip.conf"
        settings.touch(mode=0o600)
        cert = {"cert": str(certificates)} if certificates.exists() else {}
        settings.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in {**values, **cert}.items()))
        secrets = ["--secret", f"id=pip_conf,src={settings}"]
        if certificates.exists():
            secrets += ["--secret", f"id=ca,src={os.path.realpath(certificates)}"]
        yield secrets
