"""Both programs' commands and options, as their --help has them."""

from __future__ import annotations

import re
from typing import Final

import typer
import typer.main
from typer.cli import get_docs_for_click

import consumer.cli
import reconciler.cli

ABOUT: Final = """# Commands

Made by `make reference` from the commands themselves; not edited by hand.

Processes end cleanly on SIGTERM and Ctrl-C. Logs are JSON lines on stderr, coloured on a terminal, and never hold a
customer's data.

| exit code | means |
|---|---|
| 0 | done; also where SIGTERM ended it in good order |
| 1 | failed, drift found, a check that failed, or leads refused by PostgreSQL (`leadstream.runs` says how many) |
| 2 | wrong usage, settings or Kafka properties |
| 3, 4 | of `consumer audit`: rows differ; nothing differs, but not all could be looked at |
| 130 | interrupted by Ctrl-C |

"""


def page() -> str:
    """The page."""
    programs = {"consumer": consumer.cli.app, "reconciler": reconciler.cli.app}
    return ABOUT + "\n".join(_program(name, app) for name, app in programs.items())


def _program(name: str, app: typer.Typer) -> str:
    group = typer.main.get_command(app)
    text = get_docs_for_click(obj=group, ctx=typer.Context(group, info_name=name), name=name)
    text = re.sub(r"^(#+)", r"#\1", text, flags=re.MULTILINE)  # below the page's own heading
    return re.sub(r"\*\*(\w+)\*\*:", r"\1:", text).replace("\n* `--help`: Show this message and exit.", "")
