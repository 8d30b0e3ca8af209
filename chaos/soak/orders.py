"""Users who order images and videos with all kinds of test cards, and cancel some."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from chaos.soak.rig import Rig
from tallyframe.commands.users import add_user, database

CREDITS = 10_000_000  # of each user
PRICES = {"image": 5, "video": 10}
_PAUSE = 1.0  # seconds until an order is tried again that a limit has refused
_TOO_MANY, _ENDED = 429, 409
_SHARE_OF_VIDEOS, _SHARE_OF_CANCELS = 0.05, 0.05
#: Test cards, how often each comes, and how its generation must end: the code of its failure, or nothing.
CARDS: Sequence[tuple[str, int, str]] = (
    ("", 12, ""),
    ("[delay:2]", 2, ""),
    ("[hang:1]", 2, ""),
    ("[flaky:1]", 1, ""),
    ("[flaky:9]", 1, "provider_unavailable"),
    ("[fail:content_policy]", 1, "content_policy"),
    ("[delay:1] [fail:provider_timeout]", 1, "provider_timeout"),
    ("[empty]", 1, "provider_rejected"),
)


@dataclass(frozen=True, slots=True)
class Buyer:
    """A user: the ids of user and account, and a key."""

    user_id: str
    account_id: str
    key: str


@dataclass
class Market:
    """What was ordered. `expected`: per generation, how it must end; `canceled`: what its buyer has canceled."""

    rig: Rig
    buyers: list[Buyer]
    lot: random.Random
    expected: dict[str, str] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)

    async def order(self, count: int) -> None:
        """Place so many orders, all buyers side by side. Raises httpx.HTTPStatusError for an answer that can't be."""
        left = iter(range(count))
        async with httpx.AsyncClient(base_url=self.rig.url, trust_env=False, timeout=60) as http:
            await asyncio.gather(*(self._keep_ordering(http, buyer, left) for buyer in self.buyers))

    async def _keep_ordering(self, http: httpx.AsyncClient, buyer: Buyer, left: Iterator[int]) -> None:
        for _ in left:
            await self._order(http, buyer)

    async def _order(self, http: httpx.AsyncClient, buyer: Buyer) -> None:
        [(card, _, code)] = self.lot.choices(CARDS, [often for _, often, _ in CARDS])
        kind = "video" if self.lot.random() < _SHARE_OF_VIDEOS else "image"
        body = {"kind": kind, "prompt": f"A red cup on a wooden table {card}"}
        answer = await self._post(http, buyer, "/v1/projects", body)
        project = answer.json()
        self.expected[project["generation"]["id"]] = code
        if self.lot.random() < _SHARE_OF_CANCELS:
            canceled = await self._post(http, buyer, f"/v1/projects/{project['id']}/cancel", None)
            if canceled.is_success:
                self.canceled.add(project["generation"]["id"])

    async def _post(
        self, http: httpx.AsyncClient, buyer: Buyer, path: str, body: dict[str, str] | None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {buyer.key}"}
        while True:
            answer = await http.post(path, json=body, headers=headers)
            if answer.status_code == _ENDED and body is None:  # there is nothing to cancel any more
                return answer
            if answer.status_code != _TOO_MANY:
                return answer.raise_for_status()
            await asyncio.sleep(_PAUSE)


async def open_market(rig: Rig, buyers: int, seed: int) -> Market:
    """Make the buyers, and give them credits."""
    made = []
    async with database(rig.servers.database_url) as db:
        for number in range(buyers):
            email = f"buyer{number}@example.com"
            user, key = await add_user(db, email, admin=False, member=False, credits_given=CREDITS, signup_credits=0)
            made.append(Buyer(str(user.id), str(user.account_id), key))
    return Market(rig, made, random.Random(seed))
