"""Input pictures that are stored for later orders: uploaded, listed, counted, deleted."""

import asyncio
import hashlib
from dataclasses import asdict
from operator import attrgetter
from uuid import UUID

from fastapi import APIRouter, Request

from tallyframe.api import cursors, forms, pictures, schemas, views
from tallyframe.api.dependencies import CurrentUser, IdempotentRequest, Services, UserServices
from tallyframe.api.routes import SignedInFirst
from tallyframe.assets import rows
from tallyframe.errors import NotFound, TallyframeError, TooLarge, Unavailable, UnsupportedMedia, ValidationFailed
from tallyframe.generations.end import uploads
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id

router = APIRouter(prefix="/v1/assets", tags=["assets"], route_class=SignedInFirst)


class AssetQuotaReached(TallyframeError):
    """You have as many uploaded pictures as you may. Delete some that you don't need."""

    status = 409
    code = "asset_quota_reached"


class AssetInUse(TallyframeError):
    """A project or a generation uses this picture. Delete that first; the picture may be deleted then."""

    status = 409
    code = "asset_in_use"


@router.post("", status_code=201, openapi_extra=forms.OPENAPI_FILE)
async def create_asset(request: Request, once: IdempotentRequest) -> schemas.Asset:
    """Store an input picture for later orders. It is re-encoded: upright, and without EXIF or GPS.

    It is deleted when nothing has used it for long, or when you say so. How many you may have, and for how long, is in
    `GET /v1/assets`.
    """
    serving, user = once.serving, once.user
    data = await forms.read_only_file(request, "file", serving.settings.limits.max_upload_bytes)

    async def create(key: Key | None) -> UUID:
        quota = _quota(serving)
        used = await rows.usage(serving.db, user.id)
        if used.assets >= quota.assets or used.bytes >= quota.bytes:  # before it costs anything to read the picture
            raise AssetQuotaReached(**asdict(used))
        try:
            asset = await pictures.store(once, data, new_id())
        except (TooLarge, UnsupportedMedia, ValidationFailed) as error:
            raise forms.named(error, "/file", data) from None
        try:
            is_kept = await rows.keep(serving.db, user.id, asset, quota, key)
        except (Unavailable, asyncio.CancelledError):  # its row may have been written all the same
            raise
        except BaseException:
            await pictures.discard(serving, [asset])
            raise
        if not is_kept:
            await pictures.discard(serving, [asset])
            raise AssetQuotaReached(**asdict(await rows.usage(serving.db, user.id)))
        return asset.id

    async def render(asset_id: UUID) -> schemas.Asset:
        found = await rows.find(serving.db, user.id, [asset_id])
        if asset_id not in found:
            raise NotFound
        return views.asset(asdict(found[asset_id]), serving.storages)

    return await once.answer(schemas.Asset, hashlib.sha256(data).hexdigest(), create, render)


@router.get("")
async def list_assets(
    user: CurrentUser, serving: UserServices, cursor: cursors.Cursor = None, limit: cursors.Limit = 20
) -> schemas.Assets:
    """Return the pictures that you have uploaded for later orders, newest first, and how many you may have."""
    before = cursors.decode(cursor, UUID)
    found = await rows.uploads(serving.db, user.id, before=before[0] if before else None, limit=limit + 1)
    quota = _quota(serving)
    page, next_cursor = cursors.cut(found, limit, attrgetter("id"))
    return schemas.Assets(
        data=[views.asset(asdict(each), serving.storages) for each in page],
        next_cursor=next_cursor,
        usage=schemas.AssetUsage(
            **asdict(await rows.usage(serving.db, user.id)),
            max_assets=quota.assets,
            max_bytes=quota.bytes,
            unused_days=quota.unused_days,
        ),
    )


@router.delete("/{asset_id}", status_code=204)
async def delete_asset(asset_id: UUID, user: CurrentUser, serving: UserServices) -> None:
    """Delete a picture that you have uploaded for later orders, unless something uses it. Its file goes soon after."""
    if not await uploads.delete(serving.db, user.id, asset_id):
        raise AssetInUse if await rows.is_upload(serving.db, user.id, asset_id) else NotFound


def _quota(serving: Services) -> rows.Quota:
    limits, kept = serving.settings.limits, serving.settings.retention
    return rows.Quota(limits.max_assets, limits.max_asset_bytes, kept.unused_asset_days)
