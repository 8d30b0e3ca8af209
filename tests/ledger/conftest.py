"""Accounts to post to."""

from typing import Any

import pytest

from tests.support.cast import Member
from tests.support.postings import Postings


@pytest.fixture
def hers(owner: Any, alice: Member) -> Postings:
    """Alice's account, with 20 credits, written to as the login role."""
    return Postings(owner, alice.user.account_id, alice.user.id)


@pytest.fixture
def his(owner: Any, bob: Member) -> Postings:
    """Bob's account, with 20 credits, written to as the login role."""
    return Postings(owner, bob.user.account_id, bob.user.id)
