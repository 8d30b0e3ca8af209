"""What the tests of the HTTP edge share."""

from typing import Any

import pytest

from tallyframe.settings import Settings
from tests.support.remains import World


@pytest.fixture
def world(owner: Any, settings: Settings) -> World:
    """The tables and the media folder, to compare before and after."""
    return World(owner, settings)
