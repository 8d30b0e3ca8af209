"""In whatever order Clerk's events arrive, the end is the same; and what is deleted stays deleted."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tallyframe.db import Database
from tests.support.clerk import BORN, Clerk, address, deleted_event, user_event
from tests.support.postings import verdict

STATE = """
    SELECT u.email, u.display_name, u.id::text, u.profile_updated_at, u.deleted_at IS NOT NULL AS gone,
           (SELECT count(*) FROM accounts a WHERE a.user_id = u.id) AS accounts,
           (SELECT count(*) FROM ledger_entries e JOIN accounts a ON a.id = e.account_id
            WHERE a.user_id = u.id) AS grants
    FROM users u WHERE subject = $1"""

#: What a life is made of: the step's number gives its time, and each step leaves its mark on name and address.
CREATED, FIRST, SECOND, DELETED = range(4)


def event(step: int, subject: str) -> dict[str, Any]:
    if step == DELETED:
        return deleted_event(subject)
    marks = {"first_name": f"Name {step}", "email_addresses": [address(f"step{step}@example.org")]}
    return user_event("user.created" if step == CREATED else "user.updated", subject, BORN + 1000 * step, **marks)


async def live(clerk: Clerk, subject: str, steps: Sequence[int]) -> list[str]:
    return [await clerk.tell(event(step, subject)) for step in steps]


async def state(owner: Any, subject: str) -> dict[str, Any]:
    row = dict(await owner.fetchrow(STATE, subject))
    nobody = f"Creator {row.pop('id')[-4:]}"
    return {**row, "display_name": row["display_name"].replace(nobody, "Creator")}


def orders(steps: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way in which some of the steps may arrive."""
    for count in range(1, len(steps) + 1):
        yield from itertools.permutations(steps, count)


async def test_the_latest_profile_wins_in_every_order(clerk: Clerk, owner: Any, db: Database) -> None:
    for number, steps in enumerate(orders([CREATED, FIRST, SECOND])):
        subject, last = f"user_{number}", max(steps)
        told = await live(clerk, subject, steps)
        found = await state(owner, subject)
        assert (found["email"], found["display_name"]) == (f"step{last}@example.org", f"Name {last} Lovelace"), steps
        assert (found["accounts"], found["grants"], found["gone"]) == (1, 1, False), steps
        newest = [step == max(steps[: place + 1]) for place, step in enumerate(steps)]
        assert told == ["applied" if new else "ignored" for new in newest], steps
    assert await verdict(db) == {}


async def test_deletion_is_the_end_in_every_order(clerk: Clerk, owner: Any, db: Database) -> None:
    gone = {"email": None, "display_name": "Creator", "profile_updated_at": None, "gone": True}
    lives = [steps for steps in orders([CREATED, FIRST, SECOND, DELETED]) if DELETED in steps]
    assert len(lives) == 1 + 6 + 18 + 24
    for number, steps in enumerate(lives):
        subject = f"user_{number}"
        told = await live(clerk, subject, steps)
        found = await state(owner, subject)
        known = int(steps[0] != DELETED)  # who is heard of as deleted first never gets an account
        assert found == {**gone, "accounts": known, "grants": known}, steps
        place = steps.index(DELETED)
        assert told[place] == "applied", steps
        assert set(told[place + 1 :]) <= {"ignored"}, steps
    assert await verdict(db) == {}


async def test_repeated_and_shuffled_events_come_to_the_same(clerk: Clerk, owner: Any, db: Database) -> None:
    rng = random.Random(5)
    for number in range(20):
        subject = f"user_{number}"
        steps = [rng.choice([CREATED, FIRST, SECOND]) for _ in range(rng.randrange(1, 7))]
        if number % 2:
            steps.insert(rng.randrange(1, len(steps) + 1), DELETED)
            steps.append(DELETED)
        await live(clerk, subject, steps)
        found = await state(owner, subject)
        expected = None if DELETED in steps else f"step{max(steps)}@example.org"
        assert (found["email"], found["gone"], found["grants"]) == (expected, DELETED in steps, 1), steps
    assert await verdict(db) == {}


async def test_a_profile_of_the_same_time_is_no_news(clerk: Clerk, owner: Any) -> None:
    assert await clerk.tell(user_event("user.created")) == "applied"
    assert await clerk.tell(user_event("user.updated", first_name="Augusta")) == "ignored"
    assert await clerk.tell(user_event("user.updated", at=BORN + 1, first_name="Augusta")) == "applied"
    assert (await state(owner, "user_1"))["display_name"] == "Augusta Lovelace"
