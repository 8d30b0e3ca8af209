"""No asset row without its bytes: a walk through all assets, so many in each round, and then from the start again."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.assets.rows import COLUMNS, Asset
from tallyframe.assets.tables import assets
from tallyframe.audit.base import Example, Finding, Invariant, View
from tallyframe.storages.base import Storage, StorageError

#: Files that are looked for at once.
AT_ONCE = 8
#: The key of a file that isn't there.
_NOWHERE = "generations/00000000-0000-0000-0000-000000000000/image-1.png"


class FilesHaveBytes(Invariant):
    """A picture or video that a row promises, and that the storage doesn't have, or can't look at though it answers.

    `checked` is how far the walk has come. What was missing in the last round is looked for first, so that it counts
    until it is back; if that is a whole round's worth, the walk waits for it. All that is missing is an example.
    """

    name = "files_have_bytes"
    meaning = "Each asset's file is in its storage, with all its bytes; so many are looked for in each round."

    async def check(self, view: View) -> Finding:
        """Go on with the walk. Raises StorageError when a storage is away: then nobody knows."""
        last = view.last or Finding(0, 0)
        known = await _by_id(view, [UUID(example.subject) for example in last.examples])
        place, files = await _walk(view, last.checked, view.limits.files - len(known))
        wrong = await _wrong(view, {asset.id: asset for asset in (*known, *files)}.values())
        return Finding(place, len(wrong), wrong)


async def _walk(view: View, place: int, most: int) -> tuple[int, Sequence[Asset]]:
    """Return up to `most` assets from that place on, from the start again at the end, and the place after them."""
    if most <= 0:
        return place, ()
    files = await _read(view, place, most)
    if len(files) == most:
        return place + most, files
    start = await _read(view, 0, most - len(files))
    return len(start), [*files, *start]


async def _read(view: View, place: int, most: int) -> Sequence[Asset]:
    # By number, so that the place is a number too; what is deleted meanwhile lets a few slip through until next time.
    query = _here(view).order_by(assets.c.id).offset(place).limit(most)
    return [Asset(*row) for row in (await view.reader.execute(query)).all()]


async def _by_id(view: View, ids: Iterable[UUID]) -> Sequence[Asset]:
    query = _here(view).where(assets.c.id.in_(list(ids))).order_by(assets.c.id)
    return [Asset(*row) for row in (await view.reader.execute(query)).all()]


def _here(view: View) -> "sa.Select[*tuple[Any, ...]]":
    """Return the query for the assets whose storage is configured: nobody can look into the others."""
    return sa.select(*COLUMNS).where(assets.c.storage.in_(list(view.storages.by_name)))


async def _wrong(view: View, files: Iterable[Asset]) -> list[Example]:
    """Return what is wrong with the files, if it is so twice, and the row was still there in between.

    Who deletes a file deletes its row first. A storage with wrong settings says of every file that it isn't there, so
    it is probed before it is believed.
    """
    suspects = await _suspects(view, files)
    for name in sorted({asset.storage for asset, _ in suspects}):
        await view.storages.by_name[name].probe()
    still = await _by_id(view, [asset.id for asset, _ in suspects])
    return [Example(str(asset.id), detail) for asset, detail in await _suspects(view, still)]


async def _suspects(view: View, files: Iterable[Asset]) -> list[tuple[Asset, str]]:
    """Return the files with which something is wrong, and what.

    Raises StorageError as soon as one can't be seen, and neither can another: else one file would hide all others.
    """
    suspects, left = list[tuple[Asset, str]](), list(files)
    while left:
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        asking = [_size(view, asset) for asset in some]
        sizes = list(zip(some, await asyncio.gather(*asking), strict=True))
        for name in sorted({asset.storage for asset, size in sizes if isinstance(size, StorageError)}):
            await _see_that_it_answers(view.storages.by_name[name])
        suspects += [(asset, said) for asset, size in sizes if (said := _said(asset, size))]
    return suspects


async def _size(view: View, asset: Asset) -> int | StorageError | None:
    try:
        return await view.storages.by_name[asset.storage].size(asset.key)
    except StorageError as error:
        return error


async def _see_that_it_answers(storage: Storage) -> None:
    """Raise StorageError unless the storage answers. Asked first is what changes nothing: probing makes a folder."""
    await storage.size(_NOWHERE)
    await storage.probe()


def _said(asset: Asset, size: int | StorageError | None) -> str:
    """Say what is wrong, or nothing."""
    if isinstance(size, StorageError):
        return f"can't be looked at: {size}"
    if size is None:
        return f"{asset.storage} does not have {asset.key}"
    return "" if size == asset.bytes else f"{asset.key} has {size} bytes at {asset.storage}, and not {asset.bytes}"
