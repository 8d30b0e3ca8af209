"""Who somebody is to an issuer, and what of their profile is sound enough to keep."""

import re
import unicodedata
from dataclasses import dataclass

_MAX_SUBJECT = 255  # characters, as in OpenID Connect Core 1.0 section 2
_MAX_EMAIL = 254  # characters, as an SMTP path of RFC 5321 section 4.5.3.1.3 allows
_MAX_NAME = 80  # characters
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for. `subject` is unique and stable within `issuer`; the rest is for display."""

    issuer: str
    subject: str
    email: str | None  # lower-case, and not said to be unverified
    name: str | None  # at most 80 characters on one line


def is_sound_subject(value: object) -> bool:
    """Whether this can be a subject: 1 to 255 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_SUBJECT and value.isprintable()


def sound_email(value: object) -> str | None:
    """The address in lower case; None for what is no address."""
    if not isinstance(value, str) or len(value) > _MAX_EMAIL or not value.isprintable():
        return None
    return value.lower() if _ADDRESS.fullmatch(value) else None


def sound_name(value: object) -> str | None:
    """The name on one line, without what can't be seen, at most 80 characters; None if nothing is left."""
    if not isinstance(value, str):
        return None
    line = " ".join(value.split())  # line breaks and tabs part words, so they become spaces
    visible = "".join(character for character in line if unicodedata.category(character)[0] != "C")
    return visible[:_MAX_NAME].strip() or None


def public_name(value: object) -> str | None:
    """The name as everybody may see it; None also for one with an address in it, as some issuers put there."""
    name = sound_name(value)
    return name if name and "@" not in name else None
