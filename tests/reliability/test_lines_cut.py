"""Lines that lose answers: what was promised is kept, and paid once."""

import asyncio
import random
from typing import Any
from urllib.parse import urlsplit

from chaos.proxy import Proxy, link
from tallyframe.db import Database
from tallyframe.settings import Settings
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.processes import Processes
from tests.support.writing import writer


async def worry(links: list[Proxy], chance: random.Random) -> None:
    """Cut, hold up and swallow answers on the links, again and again."""
    while True:
        await asyncio.sleep(chance.uniform(0.02, 0.1))
        proxy = chance.choice(links)
        how = chance.choice(["cut", "swallow_replies", "reset"])
        if how == "cut":
            proxy.cut()
            continue
        with proxy.switched(how, after_bytes=chance.randrange(300)):  # type: ignore[arg-type]  # a mode
            await asyncio.sleep(chance.uniform(0.02, 0.15))


async def test_150_keyed_orders_over_lines_that_lose_answers_are_150_debits(
    rich: Member, processes: Processes, db: Database, owner: Any, settings: Settings
) -> None:
    database = urlsplit(settings.server.database_url.get_secret_value())
    async with link(str(database.hostname), int(database.port or 0)) as to_postgres:
        _, url = await processes.api(TALLYFRAME_DATABASE_URL=to_postgres.instead_of(database.geturl()))
        async with link("127.0.0.1", int(urlsplit(url).port or 0)) as to_api:
            keys = [f"order-{number}" for number in range(150)]
            async with writer(rich, to_api.instead_of(url)) as through:
                worrying = asyncio.create_task(worry([to_api, to_postgres], random.Random(7)))
                await through.order_all(keys, clients=10)
                worrying.cancel()
                await asyncio.gather(worrying, return_exceptions=True)
            async with writer(rich, url, 30) as straight:
                await straight.order_all(keys, clients=10)

    assert through.broken > 10, "or else this proves little"
    assert straight.told == through.told
    assert len({generation for _, generation in through.told.values()}) == 150
    assert await owner.fetchval("SELECT count(*) FROM ledger_entries WHERE kind = 'debit'") == 150
    assert await owner.fetchval("SELECT count(*) FROM projects") == 150
    await processes.worker()
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"failed": 150}
    assert await rich.available() == 100_000
