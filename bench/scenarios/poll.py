"""Polling a project: in full, unchanged by the database, and unchanged from memory; against a bare route."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

import httpx

from bench import orders
from bench.cast import Person
from bench.rounds import interleave
from bench.rows import Row, Target
from bench.scenarios.accept import compared
from bench.scenarios.context import Context
from bench.stack import Child

#: With which an API process answers no unchanged poll from its memory.
_NO_MEMORY = {"TAG_MEMORY_SECONDS": "0"}

TARGETS = {
    "poll": Target("ratio", at_least=0.25),
    "poll_304": Target("ratio", at_least=0.45),
    "poll_304_memory": Target("ratio", at_least=0.65),
}


async def poll(context: Context) -> AsyncIterator[Row]:
    """Polls of projects that wait for a worker, one of each user."""
    main = await context.main()
    await main.site.clear()
    asked, asked_there = await place(main.api, main.people), await place(main.usual, main.people)
    full, unchanged = [orders.poll(*each[:2]) for each in asked], [orders.poll(*each) for each in asked]
    async with main.site.api(**_NO_MEMORY) as reading:
        measured = {
            "bare": partial(context.load, main.bare, [orders.bare_poll()], 200),
            "poll": partial(context.load, main.api, full, 200),
            "poll_304": partial(context.load, reading, unchanged, 304),
            "poll_304_memory": partial(context.load, main.api, unchanged, 304),
            "usual": partial(context.load, main.usual, [orders.poll(*each[:2]) for each in asked_there], 200),
        }
        found = await interleave(context.rounds, measured)
    for name, target in TARGETS.items():
        yield compared(name, found[name], "bare", found["bare"], target)
    yield compared("poll", found["poll"], "usual", found["usual"], None)


async def place(target: Child, people: Sequence[Person]) -> list[tuple[Person, str, str]]:
    """Place an order for each user; return users, project ids and ETags."""
    asked = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{target.port}", timeout=30) as client:
        for number, person in enumerate(people):
            headers = {**person.auth, "Idempotency-Key": f"one-{number}"}
            answer = await client.post("/v1/projects", json=orders.ORDER, headers=headers)
            asked.append((person, str(answer.raise_for_status().json()["id"]), answer.headers.get("ETag", "")))
    return asked
