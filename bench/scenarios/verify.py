"""`tallyframe ledger verify` of a million entries, against one sequential scan that sums them."""

import sys
from collections.abc import AsyncIterator
from time import perf_counter

from bench.fill import SMALL, Scale, fill
from bench.rounds import interleave
from bench.rows import Against, Row, Target, row
from bench.scenarios.context import Context
from bench.site import Site, close_site, open_site

AUDITED = Scale(generations=200_000, entries=1_000_000, live=1_000, hoard=1_000)
_SCAN = "SELECT sum(amount), count(*) FROM ledger_entries"


async def verify(context: Context) -> AsyncIterator[Row]:
    """The whole command, from its start to its exit."""
    site = await open_site(context.stack, "bench_audited")
    await fill(site.database_url, SMALL if context.quick else AUDITED)

    async def audit() -> float:
        begun = perf_counter()
        said = await context.stack.run([sys.executable, "-m", "tallyframe", "ledger", "verify"], site.environment({}))
        if "The books balance." not in said:
            raise RuntimeError(said)
        return perf_counter() - begun

    async def scan() -> float:
        return await _scan(site)

    await scan()
    found = await interleave(context.rounds, {"verify": audit, "scan": scan})
    await close_site(site)
    against = Against("sequential scan", found["scan"])
    yield row("verify", "time", "s", found["verify"], against, target=Target("ratio", at_most=10))


async def _scan(site: Site) -> float:
    """Sum all entries by one process of Postgres; return the seconds."""
    async with site.owner() as owner:
        for setting in ("max_parallel_workers_per_gather = 0", "enable_indexscan = off", "enable_indexonlyscan = off"):
            await owner.execute(f"SET {setting}")
        begun = perf_counter()
        await owner.fetchrow(_SCAN)
        return perf_counter() - begun
