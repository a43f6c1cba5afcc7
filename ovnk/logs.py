"""Structured logs of a daemon: constant messages, facts as fields, as JSON lines or for a terminal."""

import logging
import sys

import structlog

from ovnk.errors import ConfigError

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(log_format: str, level: str) -> None:
    """Log to standard error from now on. Raises ConfigError for a format or level that there is not."""
    if log_format not in ("json", "console"):
        raise ConfigError(f'log_format "{log_format}" is neither "json" nor "console"')
    if level not in LEVELS:
        raise ConfigError(f'log_level "{level}" is none of {", ".join(LEVELS)}')
    renderer = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
