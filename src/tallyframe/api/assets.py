"""Input pictures that are kept for later orders."""

from dataclasses import asdict

from fastapi import APIRouter, Request

from tallyframe.api import forms, pictures, schemas, views
from tallyframe.api.services import CurrentUser, Own
from tallyframe.assets import rows

router = APIRouter(prefix="/v1/assets", tags=["assets"])


@router.post("", status_code=201, openapi_extra=forms.OPENAPI_FILE)
async def create_asset(request: Request, user: CurrentUser, serving: Own) -> schemas.Asset:
    """Keep an input picture. It is re-encoded: upright, and without EXIF or GPS."""
    data = await forms.read_only_file(request, "file", serving.settings.max_upload_bytes)
    asset = await pictures.store(serving, data)
    try:
        await rows.keep(serving.db, user.id, asset)
    except BaseException:
        await pictures.discard(serving, [asset])
        raise
    return views.asset(asdict(asset), serving.storages)
