"""Input pictures that are kept for later orders."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, File, UploadFile

from tallyframe.api import pictures, schemas, views
from tallyframe.api.orders import read_file
from tallyframe.api.services import CurrentUser, Serving
from tallyframe.assets import rows

router = APIRouter(prefix="/v1/assets", tags=["assets"])


@router.post("", status_code=201)
async def create_asset(
    file: Annotated[UploadFile, File(description="JPEG, PNG or WebP.")], user: CurrentUser, serving: Serving
) -> schemas.Asset:
    """Keep an input picture. It is re-encoded: upright, and without EXIF or GPS."""
    asset = await pictures.store(serving, await read_file(file, serving.settings.max_upload_bytes))
    try:
        await rows.keep(serving.db, user.id, asset)
    except BaseException:
        await pictures.discard(serving, [asset])
        raise
    return views.asset(asdict(asset), serving.storages)
