"""Conditional and partial requests (RFC 9110, sections 13 and 14): what a client has, and which part it wants."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated

from fastapi import Depends, Header, Request
from starlette.datastructures import Headers

from tallyframe.errors import TallyframeError

_TAG = re.compile(r'(W/)?("[^"]*")')
_RANGES = re.compile(r"bytes=([\s\d,-]+)", re.IGNORECASE)
_RANGE = re.compile(r"(\d*)-(\d*)", re.ASCII)

#: Characters of a list of tags that are read, and ranges of a file that are answered: each costs time.
MOST_TAGS = 8192
MOST_RANGES = 100
_LONGEST = 18  # digits of a number that any file could have as its length


class PreconditionFailed(TallyframeError):
    """This is not as `If-Match` or `If-Unmodified-Since` wants it."""

    status = 412
    code = "precondition_failed"


class RangeNotSatisfiable(TallyframeError):
    """The file ends before the part that was asked for."""

    status = 416
    code = "range_not_satisfiable"


async def known_tags(
    request: Request,
    _: Annotated[str | None, Header(alias="If-None-Match", description="`ETag`s of answers that are there.")] = None,
) -> str | None:
    """Return `If-None-Match`, which may come in several lines; None without one."""
    return _lines(request.headers, "if-none-match")


KnownTags = Annotated[str | None, Depends(known_tags)]


def is_among(etag: str, tags: str | None, *, strong: bool = False) -> bool:
    """Tell whether a list of entity tags, or `*`, has this one (RFC 9110, 13.1.2; `strong`: as 13.1.1 compares)."""
    if tags is None:
        return False
    found = _TAG.findall(tags[:MOST_TAGS])
    return tags.strip() == "*" or any(tag == etag.removeprefix("W/") and not (strong and weak) for weak, tag in found)


def is_unchanged(headers: Headers, etag: str, changed: datetime) -> bool:
    """Tell whether the client has a file with this (strong) tag, last changed then; dates count without tags only.

    Raises PreconditionFailed (RFC 9110, 13.2.2).
    """
    wanted, until = _lines(headers, "if-match"), _date(headers.get("if-unmodified-since"))
    if wanted is not None and not is_among(etag, wanted, strong=True):
        raise PreconditionFailed
    if wanted is None and until and changed > until:
        raise PreconditionFailed
    known, since = _lines(headers, "if-none-match"), _date(headers.get("if-modified-since"))
    if known is not None:
        return is_among(etag, known)
    return since is not None and changed <= since


def parts(headers: Headers, etag: str, last_modified: str, size: int) -> str | None:
    """Return the `Range` to answer of a file of `size` bytes: the parts that it has. None: all of it.

    Ignored are a range in another unit, one that is no range, very many (RFC 9110, 14.2), and one of another state of
    the file than `If-Range` names (13.1.5). Raises RangeNotSatisfiable when the file has none of the parts.
    """
    ranges = _RANGES.fullmatch(headers.get("range", "").strip())
    state = headers.get("if-range")
    if not ranges or (state is not None and state.strip() not in {etag, last_modified}):
        return None
    sent = [part.strip() for part in ranges[1].split(",", MOST_RANGES - 1) if part.strip()]
    asked = [_RANGE.fullmatch(part) for part in sent]
    bounds = [(_number(each[1]), _number(each[2])) for each in asked if each and each[0] != "-"]
    if (
        not bounds
        or len(bounds) < len(asked)
        or any(first and last and int(last) < int(first) for first, last in bounds)
    ):
        return None
    there = [f"{first}-{last}" for first, last in bounds if (int(first) < size if first else int(last) > 0)]
    if not there:
        raise RangeNotSatisfiable
    return f"bytes={','.join(there)}"


def _number(digits: str) -> str:
    """Return the number; for one that no file reaches, a shorter one: Python reads none of any length."""
    bare = digits.lstrip("0") or digits[:1]
    return bare if len(bare) <= _LONGEST else "9" * _LONGEST


def _lines(headers: Headers, name: str) -> str | None:
    """Return a list header, whose lines are one list (RFC 9110, 5.3); None without one."""
    lines: Iterable[str] = headers.getlist(name)
    return ", ".join(lines) or None


def _date(text: str | None) -> datetime | None:
    """Return an HTTP date; None for what is none, which is ignored (RFC 9110, 13.1.3)."""
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
