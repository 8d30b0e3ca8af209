"""Filled installations: a small service, and the same after years."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from bench.cast import Person
from bench.fill import HOARDER, Scale
from bench.site import Site, close_site
from bench.stack import Child
from tallyframe.accounts import keys
from tallyframe.db import ADMIN_ROLE, WORKER_ROLE, Database

_PEOPLE = 40  # who ask, beside the one with the most projects


@dataclass(frozen=True)
class Grown:
    """A filled installation, its API, some of its users, and the connections of a worker."""

    scale: Scale
    site: Site
    api: Child
    people: Sequence[Person]  # the first one has the most projects, and is an administrator
    worker: Database


@asynccontextmanager
async def grown(scale: Scale, site: Site) -> AsyncIterator[Grown]:
    """Serve the site for the block; then its database is removed."""
    people = await _with_keys(site, [HOARDER, *(UUID(int=HOARDER.int + 1 + n) for n in range(_PEOPLE))])
    worker = Database(site.database_url, role=WORKER_ROLE, pool_size=4, statement_timeout=60)
    try:
        async with site.api(METRICS_MAX_AGE="0") as api:
            yield Grown(scale, site, api, people, worker)
    finally:
        await worker.close()
        await close_site(site)


async def _with_keys(site: Site, user_ids: Sequence[UUID]) -> Sequence[Person]:
    """Give the users a key each, and make the first one an administrator."""
    admin = Database(site.database_url, role=ADMIN_ROLE, pool_size=1, statement_timeout=60)
    people = []
    try:
        async with admin.transaction() as transaction:
            for user_id in user_ids:
                _, secret = await keys.make(transaction, user_id, "bench")
                people.append(Person(user_id, user_id, secret))
    finally:
        await admin.close()
    async with site.owner() as owner:
        await owner.execute("UPDATE users SET role = 'admin' WHERE id = $1", user_ids[0])
    return people
