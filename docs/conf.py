"""How `make docs` builds the pages: offline, and every link to a page, a section or a file of ours is checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sphinx.application import Sphinx
from sphinx.util import logging

project = "leadstream"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "leadstream"
html_static_path = ["_static"]
html_show_copyright = False
myst_heading_anchors = 3

DOCS: Final = Path(__file__).parent
LINK: Final = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")


def outside(app: Sphinx, page: str, source: list[str]) -> None:
    """Writes links to files that are no pages as those files' names; a file that is not there is a warning."""
    folder = (DOCS / page).parent

    def written(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = (folder / target).resolve()
        if path.is_relative_to(DOCS):
            return link[0]
        if not path.exists():
            logging.getLogger(__name__).warning("there is no file %s", target, location=page)
        name = path.relative_to(DOCS.parent)
        return f"`{name}`" if text in (str(name), target) else f"{text} (`{name}`)"

    source[0] = LINK.sub(written, source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", outside)
