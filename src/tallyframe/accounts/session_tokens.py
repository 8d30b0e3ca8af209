"""Session tokens: signed JWTs (RFC 7519) of one issuer, such as Clerk, Supabase or any OpenID provider.

What is checked follows the best practices of RFC 8725: a closed list of algorithms that a key is bound to, no key or
address taken from the token, and issuer, audience and times always checked.

Supabase's older projects sign with a shared secret (HS256), without a key id. Their API keys, which are public, are
JWTs of the same kind and signed with the same secret: hence the checks of role, subject and audience.
"""

import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.utils import base64url_encode

from tallyframe.accounts.identity import Identity, is_sound_subject, sound_email, sound_name
from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.token_header import ASYMMETRIC, SYMMETRIC, Header, read_header
from tallyframe.errors import Unauthenticated

__all__ = ["Identity", "SessionTokens"]

_MAX_TOKEN = 8 * 1024  # characters
_MIN_SECRET = 32  # bytes, as RFC 7518 section 3.2 asks of HS256
_MAX_TIME = 2**53  # seconds; keeps NaN and infinity out, which JSON parsers let in
_CACHE_SIZE = 10_000  # tokens
_CACHE_SECONDS = 60.0
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 7.1, without padding
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MACHINES = ("anon", "service_role")  # the `role` of Supabase's API keys
_JWS = {name: jwt.PyJWS(algorithms=(name,)) for name in (*ASYMMETRIC, SYMMETRIC)}


@dataclass(slots=True, eq=False)
class SessionTokens:
    """Verifies tokens that `issuer` signed with a key of `jwks` (RS256, ES256) or with `shared_secret` (HS256).

    With an `audience` a token must name it in `aud`. With `authorized_parties` its `azp` must be one of them; a token
    without `azp` passes only where `audience` is checked or `allow_missing_azp` is set. Tokens of people who have not
    said who they are (`is_anonymous`) pass only with `allow_anonymous`: each would be a user, with sign-up credits.
    `leeway` is seconds of clock difference to put up with, and `now` gives Unix seconds.

    Raises ValueError when neither audience nor parties are given: any token of the issuer, made for any application,
    would pass. Also when there is nothing to verify with, or when the secret has less than 32 bytes or no audience.
    """

    jwks: Jwks | None
    issuer: str
    audience: str | None = None
    authorized_parties: frozenset[str] = frozenset()
    allow_missing_azp: bool = False
    leeway: float = 5.0
    now: Callable[[], float] = time.time
    shared_secret: str = field(default="", repr=False)
    allow_anonymous: bool = False
    _secret_key: jwt.PyJWK | None = field(default=None, init=False, repr=False)
    _verified: OrderedDict[bytes, tuple[Identity, float]] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.issuer:
            raise ValueError("Session tokens need an issuer.")
        if not self.audience and not self.authorized_parties:
            raise ValueError("Session tokens need an audience or authorized parties to check.")
        if self.jwks is None and not self.shared_secret:
            raise ValueError("Session tokens need keys or a shared secret to be verified with.")
        if self.shared_secret and not self.audience:
            raise ValueError("Session tokens that are signed with a shared secret need an audience to check.")
        self.audience = self.audience or None  # a setting that is left empty
        self._secret_key = _secret_key(self.shared_secret) if self.shared_secret else None

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
            header = read_header(token)
            claims = _signed_claims(token, await self._key(header))
            identity = self._identity(claims, header.algorithm)
            self._remember(digest, identity, claims["exp"])
        return identity

    async def _key(self, header: Header) -> jwt.PyJWK:
        if header.key_id is None and self._secret_key is not None:
            return self._secret_key
        if header.key_id is not None and self.jwks is not None:
            return await self.jwks.key(header.key_id)
        raise Unauthenticated("The session token's algorithm is not accepted.")

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

    def _identity(self, claims: dict[str, Any], algorithm: str) -> Identity:
        if claims.get("iss") != self.issuer:
            raise Unauthenticated("The session token is from another issuer.")
        self._check_times(claims)
        self._check_audience(claims.get("aud"))
        self._check_party(claims)
        self._check_person(claims)
        return Identity(self.issuer, _subject(claims, algorithm), _email(claims), sound_name(claims.get("name")))

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

    def _check_person(self, claims: dict[str, Any]) -> None:
        if claims.get("role") in _MACHINES:
            raise Unauthenticated("This is the issuer's API key; it does not say who is signing in.")
        if claims.get("is_anonymous") in (True, "true") and not self.allow_anonymous:
            raise Unauthenticated("Anonymous users are not accepted here; sign up first.")
        if claims.get("sts") == "pending":  # Clerk: the session still has sign-in tasks open
            raise Unauthenticated("The sign-in is not complete yet.")


def _secret_key(secret: str) -> jwt.PyJWK:
    """The secret as a key that is bound to HS256."""
    data = secret.encode()
    if len(data) < _MIN_SECRET:
        raise ValueError(f"A shared secret for session tokens needs at least {_MIN_SECRET} bytes.")
    return jwt.PyJWK({"kty": "oct", "k": base64url_encode(data).decode()}, SYMMETRIC)


def _signed_claims(token: str, key: jwt.PyJWK) -> dict[str, Any]:
    try:  # the key says with what it verifies; a header that says otherwise is refused
        payload = _JWS[key.algorithm_name].decode_complete(token, key, algorithms=[key.algorithm_name])["payload"]
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


def _subject(claims: dict[str, Any], algorithm: str) -> str:
    subject = claims.get("sub")
    if not is_sound_subject(subject) or (algorithm == SYMMETRIC and not _UUID.fullmatch(str(subject))):
        raise Unauthenticated("The session token names no subject.")
    return str(subject)


def _email(claims: dict[str, Any]) -> str | None:
    unverified = claims.get("email_verified") in (False, "false")  # some issuers send a string
    return None if unverified else sound_email(claims.get("email"))
