"""What the URLs of both servers have in common: three parts behind the scheme, and characters that must be escaped.

The parts are those of RFC 3986, section 3: authority (user, password, host, port), path and query. No message quotes
any of them, because each may hold a piece of a password that isn't escaped.
"""

import re
import ssl
from pathlib import Path

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


def check_file(name: str, path: str, *, is_key: bool) -> None:
    """Raise ValueError unless the file that the parameter names is there, and has a certificate, or a key, in PEM.

    A list of revoked certificates (CRL) counts as one. The format is that of RFC 7468.
    """
    try:
        if not Path(path).is_file():
            raise ValueError(f"has a {name} of {path[:200]!r}, and there is no such file")
        if is_key and not re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", Path(path).read_bytes()):
            raise ValueError(f"has a {name} of {path[:200]!r}, which has no private key in PEM; correct the file")
        if not is_key:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError(f"has a {name} of {path[:200]!r}, which has no certificate in PEM; correct the file") from None
    except OSError as error:
        raise ValueError(f"has a {name} of {path[:200]!r}, which can't be read: {error.strerror}") from None


def check_pair(certificate: str, key: str, password: str = "") -> None:
    """Raise ValueError unless the files belong together and the password, if one is needed, opens the key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, lambda: password)
    except (ssl.SSLError, ValueError):  # ValueError: a password that is too long
        raise ValueError(
            "has a certificate and a key that don't fit, or a key that its password doesn't open"
        ) from None
