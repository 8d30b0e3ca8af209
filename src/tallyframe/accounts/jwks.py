"""An issuer's public keys (JWK Set, RFC 7517), kept in memory and fetched as seldom as possible.

The address is a setting and never comes from a token. Whatever tokens arrive, the issuer sees at most: one fetch per
lifetime, one per minute for key ids that are not known, and one per few seconds while it fails.
"""

import asyncio
import json
import time
from collections.abc import Callable

import httpx
import jwt
import structlog

from tallyframe.errors import Unauthenticated, Unavailable
from tallyframe.tls import client_context

_MAX_BYTES = 256 * 1024
_MAX_STALE = 24 * 3600.0  # seconds: a longer outage than this must not keep a withdrawn key alive
_BACK_OFF = 5  # seconds between tries while the issuer fails
_RSA_BITS = range(2048, 8192 + 1)  # the upper end bounds what one verification costs
_PUBLIC_MEMBERS = frozenset({"kty", "kid", "n", "e", "crv", "x", "y"})

_log = structlog.get_logger(__name__)


class Jwks:
    """The signature keys at `url`. Made and used in one event loop; `aclose` it at the end.

    All times are seconds: `timeout` bounds a whole fetch, after `lifetime` the set is fetched again, and an unknown
    key id causes a fetch at most once per `min_refetch_interval`. `clock` only ever goes forward.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 3.0,
        lifetime: float = 300.0,
        min_refetch_interval: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = httpx.URL(url)
        self._timeout = timeout
        self._lifetime = lifetime
        self._min_refetch_interval = min_refetch_interval
        self._clock = clock
        self._client = _client()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._loaded_at: float | None = None  # the last success
        self._failed_at: float | None = None  # the last try, if it failed
        self._missed_at: float | None = None  # the last fetch that only an unknown key id caused
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key with this id: RSA for RS256 or P-256 for ES256; its `algorithm_name` says which.

        Raises Unauthenticated when the issuer has no such key, and Unavailable when that can't be told because the
        issuer can't be reached. Keys outlive their lifetime by up to a day while the issuer can't be reached.
        """
        await self._refresh(kid)
        if kid in self._keys and not self._too_stale():
            return self._keys[kid]
        if self._failed_at is not None or self._too_stale():
            raise Unavailable("Session tokens can't be checked right now. Try again shortly.", retry_after=_BACK_OFF)
        raise Unauthenticated("The session token is not signed with a known key.")

    async def aclose(self) -> None:
        """Stops a fetch that is under way and closes the connections."""
        if (fetching := self._fetching) is not None:
            fetching.cancel()
            await asyncio.wait({fetching})
        await self._client.aclose()

    async def _refresh(self, kid: str) -> None:
        # One fetch serves all who wait for it, and a caller that goes away doesn't take it along.
        if self._fetching is None:
            if not self._due(kid):
                return
            self._fetching = asyncio.create_task(self._fetch())
        elif kid in self._keys and not self._too_stale():
            return  # a slow issuer costs one request its time, not all of them
        await asyncio.shield(self._fetching)

    def _due(self, kid: str) -> bool:
        now = self._clock()
        if self._failed_at is not None and now - self._failed_at < _BACK_OFF:
            return False
        if self._loaded_at is None or now - self._loaded_at >= self._lifetime:
            return True
        if kid in self._keys or (self._missed_at is not None and now - self._missed_at < self._min_refetch_interval):
            return False
        self._missed_at = now  # before the fetch: however it ends, the next one is a minute away
        return True

    def _too_stale(self) -> bool:
        return self._loaded_at is None or self._clock() - self._loaded_at >= self._lifetime + _MAX_STALE

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                keys = _usable_keys(await self._download())
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            self._failed_at = self._clock()
            _log.warning("jwks_fetch_failed", host=self._url.host, error=type(error).__name__, stale=bool(self._keys))
        else:
            self._keys, self._loaded_at, self._failed_at = keys, self._clock(), None
        finally:
            self._fetching = None

    async def _download(self) -> bytes:
        body = b""
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError("The answer is not 200.")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ValueError("The answer is too large.")
        return body


async def fetch_key_ids(url: str) -> list[str]:
    """Fetch the keys at `url` once and return their ids. Raises httpx.HTTPError, TimeoutError and ValueError."""
    jwks = Jwks(url)
    try:
        async with asyncio.timeout(jwks._timeout):  # noqa: SLF001  # its own kind
            return list(_usable_keys(await jwks._download()))  # noqa: SLF001  # as above
    finally:
        await jwks.aclose()


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        follow_redirects=False,  # the configured address is the only one that is trusted
        timeout=None,  # noqa: S113 - the whole fetch has one, which a slow drip of bytes can't stretch
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},  # nothing that grows when unpacked
        limits=httpx.Limits(max_keepalive_connections=0),  # minutes pass between fetches: it would be dead by then
        verify=client_context(trust_env=True),
    )


def _usable_keys(body: bytes) -> dict[str, jwt.PyJWK]:
    jwks = json.loads(body)
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    usable = map(_usable_key, members if isinstance(members, list) else [])
    keys = {key.key_id: key for key in usable if key is not None and key.key_id is not None}
    if not keys:  # an issuer can't sign without keys: it's an outage, and no reason to drop those we have
        raise ValueError("There is no key for RS256 or ES256 in the answer.")
    return keys


def _usable_key(member: object) -> jwt.PyJWK | None:
    """The key in a member of the set; None for what is not a sound RS256 or ES256 signature key with an id.

    RFC 7517 section 5: members that are not understood should be ignored.
    """
    if not isinstance(member, dict) or not _is_for_signatures(member):
        return None
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(member.get("kty")))
    if algorithm is None or member.get("alg", algorithm) != algorithm:
        return None
    try:  # only the public members: a private key that was published by mistake is not taken in
        key = jwt.PyJWK({name: member[name] for name in _PUBLIC_MEMBERS & member.keys()}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if _is_strong(key, member) else None


def _is_for_signatures(member: dict[str, object]) -> bool:
    operations = member.get("key_ops", ["verify"])
    has_id = isinstance(member.get("kid"), str) and member["kid"] != ""
    return has_id and member.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _is_strong(key: jwt.PyJWK, member: dict[str, object]) -> bool:
    if key.key_type == "EC":
        return member.get("crv") == "P-256"
    return key.key.key_size in _RSA_BITS
