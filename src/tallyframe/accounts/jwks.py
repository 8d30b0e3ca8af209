"""An issuer's public keys (JWK Set, RFC 7517), kept in memory and fetched as seldom as possible.

The address is a setting and never comes from a token. Whatever tokens arrive, the issuer sees at most: one fetch per
lifetime, one per minute for key ids that are not known, and one per few seconds while it fails.
"""

import asyncio
import math
import time
from collections.abc import Callable

import httpx
import jwt
import structlog
from cachetools import LRUCache

from tallyframe.accounts.jwk_set import usable_keys
from tallyframe.errors import Unauthenticated, Unavailable
from tallyframe.tls import client_context

_MAX_BYTES = 256 * 1024
_MAX_STALE = 24 * 3600.0  # seconds: a longer outage than this must not keep a withdrawn key alive
_BACK_OFF = 5  # seconds between tries while the issuer fails

_log = structlog.get_logger(__name__)

#: It reads the system's certificates, which takes tens of milliseconds: so once.


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
        self._absent: LRUCache[str, bool] = LRUCache(1000)  # ids that the issuer had no key for at the last fetch
        self._loaded_at: float | None = None  # the last success
        self._failed_at: float | None = None  # the last try, if it failed
        self._missed_at: float | None = None  # the last fetch that only an unknown key id caused
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key with this id: RSA for RS256 or P-256 for ES256; its `algorithm_name` says which.

        Raises Unauthenticated when the issuer has no such key, and Unavailable when nobody can tell: the issuer can't
        be reached, or was asked just before, for another key. Keys outlive their lifetime by up to a day while the
        issuer can't be reached.
        """
        begins = self._fetching is None and self._is_due(kid)
        if begins:
            self._fetching = asyncio.create_task(self._fetch())
        waits = self._fetching is not None and (begins or not self._knows(kid))
        # One fetch serves all who wait for it, and outlives a caller that goes away. A caller whose key is known waits
        # only for the fetch that it began: a slow issuer delays one request, not all.
        if waits and self._fetching:
            await asyncio.shield(self._fetching)
        if self._knows(kid):
            return self._keys[kid]
        if self._failed_at is not None or self._is_too_stale():
            raise Unavailable("Session tokens can't be checked right now. Try again shortly.", retry_after=_BACK_OFF)
        if not waits and kid not in self._absent:  # it may be the key of a rotation, and we can't ask yet
            raise Unavailable("The session token's key isn't known yet. Try again shortly.", retry_after=self._rest())
        self._absent[kid] = True
        raise Unauthenticated("The session token is not signed with a known key.")

    async def aclose(self) -> None:
        """Stops a fetch that is under way and closes the connections."""
        if (fetching := self._fetching) is not None:
            fetching.cancel()
            await asyncio.wait({fetching})
        await self._client.aclose()

    def _is_due(self, kid: str) -> bool:
        now = self._clock()
        if self._failed_at is not None and now - self._failed_at < _BACK_OFF:
            return False
        if self._loaded_at is None or now - self._loaded_at >= self._lifetime:
            return True
        if kid in self._keys or (self._missed_at is not None and now - self._missed_at < self._min_refetch_interval):
            return False
        self._missed_at = now  # before the fetch, so that a failed one counts as well
        return True

    def _rest(self) -> int:
        """The seconds until an unknown key id may cause a fetch again."""
        asked = self._clock() if self._missed_at is None else self._missed_at
        return max(1, math.ceil(asked + self._min_refetch_interval - self._clock()))

    def _is_too_stale(self) -> bool:
        return self._loaded_at is None or self._clock() - self._loaded_at >= self._lifetime + _MAX_STALE

    def _knows(self, kid: str) -> bool:
        return kid in self._keys and not self._is_too_stale()

    async def _fetch(self) -> None:
        try:
            keys = await self.download()
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            self._failed_at = self._clock()
            _log.warning("jwks_fetch_failed", host=self._url.host, error=type(error).__name__, stale=bool(self._keys))
        else:
            withdrawn = self._keys.keys() - keys.keys()
            self._keys, self._loaded_at, self._failed_at = keys, self._clock(), None
            self._absent.clear()
            self._absent.update(dict.fromkeys(withdrawn, True))
        finally:
            self._fetching = None

    async def download(self) -> dict[str, jwt.PyJWK]:
        """Fetch the set and return its usable keys by their ids, without keeping them.

        Raises httpx.HTTPError, TimeoutError, ValueError and RecursionError.
        """
        body = b""
        async with asyncio.timeout(self._timeout), self._client.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError("The answer is not 200.")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ValueError("The answer is too large.")
        return usable_keys(body)


async def fetch_key_ids(url: str) -> list[str]:
    """Fetch the keys at `url` once and return their ids. Raises what `Jwks.download` raises."""
    jwks = Jwks(url)
    try:
        return list(await jwks.download())
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
