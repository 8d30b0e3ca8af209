"""A database of the version before is migrated while that version works, and every generation ends well."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from tallyframe.audit.invariants import INVARIANTS
from tallyframe.calls.gate import Gate
from tallyframe.db import API_ROLE, Database
from tallyframe.generations.end import erase
from tallyframe.generations.end.sweep import Sweeper
from tallyframe.generations.run.runner import Runner
from tallyframe.migrate import alembic_config, migrate, newest_revision
from tallyframe.settings import Settings
from tests.audit.conftest import Audits
from tests.conftest import acting_as
from tests.support.audited import audited
from tests.support.remains import World
from tests.support.scripted import QUICKLY, Scripted, among, limits
from tests.support.working import Bench
from tests.upgrade.replay import Lives

#: What has become of each order when recording stopped, and what becomes of it.
LIVES: dict[tuple[str, str], tuple[str, str]] = {
    ("a cup from a picture", "image"): ("succeeded", "succeeded"),
    ("a cup from a picture", "video"): ("succeeded", "succeeded"),  # twice
    ("fails", "image"): ("failed", "failed"),  # and once more, canceled
    ("waits for another try", "image"): ("processing", "succeeded"),
    ("is tried again", "image"): ("succeeded", "succeeded"),
    ("is canceled", "image"): ("canceled", "canceled"),
    ("is withdrawn", "video"): ("canceled", "canceled"),
    ("is to be withdrawn", "video"): ("canceled", "canceled"),
    ("is in doubt", "video"): ("failed", "failed"),
    ("comes too late", "image"): ("canceled", "canceled"),
    ("is too old", "image"): ("failed", "failed"),
    ("", "image"): ("succeeded", "succeeded"),  # two, whose projects are deleted
    ("is made and not settled", "image"): ("processing", "succeeded"),
    ("is under way", "image"): ("processing", "succeeded"),
    ("is lost with its worker", "image"): ("processing", "succeeded"),
    ("has a ticket", "video"): ("processing", "succeeded"),
    ("waits for its turn", "image"): ("pending", "succeeded"),
}
#: Of one life of each: 1,000 credits and 7 more, less 5 for an image and 10 for a video.
BALANCE = 1007 - 9 * 5 - 3 * 10
STEP_STATES = {"intent", "ticket", "done", "failed", "in_doubt", "orphaned", "withdrawn"}


async def orders(owner: Any, lives: Lives) -> "Counter[tuple[str, str, str]]":
    """Count the user's generations by prompt, operation and status."""
    rows = await owner.fetch(
        """SELECT p.prompt, g.operation, g.status FROM generations g JOIN projects p ON p.id = g.project_id
           WHERE g.user_id = $1""",
        lives.user,
    )
    return Counter(tuple(row) for row in rows)


def expected(moment: int) -> "Counter[tuple[str, str, str]]":
    """Return what there must be: when recording stopped (0), or in the end (1)."""
    found = Counter({(*order, ends[moment]): 1 for order, ends in LIVES.items()})
    found[("a cup from a picture", "video", "succeeded")] += 1
    found[("fails", "image", "canceled")] += 1
    found[("", "image", "succeeded")] += 1
    return found


async def migrating(url: str, first: int, *, side_by_side: int) -> list[Lives]:
    """Migrate to the newest revision, while that many processes of the version before work; return what they did."""
    migration = asyncio.create_task(asyncio.to_thread(migrate, url))
    numbers, played = iter(range(first, first + 1000)), list[Lives]()

    async def work() -> None:
        while not migration.done():
            lives = Lives(next(numbers))
            await lives.play(url)
            played.append(lives)

    await asyncio.gather(migration, *(work() for _ in range(side_by_side)))
    return played


#: What the version before has stored, and what it may have, for each try; nothing of what it has erased already.
STORED = """
    SELECT format('generations/%s/%s-%s.png', s.generation_id, s.name, s.attempt),
           coalesce((s.result ->> 'bytes')::int, 1)
    FROM generation_steps s JOIN generations g ON g.id = s.generation_id JOIN projects p ON p.id = g.project_id
    WHERE p.deleted_at IS NULL OR EXISTS (SELECT FROM outbox WHERE kind = 'erase_project_files' AND ref = p.id)
    UNION ALL SELECT key, 1 FROM erased_files UNION ALL SELECT key, bytes FROM assets"""


async def store_files(owner: Any, settings: Settings) -> None:
    """Store the files for the rows that are there."""
    media = settings.server.data_dir / "media"
    for key, size in await owner.fetch(STORED):
        (media / key).parent.mkdir(parents=True, exist_ok=True)
        (media / key).write_bytes(bytes(size))


#: Rounds in which a sweeper gets through all that the version before has left.
ROUNDS = 10


def new_worker(bench: Bench) -> Runner:
    """A worker of this version, whose vendor collects the tickets of the version before.

    It has slots for more calls than all lives can have left under way, however long the migration took.
    """
    gate = Gate(bench.db, limits("omni", most=1_000, breaker_failures=1_000_000))
    return bench.runner(providers=among(Scripted("omni", repeatable=True)), gate=gate, retry=QUICKLY)


async def end_everything(owner: Any, bench: Bench) -> None:
    """Do all that is left to be done, as a worker of this version does it."""
    # Those of the version before have all gone, and time passes.
    await owner.execute(
        "UPDATE generations SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL"
    )
    await owner.execute("UPDATE generations SET wake_at = now() WHERE wake_at IS NOT NULL")
    runner, sweeper = new_worker(bench), Sweeper(bench.db)
    for _ in range(ROUNDS):
        await sweeper.sweep()
    await bench.drain(runner)
    for _ in range(ROUNDS):
        await sweeper.sweep()
    for row in await owner.fetch("SELECT kind, ref FROM outbox"):
        await bench.handle(row["kind"], row["ref"], runner)


async def delete_everything(owner: Any, bench: Bench) -> None:
    """Let the users delete their projects."""
    async with acting_as(API_ROLE, bench.settings) as api:
        for row in await owner.fetch("SELECT id, user_id FROM projects WHERE deleted_at IS NULL"):
            assert await erase.delete(api.as_user(row["user_id"]), row["user_id"], row["id"])
    for row in await owner.fetch("SELECT kind, ref FROM outbox"):
        await bench.handle(row["kind"], row["ref"])


async def check_books(owner: Any, db: Database, everybody: Iterable[Lives]) -> None:
    """Check each user's balance, and the books as `tallyframe ledger verify` does."""
    for lives in everybody:
        balance = "SELECT balance FROM accounts WHERE user_id = $1"
        sums = "SELECT sum(amount) FROM ledger_entries e JOIN accounts a ON a.id = account_id WHERE a.user_id = $1"
        assert await owner.fetchval(balance, lives.user) == await owner.fetchval(sums, lives.user) == BALANCE
    assert await audited(db) == {}


async def test_every_generation_ends_well(
    owner: Any, db: Database, bench: Bench, audits: Audits, world: World, settings: Settings, database_url: str
) -> None:
    before = Lives(0)
    await before.play(database_url)
    assert await orders(owner, before) == expected(0)
    assert {row[0] for row in await owner.fetch("SELECT state FROM generation_steps")} == STEP_STATES
    meanwhile = await migrating(database_url, 1, side_by_side=2)
    after = Lives(1000)
    await after.play(database_url)
    everybody = [before, *meanwhile, after]
    assert [await orders(owner, lives) for lives in everybody] == [expected(0)] * len(everybody)
    await store_files(owner, settings)

    await end_everything(owner, bench)
    assert [await orders(owner, lives) for lives in everybody] == [expected(1)] * len(everybody)
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0
    await check_books(owner, db, everybody)
    assert await miscounted(owner) == []
    counted = {each.name for each in INVARIANTS if each.is_counted}  # doubts, which the version before has had, too
    assert {name: found for name, found in (await audits.violated()).items() if name not in counted} == {}

    await delete_everything(owner, bench)
    assert [name for name in world.files() if name.startswith("generations/")] == []
    assert await owner.fetchval("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM erased_files)") == 0


async def miscounted(owner: Any) -> list[Any]:
    """Return what the counters say that isn't so, or don't say."""
    in_all = " UNION ALL ".join(f"({so_far})" for _, so_far in revision_module("0022").TABLES.values())
    counters = "SELECT name, labels, sum(count) AS count, sum(total) AS total FROM counters GROUP BY 1, 2"
    differ = "counted.count IS DISTINCT FROM actual.count OR abs(counted.total - actual.total) > 0.001"
    sql = f"SELECT * FROM ({counters}) counted FULL JOIN ({in_all}) actual USING (name, labels) WHERE {differ}"  # noqa: S608  # of ours
    return list(await owner.fetch(sql))


def revision_module(revision: str) -> Any:
    return ScriptDirectory.from_config(alembic_config()).get_revision(revision).module


async def test_a_count_that_was_cut_off_goes_on_with_the_next_try(owner: Any, database_url: str) -> None:
    await Lives(0).play(database_url)
    await asyncio.to_thread(migrate, database_url)
    await Lives(1).play(database_url)  # whose ends the triggers count
    for cut in ("DELETE FROM counters WHERE name = 'steps'", "DELETE FROM counters"):
        await owner.execute(cut)
        assert await miscounted(owner) != []
        await owner.execute("UPDATE alembic_version SET version_num = '0021'")
        await asyncio.to_thread(migrate, database_url)
        assert await miscounted(owner) == []


FILLED = """
    SELECT m.role, m.version, (asset_id IN (image_asset_id, video_asset_id)) AS shown
    FROM project_media m JOIN projects p ON p.id = m.project_id JOIN assets a ON a.id = asset_id
    WHERE p.prompt = 'a cup from a picture' ORDER BY m.role, a.id"""


async def test_media_from_before_are_versions_with_what_is_shown_last(owner: Any, database_url: str) -> None:
    await Lives(0).play(database_url)
    await asyncio.to_thread(migrate, database_url)
    assert [tuple(row) for row in await owner.fetch(FILLED)] == [
        ("image", 1, True),
        ("video", 1, False),
        ("video", 2, True),
    ]
    unfilled = "SELECT count(*) FROM assets WHERE generation_id IS NOT NULL AND (role IS NULL OR position IS NULL)"
    assert await owner.fetchval(unfilled) == 0


async def test_what_a_worker_of_the_version_before_shows_comes_after_what_is_not_filled_in_yet(
    owner: Any, database_url: str
) -> None:
    await Lives(0).play(database_url)
    await asyncio.to_thread(command.upgrade, alembic_config(database_url), "0014")
    assert await owner.fetchval("SELECT count(*) FROM project_media") == 0
    await owner.execute("SET ROLE tallyframe_worker")
    await owner.execute(
        """WITH old AS (SELECT id FROM projects WHERE prompt = 'a cup from a picture'),
                made AS (INSERT INTO assets (id, user_id, project_id, generation_id, storage, key, content_type, bytes,
                                             sha256, width, height)
                         SELECT 'ffffffff-0000-7000-8000-000000000000', user_id, project_id, id, 'local', 'a/new.mp4',
                                'video/mp4', 1, 'a', 1, 1
                         FROM generations WHERE project_id = (SELECT id FROM old) AND operation = 'video' LIMIT 1
                         RETURNING id)
           UPDATE projects SET video_asset_id = made.id FROM made WHERE projects.id = (SELECT id FROM old)"""
    )
    await owner.execute("RESET ROLE")
    shown = [("image", 1, True), ("video", 1, False), ("video", 2, False), ("video", 3, True)]
    assert [tuple(row) for row in await owner.fetch(FILLED)] == shown
    await owner.execute("DELETE FROM assets WHERE key = 'a/new.mp4'")  # else two outputs of one generation
    await asyncio.to_thread(migrate, database_url)
    assert [tuple(row) for row in await owner.fetch(FILLED)] == shown[:3]


REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'cut off'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON assets FOR EACH ROW EXECUTE FUNCTION refuse()"""
#: A second output of a generation, for which there is no place in the index of outputs.
DOUBLE = """
    INSERT INTO assets (id, user_id, project_id, generation_id, storage, key, content_type, bytes, sha256, width,
                        height)
    SELECT gen_random_uuid(), user_id, project_id, generation_id, storage, 'a double', content_type, 1, 'a', 1, 1
    FROM assets WHERE generation_id IS NOT NULL LIMIT 1"""
REVISION = "SELECT version_num FROM alembic_version"


@pytest.mark.parametrize(
    ("cut", "go_on", "words"),
    [
        (REFUSE, "DROP TRIGGER refuse ON assets; DROP FUNCTION refuse()", "cut off"),
        (DOUBLE, "DELETE FROM assets WHERE key = 'a double'", "could not create unique index"),
    ],
)
async def test_cut_off_while_it_fills_the_migration_goes_on_with_the_next_try(
    owner: Any, database_url: str, cut: str, go_on: str, words: str
) -> None:
    await Lives(0).play(database_url)
    await owner.execute(cut)
    with pytest.raises(DBAPIError, match=words):
        await asyncio.to_thread(migrate, database_url)
    assert await owner.fetchval(REVISION) == "0014"
    await owner.execute(go_on)
    await Lives(1).play(database_url)
    await asyncio.to_thread(migrate, database_url)
    assert await owner.fetchval(REVISION) == newest_revision()
    assert await owner.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
