"""Which storage takes new files, and which can still be read, by the settings."""

from collections.abc import Mapping
from dataclasses import dataclass

from tallyframe.settings import Settings
from tallyframe.storages.base import Storage
from tallyframe.storages.local import LocalStorage


@dataclass(frozen=True, slots=True)
class Storages:
    """`current` takes new files; `by_name` reads what an earlier setting has stored."""

    current: Storage
    by_name: Mapping[str, Storage]


def build_local(settings: Settings) -> LocalStorage:
    """Make the storage that keeps files in the data folder."""
    return LocalStorage(settings.data_dir / "media", settings.public_url.rstrip("/"))


def build_storages(settings: Settings) -> Storages:
    """Make the storages that the settings configure."""
    local = build_local(settings)
    return Storages(current=local, by_name={local.name: local})
