"""Every reference page by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.reference import alerts, commands, http, logs, message, metrics, schema, settings, versions

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference"
PAGES: Final[dict[str, Callable[[], str]]] = {
    "alerts": alerts.page,
    "commands": commands.page,
    "http": http.page,
    "logs": logs.page,
    "message": message.page,
    "metrics": metrics.page,
    "schema": schema.page,
    "settings": settings.page,
    "versions": versions.page,
}
