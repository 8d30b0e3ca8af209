"""Operations that only tests know, each a file in `dropped/` and a line in the registry."""

import pytest

from tallyframe.db import Database
from tallyframe.operations import registry
from tallyframe.settings import Settings
from tallyframe.storages.registry import build_storages
from tests.audit.conftest import Audits
from tests.operations.dropped.album import Album
from tests.operations.dropped.note import Note
from tests.operations.dropped.poster import Poster
from tests.operations.dropped.reel import Reel


@pytest.fixture(autouse=True)
def _dropped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put their lines into the registry of this process."""
    monkeypatch.setattr(registry, "OPERATIONS", (*registry.OPERATIONS, Poster(), Reel(), Note(), Album()))


@pytest.fixture
def audits(worker_db: Database, settings: Settings) -> Audits:
    return Audits(worker_db, build_storages(settings))
