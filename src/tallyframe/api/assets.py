"""Input pictures that are stored for later orders."""

import asyncio
import hashlib
from dataclasses import asdict
from uuid import UUID

from fastapi import APIRouter, Request

from tallyframe.api import forms, pictures, schemas, views
from tallyframe.api.dependencies import IdempotentRequest
from tallyframe.api.routes import SignedInFirst
from tallyframe.assets import rows
from tallyframe.errors import NotFound, Unavailable
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id

router = APIRouter(prefix="/v1/assets", tags=["assets"], route_class=SignedInFirst)


@router.post("", status_code=201, openapi_extra=forms.OPENAPI_FILE)
async def create_asset(request: Request, once: IdempotentRequest) -> schemas.Asset:
    """Store an input picture. It is re-encoded: upright, and without EXIF or GPS."""
    serving, user = once.serving, once.user
    data = await forms.read_only_file(request, "file", serving.settings.limits.max_upload_bytes)

    async def create(key: Key | None) -> UUID:
        asset = await pictures.store(once, data, new_id())
        try:
            await rows.keep(serving.db, user.id, asset, key)
        except (Unavailable, asyncio.CancelledError):  # its row may have been written all the same
            raise
        except BaseException:
            await pictures.discard(serving, [asset])
            raise
        return asset.id

    async def render(asset_id: UUID) -> schemas.Asset:
        found = await rows.find(serving.db, user.id, [asset_id])
        if asset_id not in found:
            raise NotFound
        return views.asset(asdict(found[asset_id]), serving.storages)

    return await once.answer(schemas.Asset, hashlib.sha256(data).hexdigest(), create, render)
