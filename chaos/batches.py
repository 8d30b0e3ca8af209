"""Somebody who orders many at once with `submit_many`, which must be all or none, whatever happens meanwhile."""

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from time import time
from uuid import UUID

from chaos.evidence import User
from chaos.history import History, Line
from chaos.plan import Plan
from chaos.products import Words
from chaos.vendor import marked
from tallyframe.credits import Credits
from tallyframe.db import API_ROLE, Database
from tallyframe.errors import Unavailable
from tallyframe.generations.accept.order import Order
from tallyframe.generations.accept.submit import submit_many

SIZE = 5
_MOST = 1000  # batches
_PAUSE = (5.0, 15.0)  # seconds between two batches


@dataclass
class Batches:
    """Orders as a user, over a link of its own to the database at `url`."""

    user: User
    url: str
    history: History
    plan: Plan
    stop: asyncio.Event

    async def run(self) -> None:
        """Order batches until `stop` is set, and then, all faults being over, until one is accepted."""
        lot, number = random.Random(f"{self.plan.seed}:batches"), 0
        db = Database(self.url, role=API_ROLE, pool_size=1, statement_timeout=5)
        try:
            accepted = False
            while not (self.stop.is_set() and (accepted or number >= _MOST)):
                number += 1
                accepted = await self._order(db.as_user(UUID(self.user.user_id)), f"{self.plan.seed}-batch-{number}")
                await asyncio.sleep(0 if self.stop.is_set() else lot.uniform(*_PAUSE))
        finally:
            await db.close()

    async def _order(self, db: Database, name: str) -> bool:
        """Order a batch; return whether it was accepted."""
        line = Line(client=self.user.client, op="batch", key=name, sent=time())
        try:
            accepted = await submit_many(db, [self._one(name, place) for place in range(SIZE)])
        except Unavailable as error:
            line = replace(line, code=type(error).__name__)
        else:
            line = replace(line, outcome="ok" if accepted else "refused")
        self.history.add(replace(line, answered=time()))
        return line.outcome == "ok"

    def _one(self, name: str, place: int) -> Order:
        return Order(
            user_id=UUID(self.user.user_id),
            account_id=UUID(self.user.account_id),
            operation=Words.name,
            slot=Words().slot,
            input={"prompt": f"A red cup on a wooden table {marked(f'{name}-{place}')}"},
            credits=Credits(Words.default_price),
            max_active=10_000,
            max_age=timedelta(seconds=self.plan.max_age),
            metadata={"batch": name},
        )
