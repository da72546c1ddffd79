"""Structured logs to stderr: coloured lines on a terminal, one JSON object a line elsewhere."""

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
