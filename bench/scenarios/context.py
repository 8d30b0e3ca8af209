"""What a scenario works with."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.cast import Person, cast
from bench.figures import Figures
from bench.load import load
from bench.peers import bare, usual
from bench.rows import Row
from bench.site import Site, open_site
from bench.stack import Child, Stack


@dataclass(frozen=True)
class Main:
    """The installation that most scenarios use, its users, its API, and the peers beside it."""

    site: Site
    people: Sequence[Person]
    api: Child
    usual: Child
    bare: Child


_WARM_UP = 0.5  # seconds
#: Orders that are placed, for so many seconds, so that Postgres plans with tables that aren't empty.
FIRST_ORDERS = 1.0


@dataclass
class Context:
    """The servers, and how long and how often is measured. `quick`: does it run? Figures mean nothing then."""

    stack: Stack
    exits: AsyncExitStack  # ends what is shared
    rounds: int
    seconds: float
    quick: bool = False
    _main: Main | None = field(default=None)

    @property
    def warm_up(self) -> float:
        """Seconds before a measurement that don't count."""
        return 0.1 if self.quick else _WARM_UP

    async def load(self, target: Child, requests: Sequence[str], status: int, seconds: float = 0.0) -> Figures:
        """Send the requests in turn over 16 connections, for as long as is measured or so many seconds."""
        return await load(self.stack, target, requests, status, seconds or self.seconds, warm_up=self.warm_up)

    async def main(self) -> Main:
        """Return what is shared; it is started once, when it is first asked for. Idle processes take no time."""
        if self._main is None:
            site = await open_site(self.stack, "bench_main")
            people = await cast(site, 40 if self.quick else 200)
            api = await self.exits.enter_async_context(site.api())
            usually = await self.exits.enter_async_context(usual.serving(site, people))
            nothing = await self.exits.enter_async_context(bare.serving(self.stack))
            self._main = Main(site, people, api, usually, nothing)
        return self._main


#: Measures something, and yields each row as soon as it is known.
Scenario = Callable[[Context], AsyncIterator[Row]]
