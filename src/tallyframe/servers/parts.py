"""What the URLs of both servers have in common: three parts behind the scheme, and characters that must be escaped.

The parts are those of RFC 3986, section 3: authority (user, password, host, port), path and query. No message quotes
any of them, because each may hold a piece of a password that isn't escaped.
"""

import re

#: How what would end the password is written inside of it (RFC 3986, section 2.1).
ESCAPES = "in user and password, write @ as %40, / as %2F, # as %23, ? as %3F, : as %3A, % as %25 and a space as %20"


def parts_of(url: str) -> tuple[str, str, str]:
    """Return authority, path and query, without the characters between them.

    Raises ValueError for a character that makes it unclear where one ends.
    """
    rest = url.partition("://")[2]
    if re.search(r"\s", url):
        raise ValueError(f"has a space or a line break in it; remove it, and {ESCAPES}")
    if not url.isprintable():
        raise ValueError(f"has a control character in it; {ESCAPES}")
    if "#" in rest:
        raise ValueError(f"has a '#' in it; {ESCAPES}")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise ValueError(f"has a '%' without two hexadecimal digits behind it; {ESCAPES}")
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    if authority.count("@") > 1 or "@" in path or "@" in query:
        raise ValueError(f"has an '@' in the wrong place; {ESCAPES}")
    return authority, path, query


def port_of(text: str) -> int:
    """Return the port that the text names. Raises ValueError if that is none."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):  # noqa: PLR2004  # 16 bits
        raise ValueError(f"has a port that is no number from 1 to 65535; if that is a piece of the password, {ESCAPES}")
    return int(text)
