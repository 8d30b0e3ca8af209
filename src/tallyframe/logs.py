"""Structured logs of the API, the workers and the command line, with nothing secret in them."""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from tallyframe.redaction import is_harmless, scrubbed

#: Libraries that log only from warnings on: at lower levels, some of them log addresses and orders.
CHATTY = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "google_genai", "openai", "urllib3", "cloudinary"),
    *("arq", "uvicorn", "sqlalchemy", "alembic"),
)

EventDict = MutableMapping[str, Any]

#: Of the libraries' lines only: what they hand over beside the words.
_EXTRAS = structlog.stdlib.ExtraAdder()


def hide_secrets(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Remove secrets from a log event, by the names of its fields and inside texts: a structlog processor."""
    return event if is_harmless(event) else scrubbed(event)


def configure_logs(log_format: Literal["json", "console"], level: str, process: str) -> None:
    """Send our logs and the libraries' to stderr, one event a line, each with the name of the process."""
    encode = json.JSONEncoder(default=repr).encode  # made once; structlog's renderer makes one for each line
    render: Any = (
        (lambda _logger, _method, event: encode(event))
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _EXTRAS,
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    structlog.configure(  # past the standard library's logging, which would take as long again
        processors=[*(each for each in shared if each is not _EXTRAS), render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    formatter = structlog.stdlib.ProcessorFormatter(processors=[remove, render], foreign_pre_chain=shared)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
