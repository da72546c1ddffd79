"""Structured logs to stderr: coloured lines on a terminal, one JSON object a line elsewhere.

An event is what it is about and what happened to it or how it is (`lanes_lost`, `server_away`), written in the call
itself. A field has one name wherever it stands, of FIELDS in deploy/reference/logs.py: `reason` is why, in a
sentence; `hint` what to do, or what is done about it already; `position` is `file:pos` in the binlog; durations end
with `_seconds`, ids with `_id` or `_ids`. `error`: something is lost, or stays wrong until somebody acts. `warning`:
something is not as it should be, and the process copes with it. `info`: the life of the process; `debug`: the rest.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from consumer.settings import RunSettings

TRACEBACK: Final = ExceptionDictTransformer(show_locals=False)
"""An exception as JSON, without variables: they hold customers' data and passwords."""


def configure(settings: RunSettings) -> None:
    """Sets structlog up for this process, as LOG_FORMAT, LOG_LEVEL and NO_COLOR say."""
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what it raises as well
    on_terminal = sys.stderr.isatty()
    colours = on_terminal and not os.environ.get("NO_COLOR")
    console = settings.log_format == "console" or (settings.log_format == "auto" and on_terminal)
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=colours) if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer() if console else structlog.processors.ExceptionRenderer(TRACEBACK),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
