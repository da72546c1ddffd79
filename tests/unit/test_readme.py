"""The README names every setting and every command, so that neither is added without a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

import consumer.cli
import consumer.settings
import reconciler.cli
import reconciler.settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
IN_WORDS = {
    "REPLICA_SERVER_ID": "derived",
    "TOPIC_REPLICATION_FACTOR": "broker's",
    "CONSUMER_GROUP": "{prefix}.appliers",
    "SWEEPS": "all four",
    "METRICS_PORT": "0 (off)",
}
"""Defaults that the table tells in words."""


def settings_of(module: object) -> dict[str, object]:
    """Name → default; of a setting that several classes have, the first one's."""
    classes = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, BaseSettings)]
    fields = [(name.upper(), field.default) for kind in reversed(classes) for name, field in kind.model_fields.items()]
    return dict(fields)


SETTINGS = settings_of(reconciler.settings) | settings_of(consumer.settings)


def in_the_table() -> dict[str, str]:
    """Name → default as the README's table has them; a row may tell of several settings, in the same order."""
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`[A-Z_`, ]+`) \| ([^|]+) \|", README, re.MULTILINE):
        several = re.findall(r"`([A-Z_]+)`", names)
        values = defaults.split(", ") if len(several) > 1 else [defaults]
        told.update((name, value.strip("` ")) for name, value in zip(several, values, strict=True))
    return told


def as_told(name: str, default: object) -> str:
    """A default as the table writes it."""
    if name in IN_WORDS:
        return IN_WORDS[name]
    if default in (PydanticUndefined, None, frozenset(), ""):
        return "\N{EN DASH}"
    if isinstance(default, frozenset):
        return ", ".join(sorted(default))
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_stands_in_the_readme_with_its_default(name: str) -> None:
    assert in_the_table().get(name) == as_told(name, SETTINGS[name])


def test_every_file_that_the_readme_names_is_there() -> None:
    names = re.findall(r"\]\(([^)#:]+)\)|src=\"([^\"]+)\"", README)
    found = {name for pair in names for name in pair if name}
    assert len(found) > 10
    assert {name for name in found if not (ROOT / name).exists()} == set()


def test_every_make_target_that_the_readme_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake (?:-s )?([a-z][a-z-]+)", README))
    assert {"demo", "test", "bench"} <= named <= targets


@pytest.mark.parametrize(("program", "app"), [("consumer", consumer.cli.app), ("reconciler", reconciler.cli.app)])
def test_every_command_stands_in_the_readme(program: str, app: typer.Typer) -> None:
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    assert commands
    assert [name for name in commands if f"{program} {name}" not in README] == []
