"""The header of a session token: what it may say, and which key it asks for.

Algorithms come from two closed lists that are never mixed (RFC 8725 section 3.1): those of public keys, and the one of
a shared secret. `jku`, `jwk` and `x5u` are never read.
"""

from dataclasses import dataclass

import jwt

from tallyframe.errors import Unauthenticated

ASYMMETRIC = ("RS256", "ES256")
SYMMETRIC = "HS256"
#: RFC 7519 section 5.1 and RFC 9068; "application/" may stand before them: RFC 7515 section 4.1.9.
_TYPES = ("jwt", "at+jwt")
_JWS = jwt.PyJWS(algorithms=[])  # it only reads here


@dataclass(frozen=True, slots=True)
class Header:
    """The algorithm, and the id of a public key; None where the shared secret is asked for."""

    algorithm: str
    key_id: str | None


def read_header(token: str) -> Header:
    """Return the compact token's header, which nobody has verified yet; raise Unauthenticated if it is not accepted."""
    try:
        header = _JWS.get_unverified_header(token)
    except jwt.PyJWTError:
        raise Unauthenticated("The session token is malformed.") from None
    algorithm, kind, key_id = header.get("alg"), header.get("typ", "JWT"), header.get("kid")
    if algorithm not in (*ASYMMETRIC, SYMMETRIC):
        raise Unauthenticated("The session token's algorithm is not accepted.")
    is_jwt = isinstance(kind, str) and kind.lower().removeprefix("application/") in _TYPES
    if "crit" in header or not is_jwt:
        raise Unauthenticated("The session token is of a kind that is not accepted.")
    if algorithm == SYMMETRIC:  # there is one secret at most, so a key id makes no difference
        return Header(algorithm, None)
    if not isinstance(key_id, str) or not key_id:
        raise Unauthenticated("The session token names no key.")
    return Header(algorithm, key_id)
