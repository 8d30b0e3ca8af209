"""The digest of the day is made once by all workers together, and again by none."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
from alembic import command
from structlog.testing import capture_logs

from tallyframe.db import WORKER_ROLE, Database
from tallyframe.ledger.digest.daily import digest_age, digest_of_the_day
from tallyframe.migrate import alembic_config
from tests.ledger.conftest import Books
from tests.support import thieves
from tests.support.audited import audited
from tests.support.processes import Processes


async def test_of_several_at_once_one_writes_it(books: Books, tmp_path: Path) -> None:
    folder = tmp_path / "digests"
    folder.mkdir()
    with capture_logs() as logs:
        written = await asyncio.gather(*(digest_of_the_day(books.db, books.db, folder) for _ in range(4)))
        assert await digest_of_the_day(books.db, books.db, folder) is None
    (path,) = folder.iterdir()
    (digest,) = (each for each in written if each is not None)
    (event,) = (each for each in logs if each["event"] == "ledger_digest")
    assert event["root"] == json.loads(path.read_text().splitlines()[-1])["root"] == digest.root
    assert event["file"] == str(path)
    assert await audited(books.db, folder) == {}


async def test_the_next_day_it_is_made_again(books: Books, tmp_path: Path) -> None:
    assert await digest_of_the_day(books.db, books.db, None)
    assert await digest_of_the_day(books.db, books.db, None) is None
    await books.connection.execute("UPDATE ledger_digests SET day = day - 1, made_at = made_at - interval '1 day'")
    assert await digest_of_the_day(books.db, books.db, None)


CLAIMS = """
    INSERT INTO ledger_digests (day, made_at, root)
    SELECT (now() AT TIME ZONE 'UTC')::date + n, now() + n * interval '1 day', '' FROM generate_series(1, 3650) AS n"""
CLAIMED_TODAY = "SELECT count(*) FROM ledger_digests WHERE day = (now() AT TIME ZONE 'UTC')::date"
LATE_TODAY = """
    INSERT INTO ledger_digests SELECT day, (day + time '23:59:59.999999') AT TIME ZONE 'UTC', ''
    FROM CAST(now() AT TIME ZONE 'UTC' AS date) AS day"""


async def test_days_to_come_can_not_be_claimed(books: Books, owner: Any) -> None:
    """Not even in the words of the version before, which says when the row was made."""
    async with thieves.app(books.database_url, WORKER_ROLE) as thief:
        await thief.execute(CLAIMS)
    assert await age(books.db) is None
    # A day later: today is one of those that were claimed.
    await owner.execute("UPDATE ledger_digests SET day = day - 1, made_at = made_at - interval '1 day'")
    assert await owner.fetchval(CLAIMED_TODAY) == 1
    assert await age(books.db) is None
    assert await digest_of_the_day(books.db, books.db, None)
    assert await digest_of_the_day(books.db, books.db, None) is None
    assert await age(books.db) in range(60)


async def test_a_row_that_was_not_made_yet_counts_for_nothing(books: Books, owner: Any) -> None:
    async with owner.transaction():
        await owner.execute("ALTER TABLE ledger_digests DISABLE TRIGGER USER")
        await owner.execute(LATE_TODAY)
    assert await age(books.db) is None
    assert await digest_of_the_day(books.db, books.db, None)


async def test_the_migration_removes_days_that_were_claimed_before_it(books: Books, owner: Any) -> None:
    config = alembic_config(books.database_url)
    assert await digest_of_the_day(books.db, books.db, None)
    await asyncio.to_thread(command.downgrade, config, "0008")
    await owner.execute(CLAIMS)
    await asyncio.to_thread(command.upgrade, config, "head")
    assert await owner.fetchval("SELECT count(*) FROM ledger_digests") == 1
    assert await digest_of_the_day(books.db, books.db, None) is None


async def test_the_age_of_the_newest_is_a_metric(anybody: httpx.AsyncClient, worker_db: Database, owner: Any) -> None:
    name = "\ntallyframe_ledger_digest_age_seconds "
    assert (await anybody.get("/metrics")).text.split(name)[1].startswith("+Inf\n")
    assert await digest_of_the_day(worker_db, worker_db, None)
    await owner.execute("UPDATE ledger_digests SET day = day - 2, made_at = made_at - interval '2 days'")
    told = (await anybody.get("/metrics")).text.split(name)[1].splitlines()[0]
    assert 0 <= float(told) - 2 * 86_400 < 60


async def age(db: Database) -> int | None:
    async with db.reading() as reader:
        return await digest_age(reader)


async def test_without_a_folder_the_root_is_logged(books: Books) -> None:
    with capture_logs() as logs:
        digest = await digest_of_the_day(books.db, books.db, None)
    assert digest
    assert [(each["event"], each["root"], each["entries"]) for each in logs] == [("ledger_digest", digest.root, 8)]


async def test_a_folder_that_is_away_is_told_and_another_worker_may_do_it(books: Books, tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert await digest_of_the_day(books.db, books.db, tmp_path / "away") is None
    assert [(each["event"], each["log_level"]) for each in logs] == [("ledger_digest_failed", "error")]
    assert "away" in logs[0]["reason"]
    assert await digest_of_the_day(books.db, books.db, tmp_path)


DIES = """
    CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NEW; END $$"""


async def test_the_root_is_logged_also_when_the_claim_dies(books: Books, tmp_path: Path, owner: Any) -> None:
    await owner.execute(DIES)
    await owner.execute("CREATE TRIGGER aaa BEFORE INSERT ON ledger_digests FOR EACH STATEMENT EXECUTE FUNCTION die()")
    (tmp_path / "digests").mkdir()
    with capture_logs() as logs:
        assert await digest_of_the_day(books.db, books.db, tmp_path / "digests") is None
    assert [each["event"] for each in logs] == ["ledger_digest", "ledger_digest_failed"]
    (path,) = (tmp_path / "digests").iterdir()
    assert logs[0]["file"] == str(path)
    assert logs[0]["root"] == json.loads(path.read_text().splitlines()[-1])["root"]


async def test_books_that_are_too_long_for_a_statement_are_told(books: Books, owner: Any) -> None:
    hasty = Database(books.database_url, role=WORKER_ROLE, pool_size=2, statement_timeout=0.5)
    async with owner.transaction():
        await owner.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")  # as good as very many of them
        with capture_logs() as logs:
            assert await digest_of_the_day(books.db, hasty, None) is None
    assert await digest_of_the_day(books.db, hasty, None)
    await hasty.close()
    reason = "Reading the books took longer than a statement may."
    assert [(each["event"], each["reason"]) for each in logs] == [("ledger_digest_failed", reason)]


async def until_kept(owner: Any) -> None:
    async with asyncio.timeout(60):
        while not await owner.fetchval("SELECT count(*) FROM ledger_digests"):
            await asyncio.sleep(0.05)


async def test_a_worker_reads_the_books_for_as_long_as_audits_may_take(
    books: Books, processes: Processes, owner: Any
) -> None:
    async with owner.transaction():
        await owner.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        worker = await processes.worker(TALLYFRAME_STATEMENT_TIMEOUT="1", TALLYFRAME_AUDIT_TIMEOUT="60")
        await asyncio.sleep(3)
        assert '"ledger_digest' not in worker.text
    await worker.until_logged('"event": "ledger_digest"', 30)
    await until_kept(owner)
    assert "ledger_digest_failed" not in worker.text


async def test_a_worker_does_it_by_itself(books: Books, processes: Processes, tmp_path: Path, owner: Any) -> None:
    folder = tmp_path / "digests"
    folder.mkdir()
    first, second = [await processes.worker(TALLYFRAME_DIGEST_DIR=str(folder)) for _ in range(2)]
    await until_kept(owner)
    for process in (first, second):
        process.popen.terminate()
        await process.wait()
    assert (first.text + second.text).count('"event": "ledger_digest"') == 1
    assert len(list(folder.iterdir())) == 1
    assert await audited(books.db, folder, books.digest) == {}
