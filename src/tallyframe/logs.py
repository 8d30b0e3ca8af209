"""Structured logs for all of our processes, and nothing secret in them."""

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, Literal

import structlog

SECRET_NAMES = re.compile(r"secret|token|authorization|password|api_key|cookie|dsn", re.IGNORECASE)
#: Keys of ours, Google's, svix' and Clerk's, JWTs, bearer headers, signatures and passwords in URLs, in any text.
SECRET_TEXTS = re.compile(
    r"tf_[0-9A-Za-z]{20,}|AIza[\w-]{30,}|(?:whsec|sk_live|sk_test)_[\w+/=]{8,}|eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=earer )\S+|(?<=X-Amz-Signature=)[0-9a-fA-F]+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
HIDDEN = "[hidden]"

#: Libraries of which only warnings are of interest; some write addresses and orders at lower levels.
CHATTY = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "google_genai", "urllib3", "cloudinary", "svix"),
    *("arq", "uvicorn", "sqlalchemy", "alembic"),
)
SHORTEST = 8  # characters; what is shorter would be found in innocent words

EventDict = MutableMapping[str, Any]

_known: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """From now on, let these values show in no log line and no record of this process."""
    _known.update(secret for secret in secrets if len(secret) >= SHORTEST)


def hidden(text: str) -> str:
    """Return the text without the secrets in it, known ones and what looks like one."""
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return SECRET_TEXTS.sub(HIDDEN, text)


def hide_secrets(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace values whose name says secret, and secrets inside texts."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = HIDDEN if SECRET_NAMES.search(name) else hidden(value)
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
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
