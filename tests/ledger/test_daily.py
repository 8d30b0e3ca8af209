"""The digest of the day is made once by all workers together, and again by none."""

import asyncio
import json
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from tallyframe.ledger.daily import digest_of_the_day
from tests.ledger.conftest import Books
from tests.support.audited import audited
from tests.support.processes import Processes


async def test_of_several_at_once_one_writes_it(books: Books, tmp_path: Path) -> None:
    folder = tmp_path / "digests"
    folder.mkdir()
    with capture_logs() as logs:
        written = await asyncio.gather(*(digest_of_the_day(books.db, folder) for _ in range(4)))
        assert await digest_of_the_day(books.db, folder) is None
    (path,) = folder.iterdir()
    (digest,) = (each for each in written if each is not None)
    (event,) = (each for each in logs if each["event"] == "ledger_digest")
    assert event["root"] == json.loads(path.read_text().splitlines()[-1])["root"] == digest.root
    assert event["file"] == str(path)
    assert await audited(books.db, folder) == {}


async def test_the_next_day_it_is_made_again(books: Books, tmp_path: Path) -> None:
    assert await digest_of_the_day(books.db, None)
    assert await digest_of_the_day(books.db, None) is None
    await books.connection.execute("UPDATE ledger_digests SET day = day - 1, made_at = made_at - interval '1 day'")
    assert await digest_of_the_day(books.db, None)


async def test_without_a_folder_the_root_is_logged(books: Books) -> None:
    with capture_logs() as logs:
        digest = await digest_of_the_day(books.db, None)
    assert digest
    assert [(each["event"], each["root"], each["entries"]) for each in logs] == [("ledger_digest", digest.root, 8)]


async def test_a_folder_that_is_away_is_told_and_another_worker_may_do_it(books: Books, tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert await digest_of_the_day(books.db, tmp_path / "away") is None
    assert [(each["event"], each["log_level"]) for each in logs] == [("ledger_digest_failed", "error")]
    assert "away" in logs[0]["reason"]
    assert await digest_of_the_day(books.db, tmp_path)


async def test_a_worker_does_it_by_itself(books: Books, processes: Processes, tmp_path: Path, owner: Any) -> None:
    folder = tmp_path / "digests"
    folder.mkdir()
    first, second = [await processes.worker(TALLYFRAME_DIGEST_DIR=str(folder)) for _ in range(2)]
    async with asyncio.timeout(60):
        while not await owner.fetchval("SELECT count(*) FROM ledger_digests"):
            await asyncio.sleep(0.05)
    for process in (first, second):
        process.popen.terminate()
        await process.wait()
    assert (first.text + second.text).count('"event": "ledger_digest"') == 1
    assert len(list(folder.iterdir())) == 1
    assert await audited(books.db, folder, books.digest) == {}
