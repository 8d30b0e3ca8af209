"""Videos that wait at a vendor: what they cost a worker, and whether new orders wait for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

from bench.cast import Person, cast
from bench.figures import percentile
from bench.peers.usual.waiting import memory as usual_memory
from bench.rounds import interleave
from bench.rows import Against, Row, Target, row
from bench.scenarios.context import Context
from bench.scenarios.pickup import order_of, picked_up
from bench.site import Site, close_site, open_site
from bench.stack import Child
from bench.until import until

WAITING = 5_000
OTHERS = 20  # users who have no waiting videos
_ASKED_AGAIN = 5.0  # seconds after which a worker has asked for each ticket
_ROUNDS = 2  # at most: memory differs little from one to the next
_VIDEO = {"kind": "video", "prompt": "[delay:600] a cup"}

#: Copies the one video that waits: its project, generation, step, call, debit and outbox row, for users in turn. So the
#: rows are as the product leaves them.
_COPIES = """
    CREATE TEMP TABLE one AS SELECT * FROM generations WHERE wake_at IS NOT NULL;
    CREATE TEMP TABLE copies AS
    SELECT n, uuidv7() AS project, uuidv7() AS generation, users.id AS user_id, accounts.id AS account_id,
           now() + {again} * interval '1 s' * n / {count} AS due
    FROM generate_series(1, {count}) AS n
    JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM users) AS users ON users.place = n % {users}
    JOIN accounts ON accounts.user_id = users.id;
    INSERT INTO projects SELECT (jsonb_populate_record(p, jsonb_build_object(
        'id', project, 'user_id', copies.user_id, 'generation_id', generation))).*
    FROM copies, projects p JOIN one ON one.project_id = p.id;
    INSERT INTO generations SELECT (jsonb_populate_record(g, jsonb_build_object(
        'id', generation, 'project_id', project, 'user_id', copies.user_id, 'account_id', copies.account_id,
        'turn', g.turn + n / {users}, 'wake_at', due))).*
    FROM copies, generations g JOIN one ON one.id = g.id;
    INSERT INTO generation_steps SELECT (jsonb_populate_record(s, jsonb_build_object(
        'generation_id', generation, 'poll_at', due))).*
    FROM copies, generation_steps s JOIN one ON one.id = s.generation_id;
    INSERT INTO ai_operations SELECT (jsonb_populate_record(o, jsonb_build_object(
        'id', uuidv7(), 'generation_id', generation))).*
    FROM copies, ai_operations o JOIN one ON one.id = o.generation_id;
    INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference)
    SELECT uuidv7(), copies.account_id, 'debit', -credits, generation, 'generation:' || generation FROM copies, one;
    INSERT INTO outbox (kind, ref, due_at) SELECT 'run_generation', generation, due FROM copies;
    DROP TABLE one, copies;
"""


@dataclass(frozen=True)
class Seen:
    """A worker's memory in MB, and the ms from commit to call of orders of the videos' owners, and of others."""

    rss: float
    owners: Sequence[float]
    others: Sequence[float]


async def waiting_videos(context: Context) -> AsyncIterator[Row]:
    """One worker with 5,000 waiting videos against one with none, and against a coroutine for each."""
    count = 50 if context.quick else WAITING
    main = await context.main()
    await main.site.clear()
    site = await open_site(context.stack, "bench_videos")
    people = sorted(
        await cast(site, 40 if context.quick else 200), key=attrgetter("user_id")
    )  # as the copies are given to them
    async with site.api() as api:
        await _wait_at_vendor(site, api, people, count)
        measured = {
            "waiting": partial(_seen, context, site, api, people),
            "none": partial(_seen, context, main.site, main.api, main.people),
        }
        found = await interleave(min(context.rounds, _ROUNDS), measured)
    usually = {name: partial(usual_memory, site, people, number) for name, number in (("waiting", count), ("none", 0))}
    theirs = await interleave(1, usually)
    await close_site(site)
    rss = {name: [each.rss for each in seen] for name, seen in found.items()}
    grown = [after - before for after, before in zip(rss["waiting"], rss["none"], strict=True)]
    more: dict[str, float | str] = {"waiting": count, "rss_mb": round(max(rss["waiting"]), 1)}
    yield row("waiting_videos", "memory", "MB more", grown, target=Target("value", at_most=30), more=more)
    their_growth = [after - before for after, before in zip(theirs["waiting"], theirs["none"], strict=True)]
    yield row("waiting_videos", "memory", "MB more", grown[: len(their_growth)], Against("usual", their_growth))
    for figure, of in {"pickup p95": attrgetter("others"), "pickup p95, owners": attrgetter("owners")}.items():
        p95 = {name: [percentile(of(each), 95) for each in seen] for name, seen in found.items()}
        against, target = Against("none waiting", p95["none"]), Target("value", at_most=200)
        yield row("waiting_videos", figure, "ms", p95["waiting"], against, target=target)


async def _wait_at_vendor(site: Site, api: Child, people: Sequence[Person], count: int) -> None:
    """Have one video wait, then copy it."""
    async with site.worker(), site.owner() as owner:
        await order_of(api, people[0], _VIDEO)
        await until(partial(owner.fetchval, "SELECT count(*) FROM generations WHERE wake_at > now() + interval '1 s'"))
    async with site.owner() as owner:
        await owner.execute(_COPIES.format(count=count - 1, users=len(people) - OTHERS, again=_ASKED_AGAIN))
        await owner.execute("VACUUM ANALYZE")
    await site.empty_redis()


async def _seen(context: Context, site: Site, api: Child, people: Sequence[Person]) -> Seen:
    """Run a worker until it has asked for all tickets, and place new orders beside it."""
    file: Path = context.stack.file("notes")
    async with site.worker(file) as worker:
        if not context.quick:
            await asyncio.sleep(_ASKED_AGAIN)
        count = 5 if context.quick else 40
        others = await picked_up(site, api, people[-OTHERS:], count, file)
        owners = await picked_up(site, api, people[:OTHERS], count, file)
        return Seen(worker.rss, owners, others)
