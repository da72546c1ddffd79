"""`consumer settings` and `reconciler settings`: each program's settings as a process here would take them, masked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from consumer.ending import WRONG_SETTINGS, paper
from consumer.settings import (
    ApplierSettings,
    DatabaseSettings,
    DiscoverySettings,
    KafkaSettings,
    ReaderSettings,
    ReplicaSettings,
    RunSettings,
    SettingsError,
    _Settings,
    dotenv,
    file_of,
    load,
)

KINDS: Final[tuple[type[_Settings], ...]] = (
    ReplicaSettings,
    KafkaSettings,
    DatabaseSettings,
    ReaderSettings,
    ApplierSettings,
    DiscoverySettings,
    RunSettings,
)
SECRET: Final = re.compile(r"password|secret|\.key|\.pem|sasl\.oauthbearer")
"""Properties of Kafka's client that nobody should see."""
MASK: Final = "•••"
SAFE_PARAMETERS: Final = frozenset(
    {"sslmode", "ssl_mode", "sslrootcert", "ssl_ca", "connect_timeout", "application_name"}
)


class Setting(NamedTuple):
    """One variable: the concern it belongs to, its value as it may be shown, and where that is from.

    `problem` says what is wrong with the concern's settings; then the others of it have no value.
    """

    concern: str
    name: str
    value: str
    origin: str
    problem: str = ""


def settings(kinds: Sequence[type[_Settings]] = KINDS) -> list[Setting]:
    """Every setting of these kinds, in their order."""
    written = dotenv()
    found: list[Setting] = []
    for kind in kinds:
        concern = kind.__name__.removesuffix("Settings").lower()
        try:
            loaded = load(kind)
            properties = loaded.librdkafka if isinstance(loaded, KafkaSettings) else {}
        except SettingsError as error:
            found += [Setting(concern, name.upper(), "", _origin(name.upper(), written), str(error))
                      for name in kind.model_fields]  # fmt: skip
            continue
        for name in kind.model_fields:
            value = _shown(getattr(loaded, name))
            found.append(Setting(concern, name.upper(), value, _origin(name.upper(), written)))
        found += [
            Setting(concern, f"KAFKA_{name.upper().replace('.', '_')}", MASK if SECRET.search(name) else value, "set")
            for name, value in sorted(properties.items())
            if name != "bootstrap.servers"
        ]
    return found


def show(kinds: Sequence[type[_Settings]] = KINDS, *, as_json: bool) -> None:
    """The settings of these kinds as JSON, or as a table and below it what is wrong.

    Raises typer.Exit where something is: the command's exit code is WRONG_SETTINGS then.
    """
    found = settings(kinds)
    problems = list(dict.fromkeys(one.problem for one in found if one.problem))
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found]))
    else:
        _print(found, problems, paper())
    if problems:
        raise typer.Exit(WRONG_SETTINGS)


def _print(found: Sequence[Setting], problems: Sequence[str], console: Console) -> None:
    table = Table("concern", "variable", "value", "from")
    for one in found:
        table.add_row(one.concern, one.name, one.value, one.origin)
    console.print(table)
    for problem in problems:
        console.print(problem, style="bold red", markup=False, highlight=False)


def masked(url: str) -> str:
    """A URL without its password, and without parameters that might be one."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}:{MASK}@" if parts.username else ""
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    query = "&".join(f"{key}={value if key in SAFE_PARAMETERS else MASK}" for key, _, value in pairs)
    return f"{parts.scheme}://{user}{host}{parts.path}" + (f"?{query}" if query else "")


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return masked(text) if "://" in text else MASK
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _origin(name: str, written: dict[str, str]) -> str:
    if name in os.environ:
        return "environment"
    if path := file_of(name, written):
        return path
    return ".env" if name in written else "default"
