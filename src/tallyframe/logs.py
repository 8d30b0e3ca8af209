"""Structured logs for all of our processes, and nothing secret in them."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

SECRET_NAMES = re.compile(r"secret|token|authorization|password|api_key|cookie|dsn", re.IGNORECASE)
#: API keys, JWTs, bearer headers and passwords in URLs, wherever they turn up in a text.
SECRET_TEXTS = re.compile(
    r"tf_[0-9A-Za-z]{20,}|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=earer )\S+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
HIDDEN = "[hidden]"

EventDict = MutableMapping[str, Any]


def hide_secrets(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace values whose name says secret, and secrets inside texts."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = HIDDEN if SECRET_NAMES.search(name) else SECRET_TEXTS.sub(HIDDEN, value)
        elif SECRET_NAMES.search(name) and value is not None:
            event[name] = HIDDEN
    return event


def configure_logs(log_format: Literal["json", "console"], level: str, process: str) -> None:
    """Send our logs and the libraries' to stderr, one event a line, each with the name of the process."""
    render: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    formatter = structlog.stdlib.ProcessorFormatter(processors=[remove, render], foreign_pre_chain=shared)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("httpx", "httpcore", "arq", "uvicorn", "sqlalchemy", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
