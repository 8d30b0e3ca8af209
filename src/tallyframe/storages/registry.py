"""Builds the storages that the settings name.

Each is imported only when it is configured: a vendor's client library takes memory and time to load.
"""

from typing import Any

from tallyframe.settings import Settings, SettingsError
from tallyframe.storages.base import Storage, Storages
from tallyframe.storages.local import LocalStorage
from tallyframe.storages.unconfigured import ByName


def build_storages(settings: Settings) -> Storages:
    """Build the storages that are configured. Raises SettingsError."""
    local = LocalStorage(settings.data_dir / "media", settings.public_url.rstrip("/"))
    storages: list[Storage] = [local]
    try:
        if settings.cloudinary_url.get_secret_value():
            storages.append(_cloudinary(settings))
        if settings.s3_bucket:
            storages.append(_s3(settings))
    except ValueError as error:  # from the storage's own check of its settings
        raise SettingsError(str(error)) from None
    by_name = ByName({storage.name: storage for storage in storages}, settings.public_url.rstrip("/"))
    return Storages(current=by_name[settings.storage_in_use], by_name=by_name, open_path=local.open_path)


def _cloudinary(settings: Settings) -> Storage:
    from tallyframe.storages.cloudinary import CloudinaryStorage

    addresses = {"upload_prefix": settings.cloudinary_upload_prefix, "delivery_url": settings.cloudinary_delivery_url}
    changed: dict[str, Any] = {name: address for name, address in addresses.items() if address}
    url = settings.cloudinary_url.get_secret_value()
    return CloudinaryStorage(url, timeout=settings.storage_timeout, max_bytes=settings.max_media_bytes, **changed)


def _s3(settings: Settings) -> Storage:
    from tallyframe.storages.s3 import S3Storage

    return S3Storage(
        settings.s3_bucket,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=settings.aws_access_key_id.get_secret_value(),
        secret_access_key=settings.aws_secret_access_key.get_secret_value(),
        region=settings.s3_region,
        public_url=settings.s3_public_url,
        url_lifetime=settings.s3_url_lifetime,
        timeout=settings.storage_timeout,
        max_bytes=settings.max_media_bytes,
    )
