"""The documentation is what the code says, builds without a warning, and leads nowhere that is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from pydantic_settings import BaseSettings

import consumer.cli
import consumer.settings
import reconciler.cli
import reconciler.settings
from deploy.reference.pages import FOLDER, PAGES
from deploy.reference.settings import CONCERNS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LONGEST_README = 120


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_make_reference_writes(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text() == PAGES[name]()


def test_no_reference_page_is_written_by_hand() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(PAGES)


def settings_of(module: object) -> dict[str, str | None]:
    """Name → what it is."""
    classes = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, BaseSettings)]
    return {name.upper(): field.description for kind in classes for name, field in kind.model_fields.items()}


def test_every_setting_stands_in_the_reference_and_says_what_it_is() -> None:
    every = settings_of(consumer.settings) | settings_of(reconciler.settings)
    listed = [name.upper() for kind in CONCERNS.values() for name in kind.model_fields]
    assert sorted(listed) == sorted(every)
    assert [
        name for kind in CONCERNS.values() for name, field in kind.model_fields.items() if not field.description
    ] == []


@pytest.mark.parametrize(("program", "app"), [("consumer", consumer.cli.app), ("reconciler", reconciler.cli.app)])
def test_every_command_stands_in_the_reference(program: str, app: typer.Typer) -> None:
    commands = getattr(typer.main.get_command(app), "commands", {})
    assert commands
    text = PAGES["commands"]()
    assert [name for name in commands if f"### `{program} {name}`" not in text] == []


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--nitpicky"),
            *(str(ROOT / "docs"), str(tmp_path / "pages"), "-d", str(tmp_path / "trees")),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST_README


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_a_page_at_the_top_names_is_there(name: str) -> None:
    names = re.findall(r"\]\(([^)#:]+)\)|src=\"([^\"]+)\"", (ROOT / name).read_text())
    found = {name for pair in names for name in pair if name}
    assert found
    assert {name for name in found if not (ROOT / name).exists()} == set()


def test_every_make_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [README, *(path.read_text() for path in (ROOT / "docs").rglob("*.md"))]
    named = {target for text in pages for target in re.findall(r"\bmake (?:-s )?([a-z][a-z-]+)`", text)}
    assert {"demo", "test", "bench", "docs"} <= named | set(re.findall(r"^    make ([a-z]+)", README, re.MULTILINE))
    assert named <= targets


def test_every_test_that_a_page_names_is_there() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        place
        for page in pages
        for place in re.findall(r"\b(?:unit|integration|chaos)/[a-z_0-9/]+(?:\.py)?", page.read_text())
    }
    assert "integration/runbook" in named
    assert {place for place in named if not (ROOT / "tests" / place).exists()} == set()
