"""Session tokens: signed JWTs (RFC 7519) of one issuer, such as Clerk, Supabase or any OpenID provider.

What is checked follows the best practices of RFC 8725: a closed list of algorithms that a key is bound to, no key or
address taken from the token, and issuer, audience and times always checked.
"""

import hashlib
import json
import re
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt

from tallyframe.accounts.jwks import Jwks
from tallyframe.errors import Unauthenticated

_ALGORITHMS = ("RS256", "ES256")
_MAX_TOKEN = 8 * 1024  # characters
_MAX_SUBJECT = 255  # characters, as in OpenID Connect Core 1.0 section 2
_MAX_EMAIL = 254  # characters, as an SMTP path of RFC 5321 section 4.5.3.1.3 allows
_MAX_NAME = 80  # characters
_MAX_TIME = 2**53  # seconds; keeps NaN and infinity out, which JSON parsers let in
_CACHE_SIZE = 10_000  # tokens
_CACHE_SECONDS = 60.0
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 7.1, without padding
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_JWS = jwt.PyJWS(algorithms=_ALGORITHMS)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for. `subject` is unique and stable within `issuer`; the rest is for display."""

    issuer: str
    subject: str
    email: str | None  # lower-case, and not said to be unverified
    name: str | None  # at most 80 characters on one line


@dataclass(slots=True, eq=False)
class SessionTokens:
    """Verifies tokens that `issuer` signed with a key of `jwks`.

    With an `audience` a token must name it in `aud`. With `authorized_parties` its `azp` must be one of them; a token
    without `azp` passes only where `audience` is checked or `allow_missing_azp` is set. `leeway` is seconds of clock
    difference to put up with, and `now` gives Unix seconds. Raises ValueError when neither audience nor parties are
    given: any token of the issuer, made for any application, would pass.
    """

    jwks: Jwks
    issuer: str
    audience: str | None = None
    authorized_parties: frozenset[str] = frozenset()
    allow_missing_azp: bool = False
    leeway: float = 5.0
    now: Callable[[], float] = time.time
    _verified: OrderedDict[bytes, tuple[Identity, float]] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.issuer:
            raise ValueError("Session tokens need an issuer.")
        if not self.audience and not self.authorized_parties:
            raise ValueError("Session tokens need an audience or authorized parties to check.")
        self.audience = self.audience or None  # a setting that is left empty

    async def verify(self, token: str) -> Identity:
        """Who the compact token speaks for.

        Raises Unauthenticated with a reason that never repeats the token, and Unavailable when the issuer's keys are
        needed and can't be had. A verified token is believed for up to 60 s without another look at its signature.
        """
        if len(token) > _MAX_TOKEN or not _COMPACT.fullmatch(token):
            raise Unauthenticated("The session token is malformed.")
        digest = hashlib.sha256(token.encode("ascii")).digest()  # the tokens themselves are not kept in memory
        identity = self._recall(digest)
        if identity is None:
            claims = _signed_claims(token, await self.jwks.key(_key_id(token)))
            identity = self._identity(claims)
            self._remember(digest, identity, claims["exp"])
        return identity

    def _recall(self, digest: bytes) -> Identity | None:
        identity, until = self._verified.get(digest, (None, 0.0))
        if identity is None:
            return None
        if self.now() >= until:
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return identity

    def _remember(self, digest: bytes, identity: Identity, expires_at: float) -> None:
        self._verified[digest] = (identity, min(expires_at, self.now() + _CACHE_SECONDS))
        if len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        if claims.get("iss") != self.issuer:
            raise Unauthenticated("The session token is from another issuer.")
        self._check_times(claims)
        self._check_audience(claims.get("aud"))
        self._check_party(claims)
        if claims.get("sts") == "pending":  # Clerk: the session still has sign-in tasks open
            raise Unauthenticated("The sign-in is not complete yet.")
        return Identity(self.issuer, _subject(claims), _email(claims), _name(claims))

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self.now()
        if "exp" not in claims:
            raise Unauthenticated("The session token has no expiry.")
        if _seconds(claims["exp"]) + self.leeway <= now:
            raise Unauthenticated("The session token has expired.")
        if any(_seconds(claims[name]) - self.leeway > now for name in ("nbf", "iat") if name in claims):
            raise Unauthenticated("The session token is not valid yet.")

    def _check_audience(self, aud: object) -> None:
        """A token that names audiences is refused by who is not among them: RFC 7519 section 4.1.3."""
        if aud is None and self.audience is None:
            return
        audiences = aud if isinstance(aud, list) else [aud]
        if self.audience is None or self.audience not in audiences:
            raise Unauthenticated("The session token is for another audience.")

    def _check_party(self, claims: dict[str, Any]) -> None:
        if not self.authorized_parties:
            return
        if "azp" not in claims:
            if self.audience is None and not self.allow_missing_azp:
                raise Unauthenticated("The session token names no authorized party.")
        elif not isinstance(claims["azp"], str) or claims["azp"] not in self.authorized_parties:
            raise Unauthenticated("The session token was issued to another party.")


def _key_id(token: str) -> str:
    """The `kid` of a header that is worth looking for a key. `jku`, `jwk` and `x5u` are never read."""
    try:
        header = _JWS.get_unverified_header(token)
    except jwt.PyJWTError:
        raise Unauthenticated("The session token is malformed.") from None
    if header.get("alg") not in _ALGORITHMS:
        raise Unauthenticated("The session token's algorithm is not accepted.")
    if "crit" in header or not _is_jwt(header.get("typ", "JWT")):
        raise Unauthenticated("The session token is of a kind that is not accepted.")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise Unauthenticated("The session token names no key.")
    return kid


def _is_jwt(typ: object) -> bool:
    """JWT of RFC 7519 section 5.1 or at+jwt of RFC 9068; "application/" may be left out: RFC 7515 section 4.1.9."""
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in {"jwt", "at+jwt"}


def _signed_claims(token: str, key: jwt.PyJWK) -> dict[str, Any]:
    try:  # the key says with what it verifies; a header that says otherwise is refused
        payload = _JWS.decode_complete(token, key, algorithms=[key.algorithm_name])["payload"]
    except jwt.PyJWTError:
        raise Unauthenticated("The session token's signature is not valid.") from None
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise Unauthenticated("The session token is malformed.")
    return claims


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TIME:
        raise Unauthenticated("The session token has a malformed time.")
    return value


def _subject(claims: dict[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise Unauthenticated("The session token names no subject.")
    return subject


def _email(claims: dict[str, Any]) -> str | None:
    email = claims.get("email")
    if not isinstance(email, str) or len(email) > _MAX_EMAIL or not email.isprintable():
        return None
    if claims.get("email_verified") in (False, "false"):  # some issuers send a string
        return None
    return email.lower() if _ADDRESS.fullmatch(email) else None


def _name(claims: dict[str, Any]) -> str | None:
    name = claims.get("name")
    if not isinstance(name, str):
        return None
    line = " ".join(name.split())  # line breaks and tabs part words, so they become spaces
    visible = "".join(character for character in line if unicodedata.category(character)[0] != "C")
    return visible[:_MAX_NAME].strip() or None
