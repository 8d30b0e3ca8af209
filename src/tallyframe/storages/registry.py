"""Which storage takes new files, and which can still be read, by the settings."""

from tallyframe.settings import Settings
from tallyframe.storages.base import Storages
from tallyframe.storages.local import LocalStorage


def build_storages(settings: Settings) -> Storages:
    """Make the storages that the settings configure."""
    local = LocalStorage(settings.data_dir / "media", settings.public_url.rstrip("/"))
    return Storages(current=local, by_name={local.name: local}, open_path=local.open_path)
