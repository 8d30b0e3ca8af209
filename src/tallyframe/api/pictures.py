"""Input pictures on their way in: read, cleaned, stored; and taken out again when the order is refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

import structlog

from tallyframe.api.connected import while_connected
from tallyframe.api.dependencies import Idempotent, Services
from tallyframe.api.forms import named
from tallyframe.api.metrics import PICTURES, PICTURES_NOW
from tallyframe.assets.rows import Asset, find
from tallyframe.errors import NotFound, TallyframeError, TooLarge, Unavailable, UnsupportedMedia, ValidationFailed
from tallyframe.ids import new_id
from tallyframe.providers.base import Media
from tallyframe.storages.base import EXTENSIONS, Storage, StorageError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Given:
    """An order's picture: the id of an asset, a URL, or bytes. `pointer` is where it stands in the request."""

    source: UUID | str | bytes
    pointer: str
    id: UUID

    @property
    def is_new(self) -> bool:
        """Whether it is still to be stored."""
        return not isinstance(self.source, UUID)


def given(source: UUID | str | bytes, pointer: str) -> Given:
    """Return the picture with its id: of a new one, the id that it will have."""
    return Given(source, pointer, source if isinstance(source, UUID) else new_id())


async def store(once: Idempotent, data: bytes, asset_id: UUID) -> Asset:
    """Clean one picture and put it into the storage. Decoding ends when the client leaves.

    Raises as `Decoders.clean`, Unavailable where the storage fails, and ClientDisconnect.
    """
    limits = once.serving.settings.limits
    bounds = {"max_bytes": limits.max_upload_bytes, "max_pixels": limits.max_image_pixels}
    with _measured("decode"):
        work = once.serving.decoders.clean(once.user.id, data, **bounds)
        cleaned = await while_connected(once.request, work)
    media = cleaned.media
    key = f"uploads/{asset_id}.{EXTENSIONS[media.content_type]}"
    storage = once.serving.storages.current
    try:
        await _put(storage, key, media)
    except StorageError as error:
        log.exception("upload_failed", error=str(error))
        raise Unavailable("The picture can't be stored right now. Try again shortly.") from None
    size = (len(media.data), cleaned.sha256, media.width, media.height)
    return Asset(asset_id, storage.name, key, media.content_type, *size, None)


async def _put(storage: Storage, key: str, media: Media) -> None:
    """Store it. If we are canceled, it is taken out again: an upload under way can't be called back."""
    putting = asyncio.create_task(storage.put(key, media.data, media.content_type))
    try:
        await asyncio.shield(putting)
    except asyncio.CancelledError:
        undoing = asyncio.create_task(_undo(putting, storage, key))
        _undoings.add(undoing)
        undoing.add_done_callback(_undoings.discard)
        raise


#: Uploads to be taken out again when they have arrived; the event loop alone would not keep the tasks alive.
_undoings: set[asyncio.Task[None]] = set()


async def _undo(putting: "asyncio.Task[None]", storage: Storage, key: str) -> None:
    await asyncio.wait({putting})
    try:
        putting.result()
        await storage.delete(key)
    except StorageError as error:
        log.warning("discard_failed", key=key, error=str(error))


async def discard(serving: Services, assets: Sequence[Asset]) -> None:
    """Take pictures out of the storage again; what can't be removed is logged."""
    for asset in assets:
        try:
            await serving.storages.by_name[asset.storage].delete(asset.key)
        except StorageError as error:
            log.warning("discard_failed", key=asset.key, error=str(error))


@asynccontextmanager
async def stored(once: Idempotent, pictures: Sequence[Given]) -> AsyncIterator[Sequence[dict[str, Any]]]:
    """Have the pictures stored while the block runs; if it raises, the new ones are taken out again.

    The block gets the rows to insert for the new ones.
    """
    if known := [picture for picture in pictures if not picture.is_new]:
        await check_known(once.serving, once.user.id, known)
    new: list[Asset] = []
    may_be_used = False
    try:
        for picture in filter(lambda each: each.is_new, pictures):
            data = picture.source
            try:
                if not isinstance(data, bytes):
                    data = await _fetched(once, str(data), f"{picture.pointer}/url")
                new.append(await store(once, data, picture.id))
            except (TooLarge, UnsupportedMedia, ValidationFailed) as error:
                raise named(error, picture.pointer, data) from None
        may_be_used = True
        yield [asdict(asset) for asset in new]
    except BaseException as error:
        # Then the order may be accepted all the same: an unused file is cheaper than an order without its picture.
        if not (may_be_used and isinstance(error, Unavailable | asyncio.CancelledError)):
            await asyncio.shield(discard(once.serving, new))
        raise


async def _fetched(once: Idempotent, url: str, pointer: str) -> bytes:
    with _measured("fetch"):
        return await while_connected(once.request, once.serving.fetch(once.user.id, url, pointer))


@contextmanager
def _measured(step: str) -> Iterator[None]:
    """Measure the block; its outcome is done, the code of an error, or left."""
    began, outcome = perf_counter(), "left"
    try:
        with PICTURES_NOW.labels(step).track_inprogress():
            yield
        outcome = "done"
    except TallyframeError as error:
        outcome = error.code
        raise
    finally:
        PICTURES.labels(step, outcome).observe(perf_counter() - began)


async def check_known(serving: Services, user_id: UUID, pictures: Sequence[Given]) -> None:
    """Raise NotFound for a picture that isn't there, and ValidationFailed for an asset that is none."""
    found = await find(serving.db, user_id, [picture.id for picture in pictures])
    for picture in pictures:
        if picture.id not in found:
            raise named(NotFound("There is no such picture."), f"{picture.pointer}/asset_id", None)
    for picture in pictures:
        if not found[picture.id].content_type.startswith("image/"):
            raise ValidationFailed("This asset is no picture.", pointer=f"{picture.pointer}/asset_id")
