"""The README names every setting and every command, so that neither is added without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.main
from pydantic_settings import BaseSettings

import consumer.cli
import consumer.settings
import reconciler.cli
import reconciler.settings

README = (Path(__file__).parents[2] / "README.md").read_text()


def settings_of(module: object) -> list[str]:
    classes = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, BaseSettings)]
    return sorted({name.upper() for kind in classes for name in kind.model_fields})


@pytest.mark.parametrize("name", sorted({*settings_of(consumer.settings), *settings_of(reconciler.settings)}))
def test_every_setting_stands_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize(("program", "app"), [("consumer", consumer.cli.app), ("reconciler", reconciler.cli.app)])
def test_every_command_stands_in_the_readme(program: str, app: typer.Typer) -> None:
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    assert commands
    assert [name for name in commands if f"{program} {name}" not in README] == []
