"""Input pictures on their way in: read, cleaned, stored; and taken out again when the order is refused."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import structlog

from tallyframe.api.services import Services
from tallyframe.assets.pictures import clean
from tallyframe.assets.rows import Asset, find
from tallyframe.errors import NotFound, Unavailable, ValidationFailed
from tallyframe.ids import new_id
from tallyframe.storages.base import EXTENSIONS, StorageError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pictures:
    """An order's pictures, in order. `new` are those stored just for it, not yet in the database."""

    ids: Sequence[UUID]
    new: Sequence[Asset]

    @property
    def new_rows(self) -> list[dict[str, Any]]:
        """Return the rows to insert for the new ones."""
        return [asdict(asset) for asset in self.new]


async def store(serving: Services, data: bytes) -> Asset:
    """Clean one picture and put it into the storage. Raises TooLarge, UnsupportedMedia, ValidationFailed."""
    limits = serving.settings
    async with serving.uploads:  # decoding takes memory and a core, so only a few at once
        media = await asyncio.to_thread(
            clean, data, max_bytes=limits.max_upload_bytes, max_pixels=limits.max_image_pixels
        )
    asset_id = new_id()
    key = f"uploads/{asset_id}.{EXTENSIONS[media.content_type]}"
    storage = serving.storages.current
    try:
        await storage.put(key, media.data, media.content_type)
    except StorageError as error:
        log.exception("upload_failed", error=str(error))
        raise Unavailable("The picture can't be stored right now. Try again shortly.") from None
    sha256 = hashlib.sha256(media.data).hexdigest()
    size = (len(media.data), sha256, media.width, media.height)
    return Asset(asset_id, storage.name, key, media.content_type, *size, None)


async def discard(serving: Services, assets: Sequence[Asset]) -> None:
    """Take pictures out of the storage again; what can't be removed is logged."""
    for asset in assets:
        try:
            await serving.storages.by_name[asset.storage].delete(asset.key)
        except StorageError as error:
            log.warning("discard_failed", key=asset.key, error=str(error))


@asynccontextmanager
async def stored(serving: Services, user_id: UUID, given: Sequence[UUID | str | bytes]) -> AsyncIterator[Pictures]:
    """Have the pictures stored while the block runs; if it raises, the new ones are taken out again.

    A picture is given as the id of an asset, as a URL, or as bytes.
    """
    await _check_known(serving, user_id, given)
    new: list[Asset] = []
    may_be_used = False
    try:
        ids = [await _stored(serving, item, position, new) for position, item in enumerate(given)]
        may_be_used = True
        yield Pictures(ids, new)
    except BaseException as error:
        # Then the order may be accepted all the same: an unused file is cheaper than an order without its picture.
        if not (may_be_used and isinstance(error, Unavailable | asyncio.CancelledError)):
            await asyncio.shield(discard(serving, new))
        raise


async def _check_known(serving: Services, user_id: UUID, given: Sequence[UUID | str | bytes]) -> None:
    known = {item for item in given if isinstance(item, UUID)}
    found = await find(serving.db, user_id, list(known))
    if len(found) != len(known):
        raise NotFound("One of the pictures does not exist.")
    for position, item in enumerate(given):
        if isinstance(item, UUID) and not found[item].content_type.startswith("image/"):
            raise ValidationFailed("This asset is no picture.", pointer=f"/images/{position}/asset_id")


async def _stored(serving: Services, item: UUID | str | bytes, position: int, new: list[Asset]) -> UUID:
    """Return the picture's id; one that isn't stored yet is, and comes to the `new`."""
    if isinstance(item, UUID):
        return item
    data = await serving.fetch(item, f"/images/{position}/url") if isinstance(item, str) else item
    new.append(await store(serving, data))
    return new[-1].id
