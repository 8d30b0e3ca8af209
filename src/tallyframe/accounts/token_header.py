"""The header of a session token: what it may say, and which key it asks for.

Algorithms come from two closed lists that are never mixed (RFC 8725 section 3.1): those of public keys, and the one of
a shared secret. `jku`, `jwk` and `x5u` are never read.
"""

from dataclasses import dataclass
from typing import Any

import jwt

from tallyframe.errors import Unauthenticated

ASYMMETRIC = ("RS256", "ES256")
SYMMETRIC = "HS256"
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
    algorithm = header.get("alg")
    if algorithm not in (*ASYMMETRIC, SYMMETRIC):
        raise Unauthenticated("The session token's algorithm is not accepted.")
    if "crit" in header or not _is_jwt(header.get("typ", "JWT")):
        raise Unauthenticated("The session token is of a kind that is not accepted.")
    # There is one secret at most, so whatever a token calls it makes no difference.
    return Header(algorithm, None if algorithm == SYMMETRIC else _key_id(header))


def _key_id(header: dict[str, Any]) -> str:
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise Unauthenticated("The session token names no key.")
    return kid


def _is_jwt(typ: object) -> bool:
    """JWT of RFC 7519 section 5.1 or at+jwt of RFC 9068; "application/" may be left out: RFC 7515 section 4.1.9."""
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in {"jwt", "at+jwt"}
