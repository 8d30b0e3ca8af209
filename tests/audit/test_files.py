"""Files that are missing or cut off are found, sooner or later all of them; a storage that is away is no violation."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tallyframe.audit.base import Finding
from tallyframe.audit.files import FilesHaveBytes
from tallyframe.generations.end.erase import Subject, erase
from tallyframe.generations.tables import ERASE_PROJECT
from tallyframe.settings import Settings
from tallyframe.storages.base import Storage, StorageError, Storages
from tallyframe.storages.cloudinary import CloudinaryStorage
from tallyframe.storages.s3 import S3Storage
from tallyframe.storages.unconfigured import ByName
from tests.audit.conftest import Audits, subjects
from tests.support.cast import Member
from tests.support.cloudinary import fake_cloudinary
from tests.support.drawn import GREEN, picture
from tests.support.quick import Quick
from tests.support.s3 import FakeS3, fake_s3
from tests.support.vendor import Reply
from tests.support.working import Bench

FILES = FilesHaveBytes()


@pytest.fixture
async def made(rich: Member, bench: Bench, owner: Any) -> list[UUID]:
    """Five pictures that were made and two that were uploaded, oldest first."""
    for number in range(5):
        await rich.order(f"cup {number}")
    await bench.drain(bench.with_provider(Quick()))
    for _ in range(2):
        files = {"file": ("a.png", picture(GREEN), "image/png")}
        assert (await rich.http.post("/v1/assets", files=files)).status_code == 201
    return [row["id"] for row in await owner.fetch("SELECT id FROM assets ORDER BY id")]


async def path_of(owner: Any, settings: Settings, asset: UUID) -> Path:
    key: str = await owner.fetchval("SELECT key FROM assets WHERE id = $1", asset)
    return settings.server.data_dir / "media" / key


async def test_missing_and_cut_off_files_are_named(
    made: list[UUID], audits: Audits, owner: Any, settings: Settings
) -> None:
    assert await audits.check(FILES) == Finding(7, 0, [])
    (await path_of(owner, settings, made[1])).unlink()
    (await path_of(owner, settings, made[6])).write_bytes(b"short")
    found = await audits.check(FILES)
    assert (found.checked, found.violations, subjects(found)) == (7, 2, [str(made[1]), str(made[6])])
    assert "does not have generations/" in found.examples[0].detail
    assert "has 5 bytes at local, and not" in found.examples[1].detail


async def test_the_walk_meets_all_files_and_starts_again(
    made: list[UUID], audits: Audits, owner: Any, settings: Settings
) -> None:
    for asset in made:
        (await path_of(owner, settings, asset)).unlink()
    seen, last = set[str](), Finding(0, 0)
    for place in (3, 6, 2, 5):
        last = replace(await audits.check(FILES, Finding(last.checked, 0), files=3), violations=0)
        assert last.checked == place
        seen |= set(subjects(last))
    assert seen == {str(asset) for asset in made}


async def test_what_is_missing_counts_until_it_is_back(
    made: list[UUID], audits: Audits, owner: Any, settings: Settings
) -> None:
    path = await path_of(owner, settings, made[0])
    data = path.read_bytes()
    path.unlink()
    last = Finding(0, 0)
    for _ in range(6):
        last = await audits.check(FILES, last, files=3)
        assert subjects(last) == [str(made[0])]
    path.write_bytes(data)
    assert (await audits.check(FILES, last, files=3)).violations == 0


async def test_one_file_that_can_not_be_looked_at_hides_no_other(
    made: list[UUID], audits: Audits, owner: Any, settings: Settings
) -> None:
    odd, missing = [await path_of(owner, settings, made[number]) for number in (1, 5)]
    odd.rename(odd.with_suffix(".kept"))
    odd.symlink_to(odd.with_suffix(".kept"))
    missing.unlink()
    first = await audits.check(FILES, files=3)
    assert (first.checked, subjects(first)) == (3, [str(made[1])])
    assert "can't be looked at: " in first.examples[0].detail
    assert "through a link" in first.examples[0].detail
    second = await audits.check(FILES, await audits.check(FILES, first, files=3), files=3)
    assert subjects(second) == [str(made[1]), str(made[5])]
    odd.unlink()
    odd.with_suffix(".kept").rename(odd)
    assert subjects(await audits.check(FILES, second)) == [str(made[5])]


async def test_without_its_folder_a_storage_is_away(made: list[UUID], audits: Audits, settings: Settings) -> None:
    """As when a disk isn't mounted; asking leaves no folder behind in which all is missing."""
    folder = settings.server.data_dir / "media"
    folder.rename(folder.with_suffix(".away"))
    for _ in range(2):
        with pytest.raises(StorageError, match="can't look for"):
            await audits.check(FILES)
    assert not folder.exists()


class Moody:
    """Can't look at one file, for as long as it is told; `is_away`: nor be probed."""

    def __init__(self, key: str, looks: int, *, is_away: bool = False, error: Exception | None = None) -> None:
        self.key, self.looks, self.is_away = key, looks, is_away
        self.error = error or StorageError("not this one")

    async def size(self, key: str) -> int | None:
        if key == self.key and self.looks:
            self.looks -= 1
            raise self.error
        return 4

    async def probe(self) -> str:
        if self.is_away:
            raise StorageError("away")
        return "fine"


async def moody(audits: Audits, owner: Any, *args: Any, **more: Any) -> Audits:
    await owner.execute("UPDATE assets SET bytes = 4")
    key = await owner.fetchval("SELECT key FROM assets ORDER BY id LIMIT 1")
    storages = replace(audits.storages, by_name={"local": Moody(key, *args, **more)})  # type: ignore[dict-item]  # only what is needed
    return Audits(audits.db, storages)


async def test_what_can_be_looked_at_in_the_end_is_no_violation(made: list[UUID], audits: Audits, owner: Any) -> None:
    assert await (await moody(audits, owner, 1)).check(FILES) == Finding(7, 0, [])
    assert subjects(await (await moody(audits, owner, 2)).check(FILES)) == [str(made[0])]


async def test_a_storage_that_is_away_or_has_a_bug_says_nothing_about_files(
    made: list[UUID], audits: Audits, owner: Any
) -> None:
    with pytest.raises(StorageError, match="away"):
        await (await moody(audits, owner, 9, is_away=True)).check(FILES)
    with pytest.raises(ValueError, match="a bug"):
        await (await moody(audits, owner, 9, error=ValueError("a bug"))).check(FILES)


async def test_when_all_is_missing_the_walk_waits(
    made: list[UUID], audits: Audits, owner: Any, settings: Settings
) -> None:
    for asset in made:
        (await path_of(owner, settings, asset)).unlink()
    first = await audits.check(FILES, files=3)
    assert (first.checked, first.violations) == (3, 3)
    assert await audits.check(FILES, first, files=3) == first
    assert await audits.check(FILES, first, files=1) == first


async def test_a_file_that_is_deleted_meanwhile_is_no_violation(
    rich: Member, made: list[UUID], audits: Audits, owner: Any
) -> None:
    project, mine = await owner.fetchrow("SELECT project_id, key FROM assets WHERE id = $1", made[0])
    local = audits.storages.current

    class Slow:
        """Somebody deletes the project between the row and the file."""

        async def size(self, key: str) -> int | None:
            if key == mine:
                assert (await rich.http.delete(f"/v1/projects/{project}")).status_code == 204
                await erase(audits.db, audits.storages.by_name, Subject(project, ERASE_PROJECT))
            return await local.size(key)

        async def probe(self) -> str:
            return "fine"

    storages = replace(audits.storages, by_name={"local": Slow()})  # type: ignore[dict-item]  # only what is needed
    found = await Audits(audits.db, storages).check(FILES)
    assert found.violations == 0
    assert not await owner.fetchval("SELECT count(*) FROM assets WHERE id = $1", made[0])


@pytest.fixture
async def bucket() -> AsyncIterator[FakeS3]:
    async with fake_s3() as fake:
        yield fake


async def elsewhere(audits: Audits, owner: Any, storage: Storage) -> Audits:
    """Let all files be in another storage, byte by byte as long as the rows say."""
    for row in await owner.fetch("SELECT key, content_type, bytes FROM assets"):
        await storage.put(row["key"], picture(GREEN).ljust(row["bytes"], b"\0")[: row["bytes"]], row["content_type"])
    await owner.execute("UPDATE assets SET storage = $1", storage.name)
    return Audits(audits.db, Storages(storage, ByName({storage.name: storage}, ""), lambda _key: None))


async def test_a_bucket(made: list[UUID], audits: Audits, owner: Any, bucket: FakeS3) -> None:
    there = await elsewhere(audits, owner, S3Storage(**bucket.settings()))
    assert await there.check(FILES) == Finding(7, 0, [])
    bucket.objects.pop(await owner.fetchval("SELECT key FROM assets WHERE id = $1", made[3]))
    assert subjects(await there.check(FILES)) == [str(made[3])]
    for fault in (Reply(403), Reply(500), Reply(drop=True)):
        bucket.faults = [fault] * 200
        with pytest.raises(StorageError, match="S3 can't look for"):
            await there.check(FILES)


async def test_a_bucket_with_wrong_settings_is_not_believed(
    made: list[UUID], audits: Audits, owner: Any, bucket: FakeS3
) -> None:
    await elsewhere(audits, owner, S3Storage(**bucket.settings()))
    wrong = S3Storage(**{**bucket.settings(), "bucket": "another"})
    with pytest.raises(StorageError, match="no such bucket"):
        await Audits(audits.db, Storages(wrong, ByName({"s3": wrong}, ""), lambda _key: None)).check(FILES)


async def test_cloudinary(made: list[UUID], audits: Audits, owner: Any) -> None:
    async with fake_cloudinary() as fake:
        storage = CloudinaryStorage(**fake.settings())
        there = await elsewhere(audits, owner, storage)
        assert await there.check(FILES) == Finding(7, 0, [])
        key: str = await owner.fetchval("SELECT key FROM assets WHERE id = $1", made[3])
        await storage.delete(key)
        assert subjects(await there.check(FILES)) == [str(made[3])]
        await storage.aclose()


async def test_files_in_a_storage_without_settings_are_left_out(made: list[UUID], audits: Audits, owner: Any) -> None:
    await owner.execute("UPDATE assets SET storage = 's3' WHERE id = $1", made[0])
    assert await audits.check(FILES) == Finding(6, 0, [])
