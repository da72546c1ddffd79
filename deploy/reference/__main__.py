"""The command `python -m deploy.reference`, which writes every page of docs/reference."""

from __future__ import annotations

from deploy.reference.pages import FOLDER, PAGES

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / f"{name}.md").write_text(page(), encoding="utf-8")
