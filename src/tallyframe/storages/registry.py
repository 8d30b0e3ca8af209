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
    local = LocalStorage(settings.server.data_dir / "media", settings.server.public_url.rstrip("/"))
    storages: list[Storage] = [local]
    try:
        if settings.storage.cloudinary.url.get_secret_value():
            storages.append(_cloudinary(settings))
        if settings.storage.s3.bucket:
            storages.append(_s3(settings))
    except ValueError as error:  # from the storage's own check of its settings
        raise SettingsError(str(error)) from None
    by_name = ByName({storage.name: storage for storage in storages}, settings.server.public_url.rstrip("/"))
    return Storages(current=by_name[settings.storage.in_use], by_name=by_name, open_path=local.open_path)


def _cloudinary(settings: Settings) -> Storage:
    from tallyframe.storages.cloudinary import CloudinaryStorage

    account = settings.storage.cloudinary
    addresses = {"upload_prefix": account.upload_prefix, "delivery_url": account.delivery_url}
    changed: dict[str, Any] = {name: address for name, address in addresses.items() if address}
    return CloudinaryStorage(
        account.url.get_secret_value(),
        timeout=settings.storage.timeout,
        max_bytes=settings.limits.max_media_bytes,
        **changed,
    )


def _s3(settings: Settings) -> Storage:
    from tallyframe.storages.s3 import S3Storage

    s3 = settings.storage.s3
    return S3Storage(
        s3.bucket,
        endpoint_url=s3.endpoint_url,
        access_key_id=s3.access_key_id.get_secret_value(),
        secret_access_key=s3.secret_access_key.get_secret_value(),
        region=s3.region,
        public_url=s3.public_url,
        url_lifetime=s3.url_lifetime,
        timeout=settings.storage.timeout,
        max_bytes=settings.limits.max_media_bytes,
    )
