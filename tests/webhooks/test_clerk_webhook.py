"""Clerk's webhook: users come and change, once, whether the event or the first token is first."""

import asyncio
from typing import Any

from tallyframe.db import Database
from tallyframe.webhooks.received import prune
from tests.conftest import ClientFor
from tests.support.clerk import BORN, Clerk, address, new_event_id, other_event, user_event
from tests.support.jwks import JwksStub
from tests.support.postings import verdict

ROW = "SELECT email, display_name, role, is_member FROM users WHERE subject = $1"
COUNTS = """
    SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM accounts) AS accounts,
           (SELECT count(*) FROM ledger_entries) AS entries, (SELECT sum(balance) FROM accounts)::int AS balance"""

App = tuple[Clerk, ClientFor]


async def counts(owner: Any) -> tuple[int, int, int, int]:
    row = await owner.fetchrow(COUNTS)
    return row["users"], row["accounts"], row["entries"], row["balance"] or 0


async def profile(owner: Any, subject: str = "user_1") -> tuple[str | None, str]:
    row = await owner.fetchrow(ROW, subject)
    assert (row["role"], row["is_member"]) == ("user", False)  # whatever the metadata say
    return row["email"], row["display_name"]


async def me(clients: ClientFor, token: str) -> dict[str, Any]:
    answer = await clients(token).get("/v1/me")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_created_user_is_signed_up(
    clerk: Clerk, clients: ClientFor, issuer: JwksStub, owner: Any, db: Database
) -> None:
    assert await clerk.tell(user_event("user.created", email_addresses=[address("Ada@Example.org")])) == "applied"
    assert await counts(owner) == (1, 1, 1, 20)
    assert await profile(owner) == ("ada@example.org", "Ada Lovelace")
    first = await me(clients, issuer.mint(email="other@example.org", name="Somebody Else"))
    assert (first["email"], first["display_name"]) == ("ada@example.org", "Ada Lovelace")
    [entry] = (await clients(issuer.mint()).get("/v1/credits/entries")).json()["data"]
    assert (entry["kind"], entry["amount"]) == ("grant", 20)
    assert await counts(owner) == (1, 1, 1, 20)
    assert await verdict(db) == {}


async def test_a_token_may_be_first(clerk: Clerk, clients: ClientFor, issuer: JwksStub, owner: Any) -> None:
    before = await me(clients, issuer.mint())
    assert before["email"] is None
    assert await clerk.tell(user_event("user.created")) == "applied"
    after = await me(clients, issuer.mint())  # at once, although callers are remembered
    assert after == {**before, "email": "ada@example.org", "display_name": "Ada Lovelace"}
    assert await counts(owner) == (1, 1, 1, 20)


async def test_the_same_event_is_followed_once(clerk: Clerk, owner: Any) -> None:
    event_id = new_event_id()
    assert await clerk.tell(user_event("user.created"), event_id=event_id) == "applied"
    later = user_event("user.updated", at=BORN + 1, first_name="Augusta")
    for event in (user_event("user.created"), later):
        assert await clerk.tell(event, event_id=event_id) == "replayed"
    assert await profile(owner) == ("ada@example.org", "Ada Lovelace")
    assert await counts(owner) == (1, 1, 1, 20)
    noted = await owner.fetch("SELECT source, event_id, type, subject, status, attempts FROM webhook_events")
    assert [tuple(row) for row in noted] == [("clerk", event_id, "user.created", "user_1", "applied", 1)]


async def test_events_are_forgotten_after_their_days(clerk: Clerk, owner: Any, worker_db: Database) -> None:
    for days in (29, 31):
        await clerk.tell(user_event("user.created"), event_id=f"msg_{days}")
        age = "UPDATE webhook_events SET received_at = now() - make_interval(days => $1) WHERE event_id = $2"
        await owner.execute(age, days, f"msg_{days}")
    assert await prune(worker_db, days=30) == 1
    assert await owner.fetchval("SELECT event_id FROM webhook_events") == "msg_29"


async def test_ten_deliveries_at_once_are_followed_once(clerk: Clerk, owner: Any, db: Database) -> None:
    event, event_id = user_event("user.created"), new_event_id()
    told = await asyncio.gather(*(clerk.tell(event, event_id=event_id) for _ in range(10)))
    assert sorted(told) == ["applied"] + ["replayed"] * 9
    assert await counts(owner) == (1, 1, 1, 20)
    assert await verdict(db) == {}


async def test_event_and_first_token_at_once_sign_up_once(
    clerk: Clerk, clients: ClientFor, issuer: JwksStub, owner: Any, db: Database
) -> None:
    for n in range(20):
        subject = f"user_{n}"
        asked = [
            clerk.tell(user_event("user.created", subject)),
            me(clients, issuer.mint(sub=subject, sid="sess_a")),
            clerk.tell(user_event("user.updated", subject, BORN + 1)),
            me(clients, issuer.mint(sub=subject, sid="sess_b")),
        ]
        if n % 2:
            asked.reverse()
        await asyncio.gather(*asked)
        assert await counts(owner) == (n + 1, n + 1, n + 1, 20 * (n + 1))
        assert await profile(owner, subject) == ("ada@example.org", "Ada Lovelace")
    assert await verdict(db) == {}


async def test_other_events_change_nothing(clerk: Clerk, owner: Any) -> None:
    for kind in ("session.created", "organizationMembership.deleted", "waitlistEntry.created", "user"):
        assert await clerk.tell(other_event(kind)) == "ignored"
    assert await counts(owner) == (0, 0, 0, 0)
    assert await owner.fetchval("SELECT count(*) FROM webhook_events") == 0


ADDRESSES: list[tuple[dict[str, Any], str | None]] = [
    ({"email_addresses": [address(status="unverified")]}, None),
    ({"email_addresses": [address(status=None)]}, None),
    ({"email_addresses": [address(status="transferable")]}, None),
    ({"email_addresses": [], "primary_email_address_id": None}, None),  # signed up with a phone number
    ({"primary_email_address_id": None}, None),
    ({"primary_email_address_id": "idn_2"}, None),
    ({"email_addresses": [address("b@example.org", name="idn_2"), address()]}, "ada@example.org"),
    ({"email_addresses": [address(status="unverified"), address("b@example.org", name="idn_2")]}, None),
    ({"email_addresses": [address("no address")]}, None),
    ({"email_addresses": [address("a@example.org\x00")]}, None),
    ({"email_addresses": [address("x" * 300 + "@example.org")]}, None),
]


async def test_only_the_verified_primary_address_is_taken(clerk: Clerk, owner: Any) -> None:
    for number, (changes, email) in enumerate(ADDRESSES):
        assert await clerk.tell(user_event("user.created", f"user_{number}", **changes)) == "applied"
        assert (await profile(owner, f"user_{number}"))[0] == email, changes


NAMES: list[tuple[dict[str, Any], str]] = [
    ({"first_name": "Ada", "last_name": None}, "Ada"),
    ({"first_name": None, "last_name": "Lovelace"}, "Lovelace"),
    ({"username": "ada"}, "Ada Lovelace"),
    ({"first_name": None, "last_name": None, "username": "ada"}, "ada"),
    ({"first_name": " ", "last_name": "", "username": "ada"}, "ada"),
    ({"first_name": "ada@example.org", "last_name": None, "username": "ada"}, "ada"),
    ({"first_name": "ada@example.org", "username": "ada@example.org"}, "Creator"),
    ({"first_name": None, "last_name": None}, "Creator"),
    ({"first_name": "A" * 500, "last_name": None}, "A" * 80),
    ({"first_name": "Ada\x00\u202e\r\n", "last_name": "Lovelace"}, "Ada Lovelace"),
]


async def test_the_name_is_shown_but_never_an_address(clerk: Clerk, owner: Any) -> None:
    for number, (changes, shown) in enumerate(NAMES):
        subject = f"user_{number}"
        assert await clerk.tell(user_event("user.created", subject, **changes)) == "applied"
        user_id = str(await owner.fetchval("SELECT id FROM users WHERE subject = $1", subject))
        expected = f"Creator {user_id[-4:]}" if shown == "Creator" else shown
        assert (await profile(owner, subject))[1] == expected, changes


async def test_what_is_taken_away_at_clerk_is_taken_away_here(clerk: Clerk, owner: Any) -> None:
    await clerk.tell(user_event("user.created"))
    gone: dict[str, Any] = {
        "email_addresses": [],
        "primary_email_address_id": None,
        "first_name": None,
        "last_name": None,
    }
    assert await clerk.tell(user_event("user.updated", at=BORN + 1, **gone)) == "applied"
    email, name = await profile(owner)
    assert (email, name[:8]) == (None, "Creator ")


async def test_role_and_membership_stay_as_they_are(clerk: Clerk, owner: Any) -> None:
    await clerk.tell(user_event("user.created"))
    await owner.execute("UPDATE users SET role = 'admin', is_member = true")
    demoted: dict[str, Any] = {"public_metadata": {"role": "user"}, "role": "user", "is_member": False}
    assert await clerk.tell(user_event("user.updated", at=BORN + 1, first_name="Augusta", **demoted)) == "applied"
    assert tuple(await owner.fetchrow(ROW, "user_1")) == ("ada@example.org", "Augusta Lovelace", "admin", True)


async def test_users_of_the_command_line_are_not_clerks(clerk: Clerk, owner: Any, alice: Any) -> None:
    assert await clerk.tell(user_event("user.updated", "alice@example.com")) == "applied"
    assert await owner.fetchval("SELECT count(*) FROM users WHERE subject = 'alice@example.com'") == 2
    name = await owner.fetchval("SELECT display_name FROM users WHERE issuer = 'local'")
    assert name == alice.user.display_name
