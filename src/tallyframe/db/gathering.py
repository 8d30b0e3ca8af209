"""Reads that come at the same time share a round trip: one waits for none, many wait for each other's.

Each finds its own user's row: the statement is run once per request, with whose rows there are set anew.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple
from uuid import UUID

from tallyframe.db.pool import Pool
from tallyframe.db.statements import ForMany, Row

#: Round trips of one statement that are under way at the same time, and requests that share one, at most.
AT_ONCE, MOST = 2, 64


class _Request(NamedTuple):
    parameters: Mapping[str, Any]
    user: UUID
    found: "asyncio.Future[Any]"


class Gathering(Generic[Row]):
    """Runs one statement for all who ask."""

    def __init__(self, pool: Pool, statement: ForMany[Row]) -> None:
        """`pool` acts for no user."""
        self._pool, self._statement = pool, statement
        self._waiting: list[_Request] = []
        self._trips: set[asyncio.Task[None]] = set()

    async def find(self, user: UUID, parameters: Mapping[str, Any]) -> Row | None:
        """Return the only row that the user's statement finds, if there is one. Raises what `Pool.call` raises."""
        found: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(parameters, user, found))
        self._go_on()
        return await found

    def _go_on(self) -> None:
        if self._waiting and len(self._trips) < AT_ONCE:
            requests, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            trip = asyncio.create_task(self._travel(requests))
            self._trips.add(trip)
            trip.add_done_callback(self._end)

    def _end(self, trip: "asyncio.Task[None]") -> None:
        self._trips.discard(trip)
        self._go_on()

    async def _travel(self, requests: list[_Request]) -> None:
        """Find all rows in one round trip, and give each to who has asked for it; or the error, to all."""
        names = requests[0].parameters
        lists = {name: [request.parameters[name] for request in requests] for name in names}
        try:
            rows = dict(await self._pool.call(self._statement, **lists, users=[request.user for request in requests]))
        except BaseException as error:
            for request in requests:
                if not request.found.done():
                    request.found.set_exception(error)
            if not isinstance(error, Exception):  # we are canceled
                raise
            return
        for place, request in enumerate(requests, 1):
            if not request.found.done():  # else who asked has left
                request.found.set_result(rows.get(place))
