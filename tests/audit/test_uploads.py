"""Files of uploads without a row are found; they are removed only if that is wanted, and only what is surely ours."""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tallyframe.audit.uploads import BATCH, UploadsWithoutRow
from tallyframe.ids import new_id
from tallyframe.settings import Settings
from tallyframe.storages.base import Storages
from tallyframe.storages.cloudinary import CloudinaryStorage
from tallyframe.storages.s3 import S3Storage
from tests.audit.conftest import Audits, subjects
from tests.support.cast import Member
from tests.support.cloudinary import fake_cloudinary
from tests.support.s3 import fake_s3

UPLOADS = UploadsWithoutRow()
HOUR = 3600


def made(hours: float) -> UUID:
    """An id as it was made so many hours ago."""
    younger = int(hours * HOUR * 1000) << 80
    return UUID(int=new_id().int - younger)


@pytest.fixture
def folder(settings: Settings) -> Path:
    folder = settings.server.data_dir / "media" / "uploads"
    folder.mkdir(parents=True)
    return folder


async def known(owner: Any, member: Member, folder: Path, hours: float, *, storage: str = "local") -> str:
    """Write an upload that has a row; return its key."""
    upload = made(hours)
    key = f"uploads/{upload}.png"
    (folder / f"{upload}.png").write_bytes(b"data")
    insert = """
        INSERT INTO assets (id, user_id, storage, key, content_type, bytes, sha256, width, height)
        VALUES ($1, $2, $3, $4, 'image/png', 4, '', 1, 1)"""
    await owner.execute(insert, upload, member.user.id, storage, key)
    return key


def lost(folder: Path, hours: float, ending: str = "png") -> str:
    """Write an upload that has no row; return its key."""
    upload = made(hours)
    (folder / f"{upload}.{ending}").write_bytes(b"data")
    return f"uploads/{upload}.{ending}"


async def test_they_are_found_when_they_are_a_day_old(rich: Member, audits: Audits, owner: Any, folder: Path) -> None:
    await known(owner, rich, folder, 48)
    wanted = sorted([lost(folder, 25), lost(folder, 2000, "jpg"), lost(folder, 25, "webp")])
    lost(folder, 23)
    lost(folder, 0)
    lost(folder, -48)
    found = await audits.check(UPLOADS)
    assert (found.checked, found.violations, sorted(subjects(found))) == (4, 3, wanted)
    assert len(list(folder.iterdir())) == 7


async def test_a_name_of_no_year_that_there_is_keeps_nothing_back(audits: Audits, folder: Path) -> None:
    """The last milliseconds that fit in are in the year 10889."""
    for name in ("ffffffff-ffff-7fff-bfff-ffffffffffff", "f0000000-0000-7000-8000-000000000000"):
        (folder / f"{name}.png").write_bytes(b"data")
    old = lost(folder, 25)
    found = await audits.check(UPLOADS)
    assert (found.checked, subjects(found)) == (1, [old])


async def test_nothing_is_removed_unless_it_is_wanted(rich: Member, audits: Audits, owner: Any, folder: Path) -> None:
    kept = [await known(owner, rich, folder, 48) for _ in range(5)]
    young = [lost(folder, 23), lost(folder, 0)]
    old = [lost(folder, 25), lost(folder, 2000)]
    for _ in range(2):
        assert (await audits.check(UPLOADS)).violations == 2
    assert (await audits.check(UPLOADS, removes_uploads=True)).violations == 0
    left = {f"uploads/{path.name}" for path in folder.iterdir()}
    assert left == {*kept, *young}
    assert not left & set(old)


async def test_what_is_not_named_as_an_upload_of_ours_stays(
    rich: Member, audits: Audits, owner: Any, folder: Path
) -> None:
    for _ in range(5):
        await known(owner, rich, folder, 48)
    four = "0e4b2f0c-1111-4222-8333-444455556666"
    (folder.parent / "generations").mkdir()
    (folder / "deeper").mkdir()
    strange = [f"{four}.png", "holiday.png", f"{made(48)}.txt", f"{made(48)}", f".{made(48)}.png", f"{made(48)}-2.png"]
    strange += [f"deeper/{made(48)}.png", f"../generations/{made(48)}.png", f"../{made(48)}.png"]
    for name in strange:
        (folder / name).write_bytes(b"data")
        os.utime(folder / name, (0, 0))
    found = await audits.check(UPLOADS, removes_uploads=True)
    assert (found.checked, found.violations) == (5, 0)
    assert all((folder / name).exists() for name in strange)


async def test_what_is_still_to_be_erased_is_left_to_that(
    rich: Member, audits: Audits, owner: Any, folder: Path
) -> None:
    key = await known(owner, rich, folder, 48)
    await owner.execute(
        "INSERT INTO erased_files SELECT id, gen_random_uuid(), storage, key FROM assets; DELETE FROM assets"
    )
    found = await audits.check(UPLOADS, removes_uploads=True)
    assert (found.checked, found.violations) == (1, 0)
    assert (folder.parent / key).exists()


async def test_another_storages_row_does_not_count(rich: Member, audits: Audits, owner: Any, folder: Path) -> None:
    key = await known(owner, rich, folder, 48, storage="s3")
    assert subjects(await audits.check(UPLOADS)) == [key]


async def test_where_most_have_no_row_nothing_is_removed(
    rich: Member, audits: Audits, owner: Any, folder: Path
) -> None:
    """As with another installation's files, or with an empty database."""
    await known(owner, rich, folder, 48)
    await known(owner, rich, folder, 48)
    for _ in range(2):
        lost(folder, 48)
    assert (await audits.check(UPLOADS, removes_uploads=True)).violations == 2
    assert len(list(folder.iterdir())) == 4


async def test_so_many_are_removed_at_once(
    rich: Member, audits: Audits, owner: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BATCH == 1000
    monkeypatch.setattr("tallyframe.audit.uploads.BATCH", 2)
    for _ in range(5):
        await known(owner, rich, folder, 48)
    for _ in range(3):
        lost(folder, 48)
    assert [(await audits.check(UPLOADS, removes_uploads=True)).violations for _ in range(2)] == [1, 0]


async def test_a_bucket_is_looked_through(rich: Member, audits: Audits, owner: Any, folder: Path) -> None:
    async with fake_s3(page=2) as fake:
        bucket = S3Storage(**fake.settings())
        for _ in range(5):
            await bucket.put(await known(owner, rich, folder, 48, storage="s3"), b"data", "image/png")
        old, young = (f"uploads/{made(hours)}.png" for hours in (25, 23))
        for key in (old, young):
            await bucket.put(key, b"data", "image/png")
        there = Audits(audits.db, Storages(bucket, {"s3": bucket}, lambda _key: None))
        assert subjects(await there.check(UPLOADS)) == [old]
        assert (await there.check(UPLOADS, removes_uploads=True)).violations == 0
        assert old not in fake.objects
        assert young in fake.objects
        assert len(fake.objects) == 6


async def test_cloudinary_can_not_be_looked_through(audits: Audits) -> None:
    async with fake_cloudinary() as fake:
        storage = CloudinaryStorage(**fake.settings())
        found = await Audits(audits.db, Storages(storage, {storage.name: storage}, lambda _key: None)).check(UPLOADS)
        assert (found.checked, found.violations, subjects(found)) == (0, 0, ["cloudinary"])
        assert "is not listed" in found.examples[0].detail
        await storage.aclose()
