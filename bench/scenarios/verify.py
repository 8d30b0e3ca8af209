"""`tallyframe ledger verify` of a million entries, against one sequential scan that sums them."""

import sys
from collections.abc import AsyncIterator
from time import perf_counter

from bench.fill import SMALL, Scale, fill
from bench.rounds import interleave
from bench.rows import Against, Row, Target, row
from bench.scenarios.context import Context
from bench.site import Site, close_site, open_site
from tallyframe.commands.ledger import Audit
from tallyframe.commands.users import database

AUDITED = Scale(generations=200_000, entries=1_000_000, live=1_000, hoard=1_000)
_SCAN = "SELECT sum(amount), count(*) FROM ledger_entries"


async def verify(context: Context) -> AsyncIterator[Row]:
    """The whole command, from its start to its exit; and the same without the start of Python."""
    site = await open_site(context.stack, "bench_audited")
    await fill(site.database_url, SMALL if context.quick else AUDITED)

    async def audit() -> float:
        begun = perf_counter()
        said = await context.stack.run([sys.executable, "-m", "tallyframe", "ledger", "verify"], site.environment({}))
        if "The books balance." not in said:
            raise RuntimeError(said)
        return perf_counter() - begun

    async def audit_alone() -> float:
        begun = perf_counter()
        async with database(site.database_url) as db:
            audited = Audit()
            async for _ in audited.lines(db, []):
                pass
        if not audited.is_well:
            raise RuntimeError("The books don't balance.")
        return perf_counter() - begun

    async def scan() -> float:
        return await _scan(site)

    await scan()
    found = await interleave(context.rounds, {"verify": audit, "alone": audit_alone, "scan": scan})
    await close_site(site)
    against = Against("sequential scan", found["scan"])
    for figure, name in {"time": "verify", "time, without start": "alone"}.items():
        yield row("verify", figure, "s", found[name], against, target=Target("ratio", at_most=10))


async def _scan(site: Site) -> float:
    """Sum all entries by one process of Postgres; return the seconds."""
    async with site.owner() as owner:
        for setting in ("max_parallel_workers_per_gather = 0", "enable_indexscan = off", "enable_indexonlyscan = off"):
            await owner.execute(f"SET {setting}")
        begun = perf_counter()
        await owner.fetchrow(_SCAN)
        return perf_counter() - begun
