"""No asset row without its bytes: a walk through all assets, so many in each round, and then from the start again."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.assets.rows import COLUMNS, Asset
from tallyframe.assets.tables import assets
from tallyframe.audit.base import Example, Finding, Invariant, View
from tallyframe.storages.base import StorageError

#: Files that are looked for at once.
AT_ONCE = 8
#: A key under which there is never a file.
_NOWHERE = "generations/00000000-0000-0000-0000-000000000000/image-1.png"


class FilesHaveBytes(Invariant):
    """A file that a row promises and that the storage doesn't have, or can't look at although it answers.

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
        suspects = await _suspects(view, {asset.id: asset for asset in (*known, *files)}.values())
        # A storage with wrong settings says of every file that it isn't there.
        for name in sorted({asset.storage for asset, _ in suspects}):
            await view.storages.by_name[name].probe()
        # Who deletes a file deletes its row first. So what still has its row is looked for once more.
        still = await _by_id(view, [asset.id for asset, _ in suspects])
        wrong = [Example(str(asset.id), detail) for asset, detail in await _suspects(view, still)]
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
    query = _known_storages(view).order_by(assets.c.id).offset(place).limit(most)
    return [Asset(*row) for row in (await view.reader.execute(query)).all()]


async def _by_id(view: View, ids: Iterable[UUID]) -> Sequence[Asset]:
    query = _known_storages(view).where(assets.c.id.in_(list(ids))).order_by(assets.c.id)
    return [Asset(*row) for row in (await view.reader.execute(query)).all()]


def _known_storages(view: View) -> "sa.Select[*tuple[Any, ...]]":
    """Return the query for the assets whose storage is configured: nobody can look into the others."""
    return sa.select(*COLUMNS).where(assets.c.storage.in_(list(view.storages.by_name)))


async def _suspects(view: View, files: Iterable[Asset]) -> list[tuple[Asset, str]]:
    """Return the files with which something is wrong, and what.

    A file that can't be looked at is wrong only if its storage answers otherwise; else this raises StorageError.
    """
    suspects, left = list[tuple[Asset, str]](), list(files)
    while left:
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        sizes = list(zip(some, await asyncio.gather(*(_size(view, asset) for asset in some)), strict=True))
        for name in sorted({asset.storage for asset, size in sizes if isinstance(size, StorageError)}):
            storage = view.storages.by_name[name]
            await storage.size(_NOWHERE)  # before the probe, which makes a folder where there is none
            await storage.probe()
        suspects += [(asset, wrong) for asset, size in sizes if (wrong := _what_is_wrong(asset, size))]
    return suspects


async def _size(view: View, asset: Asset) -> int | StorageError | None:
    try:
        return await view.storages.by_name[asset.storage].size(asset.key)
    except StorageError as error:
        return error


def _what_is_wrong(asset: Asset, size: int | StorageError | None) -> str:
    if isinstance(size, StorageError):
        return f"can't be looked at: {size}"
    if size is None:
        return f"{asset.storage} does not have {asset.key}"
    return "" if size == asset.bytes else f"{asset.key} has {size} bytes at {asset.storage}, and not {asset.bytes}"
