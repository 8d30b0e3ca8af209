"""Session tokens: signed JWTs (RFC 7519) of one issuer, such as Clerk, Supabase or any OpenID provider.

PyJWT checks the signature, the times, the issuer and the audience. Checked here is what it leaves open, by the best
practices of RFC 8725: a closed list of algorithms that each key is bound to, no key or address taken from the token,
times that are numbers, and for whom and by whom the token may be used.

Supabase's older projects sign with a shared secret (HS256), without a key id. Their API keys, which are public, are
JWTs of the same kind and signed with the same secret: hence the checks of role, subject and audience.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.types import Options
from jwt.utils import base64url_encode

from tallyframe.accounts.identity import Identity, is_sound_subject, sound_email, sound_name
from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.token_header import SYMMETRIC, read_header
from tallyframe.accounts.token_memory import TokenMemory
from tallyframe.errors import Unauthenticated

__all__ = ["Identity", "SessionTokens"]

_MAX_TOKEN = 8 * 1024  # characters
_MIN_SECRET = 32  # bytes, as RFC 7518 section 3.2 asks of HS256
_MAX_TIME = 2**53  # seconds; keeps NaN and infinity out, which JSON parsers let in
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 7.1, without padding
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MACHINES = ("anon", "service_role")  # the `role` of Supabase's API keys

_OPTIONS: Options = {"require": ["exp"], "verify_sub": False, "verify_jti": False}  # subjects are checked here
#: What PyJWT raises, and what the client is told. Whatever else it raises says that the token is malformed.
_REFUSALS: dict[type[jwt.PyJWTError], str] = {
    jwt.InvalidSignatureError: "The session token's signature is not valid.",
    jwt.InvalidAlgorithmError: "The session token's signature is not valid.",  # not the one that the key is bound to
    jwt.ExpiredSignatureError: "The session token has expired.",
    jwt.ImmatureSignatureError: "The session token is not valid yet.",
    jwt.InvalidIssuerError: "The session token is from another issuer.",
    jwt.InvalidAudienceError: "The session token is for another audience.",
}


@dataclass(slots=True, eq=False)
class SessionTokens:
    """Verifies tokens that `issuer` signed with a key of `jwks` (RS256, ES256) or with `shared_secret` (HS256).

    With an `audience` a token must name it in `aud`. With `authorized_parties` its `azp` must be one of them; a token
    without `azp` passes only where `audience` is checked or `allow_missing_azp` is set. Tokens of people who have not
    said who they are (`is_anonymous`) pass only with `allow_anonymous`: each would be a user, with sign-up credits.
    `leeway` is seconds of clock difference to put up with. `now` gives Unix seconds, for the memory of verified tokens.

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
    _memory: TokenMemory = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.issuer:
            raise ValueError("Session tokens need an issuer.")
        if not self.audience and not self.authorized_parties:
            raise ValueError("Session tokens need an audience or authorized parties to check.")
        if self.jwks is None and not self.shared_secret:
            raise ValueError("Session tokens need keys or a shared secret to be verified with.")
        if self.shared_secret:
            if not self.audience:
                raise ValueError("Session tokens that are signed with a shared secret need an audience to check.")
            secret = self.shared_secret.encode()
            if len(secret) < _MIN_SECRET:
                raise ValueError(f"A shared secret for session tokens needs at least {_MIN_SECRET} bytes.")
            self._secret_key = jwt.PyJWK({"kty": "oct", "k": base64url_encode(secret).decode()}, SYMMETRIC)
        self.audience = self.audience or None  # a setting that is left empty
        self._memory = TokenMemory(self.now)

    async def verify(self, token: str) -> Identity:
        """Who the compact token speaks for.

        Raises Unauthenticated with a reason that never repeats the token, and Unavailable when the issuer's keys are
        needed and can't be had. A verified token is accepted for up to 60 s without another look at its signature.
        """
        if len(token) > _MAX_TOKEN or not _COMPACT.fullmatch(token):
            raise Unauthenticated("The session token is malformed.")
        identity = self._memory.recall(token)
        if identity is None:
            header = read_header(token)
            if header.key_id is None and self._secret_key is not None:
                key = self._secret_key
            elif header.key_id is not None and self.jwks is not None:
                key = await self.jwks.key(header.key_id)
            else:
                raise Unauthenticated("The session token's algorithm is not accepted.")
            claims = self._claims(token, key)
            self._check_party(claims)
            identity = self._identity(claims, header.algorithm)
            self._memory.remember(token, identity, claims["exp"])
        return identity

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        """Return what the token claims, once the signature, the times, the issuer and the audience are right."""
        try:  # the key says with what it verifies; a header that says otherwise is refused
            claims = jwt.decode(
                token,
                key,
                [key.algorithm_name],
                _OPTIONS,
                issuer=self.issuer,
                audience=self.audience,
                leeway=self.leeway,
            )
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"The session token has no {error.claim!r}.") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(_REFUSALS.get(type(error), "The session token is malformed.")) from None
        # PyJWT takes true, "1" and -1 for times, too.
        times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
        if not all(type(each) in {int, float} and 0 <= each < _MAX_TIME for each in times):
            raise Unauthenticated("The session token has a malformed time.")
        # PyJWT takes an empty `aud` for none. RFC 7519 section 4.1.3: who is not named in it must refuse the token.
        if self.audience is None and claims.get("aud") is not None:
            raise Unauthenticated("The session token is for another audience.")
        return claims

    def _check_party(self, claims: dict[str, Any]) -> None:
        if not self.authorized_parties:
            return
        if "azp" not in claims:
            if self.audience is None and not self.allow_missing_azp:
                raise Unauthenticated("The session token names no authorized party.")
        elif not isinstance(claims["azp"], str) or claims["azp"] not in self.authorized_parties:
            raise Unauthenticated("The session token was issued to another party.")

    def _identity(self, claims: dict[str, Any], algorithm: str) -> Identity:
        """Return the person whom the claims name; a machine, or somebody who has not signed in yet, is refused."""
        if claims.get("role") in _MACHINES:
            raise Unauthenticated("This is the issuer's API key; it does not say who is signing in.")
        if claims.get("is_anonymous") in (True, "true") and not self.allow_anonymous:
            raise Unauthenticated("Anonymous users are not accepted here; sign up first.")
        if claims.get("sts") == "pending":  # Clerk: the session still has sign-in tasks open
            raise Unauthenticated("The sign-in is not complete yet.")
        subject = claims.get("sub")
        if not is_sound_subject(subject) or (algorithm == SYMMETRIC and not _UUID.fullmatch(str(subject))):
            raise Unauthenticated("The session token names no subject.")
        is_unverified = claims.get("email_verified") in (False, "false")  # some issuers send a string
        email = None if is_unverified else sound_email(claims.get("email"))
        return Identity(self.issuer, str(subject), email, sound_name(claims.get("name")))
