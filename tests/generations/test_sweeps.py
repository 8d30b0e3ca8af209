"""A sweeper comes to everything in the end, also where something can't be mended or more comes than it looks at."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from tallyframe.generations.end import sweep, walk
from tallyframe.generations.end.sweep import Sweeper
from tests.support.cast import Member
from tests.support.working import Bench

REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW WHEN (NEW.ref = '{}') EXECUTE FUNCTION refuse()"""
KEEP = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON generations FOR EACH ROW WHEN (OLD.id = ANY ('{{{}}}'::uuid[]))
    EXECUTE FUNCTION refuse()"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (walk, sweep):
        monkeypatch.setattr(module, "BATCH", 10)


async def lost(member: Member, owner: Any, count: int) -> list[UUID]:
    """Place so many orders and lose their rows in the outbox."""
    placed = [UUID((await member.order())["generation"]["id"]) for _ in range(count)]
    await owner.execute("DELETE FROM outbox WHERE ref = ANY ($1)", placed)
    return placed


async def queued(owner: Any) -> set[UUID]:
    return {row["ref"] for row in await owner.fetch("SELECT ref FROM outbox")}


async def sweeps(bench: Bench, count: int) -> Sweeper:
    sweeper = Sweeper(bench.db)
    for _ in range(count):
        await sweeper.sweep()
    return sweeper


@pytest.mark.parametrize("place", [0, 7, 9, 24])
async def test_one_that_can_not_be_mended_keeps_no_other_waiting(
    rich: Member, bench: Bench, owner: Any, place: int
) -> None:
    placed = await lost(rich, owner, 25)
    await owner.execute(REFUSE.format(placed[place]))
    sweeper = await sweeps(bench, 30)
    assert await queued(owner) == set(placed) - {placed[place]}
    await owner.execute("DROP TRIGGER refuse ON outbox")
    for _ in range(8):
        await sweeper.sweep()
    assert await queued(owner) == set(placed)


async def test_a_walk_that_fails_keeps_no_other_from_being_made(rich: Member, bench: Bench, owner: Any) -> None:
    placed = await lost(rich, owner, 2)
    await owner.execute("UPDATE generations SET status = 'processing' WHERE id = $1", placed[1])
    await owner.execute(REFUSE.format(placed[0]))
    await sweeps(bench, 1)
    assert await queued(owner) == {placed[1]}


async def test_however_many_come_it_looks_at_the_first_ones_again(rich: Member, bench: Bench, owner: Any) -> None:
    first, *_ = await lost(rich, owner, 25)
    sweeper = await sweeps(bench, 1)
    await owner.execute("DELETE FROM outbox")
    for _ in range(3):
        await lost(rich, owner, 12)  # more than it looks at
        await sweeper.sweep()
    assert first in await queued(owner)


async def expired(owner: Any) -> Sequence[UUID]:
    rows = await owner.fetch("SELECT id FROM generations WHERE status = 'failed' ORDER BY expires_at")
    return [row["id"] for row in rows]


async def test_those_that_can_not_be_ended_keep_no_other_waiting(rich: Member, bench: Bench, owner: Any) -> None:
    placed = [UUID((await rich.order())["generation"]["id"]) for _ in range(15)]
    await owner.execute("UPDATE generations SET expires_at = now() - interval '1 day' WHERE id = ANY ($1)", placed[:12])
    await owner.execute("UPDATE generations SET expires_at = now() WHERE id = ANY ($1)", placed[12:])
    await owner.execute(KEEP.format(",".join(map(str, placed[:12]))))
    sweeper = await sweeps(bench, 2)
    assert set(await expired(owner)) == set(placed[12:])
    await owner.execute("DROP TRIGGER refuse ON generations")
    for _ in range(3):
        await sweeper.sweep()
    assert set(await expired(owner)) == set(placed)
