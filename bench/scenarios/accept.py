"""Accepting orders: against the same SQL by pgbench, the usual way, and a bare route."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from bench import orders
from bench.capture import Captured, capture
from bench.cast import Person
from bench.figures import Figures
from bench.peers import pgbench
from bench.rounds import interleave
from bench.rows import Against, Row, Target, row
from bench.scenarios.context import FIRST_ORDERS, Context
from bench.site import Site
from bench.stack import Child

TARGETS = {"pgbench": Target("ratio", at_least=0.40), "usual": Target("ratio", at_least=4), "bare": None}


async def accept(context: Context) -> AsyncIterator[Row]:
    """Orders with an API key and an Idempotency-Key, of all users in turn, over 16 connections."""
    main = await context.main()
    captured = await capture(main.site, main.people[0])
    requests = [orders.order(person) for person in main.people]
    for each in (main.api, main.usual):
        await context.load(each, requests, 202, FIRST_ORDERS)
    measured = {
        "accept": partial(_orders, context, main.site, main.api, requests),
        "pgbench": partial(_by_pgbench, context, main.site, captured, main.people),
        "usual": partial(_orders, context, main.site, main.usual, requests),
        "bare": partial(_orders, context, main.site, main.bare, [orders.bare_order()]),
    }
    found = await interleave(context.rounds, measured)
    for name, target in TARGETS.items():
        yield compared("accept", found["accept"], name, found[name], target)


async def hot_account(context: Context) -> AsyncIterator[Row]:
    """Orders of one user, whose account takes its debits one after the other."""
    main = await context.main()
    one = main.people[1:2]
    captured = await capture(main.site, one[0])
    requests = [orders.order(one[0])]
    await context.load(main.api, requests, 202, FIRST_ORDERS)
    measured = {
        "hot_account": partial(_orders, context, main.site, main.api, requests),
        "pgbench": partial(_by_pgbench, context, main.site, captured, one),
    }
    found = await interleave(context.rounds, measured)
    target = Target("ratio", at_least=0.60)
    yield compared("hot_account", found["hot_account"], "pgbench", found["pgbench"], target)


async def _orders(context: Context, site: Site, target: Child, requests: Sequence[str]) -> Figures:
    await site.clear()
    return await context.load(target, requests, 202)


async def _by_pgbench(context: Context, site: Site, captured: Captured, people: Sequence[Person]) -> Figures:
    await site.clear()
    return await pgbench.orders(site, captured, people, context.seconds)


def compared(name: str, ours: Sequence[Figures], peer: str, peers: Sequence[Figures], target: Target | None) -> Row:
    """Return the row of a rate per second, with latencies and processor time as far as they were measured."""
    against = Against(peer, [each.per_second for each in peers])
    return row(name, "rate", "per s", [each.per_second for each in ours], against, target=target, more=details(ours))


def details(ours: Sequence[Figures]) -> dict[str, float | str]:
    """Return what the load generator has seen beside the rate: of the round in the middle."""
    middle = sorted(ours, key=lambda each: each.per_second)[len(ours) // 2]
    shown = {
        "p50_ms": middle.p50,
        "p99_ms": middle.p99,
        "cpu_ms": middle.server_cpu,
        "client_cpu_ms": middle.client_cpu,
    }
    return {name: round(value, 3) for name, value in shown.items() if value is not None}
