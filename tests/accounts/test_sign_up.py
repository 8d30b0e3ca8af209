"""The first valid token of a subject makes a user, an account and the sign-up grant: once, whoever else asks."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tallyframe.db import Database
from tallyframe.settings import Settings
from tests.conftest import ClientFor, serving
from tests.support.jwks import AZP, JwksStub
from tests.support.postings import verdict
from tests.support.remains import problem

COUNTS = """
    SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM accounts) AS accounts,
           (SELECT count(*) FROM ledger_entries) AS entries, (SELECT sum(balance) FROM accounts)::int AS balance"""


@pytest.fixture
def issuer() -> Iterator[JwksStub]:
    with JwksStub() as stub:
        yield stub


@pytest.fixture
def with_issuer(settings: Settings, issuer: JwksStub) -> Settings:
    return settings.replaced(auth_issuer=issuer.issuer, auth_authorized_parties=(AZP,))


@pytest.fixture
async def clients(with_issuer: Settings) -> AsyncIterator[ClientFor]:
    async with serving(with_issuer) as make:
        yield make


async def counts(owner: Any) -> tuple[int, int, int, int]:
    row = await owner.fetchrow(COUNTS)
    return row["users"], row["accounts"], row["entries"], row["balance"] or 0


async def me(clients: ClientFor, token: str) -> dict[str, Any]:
    answer = await clients(token).get("/v1/me")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_first_token_signs_up(clients: ClientFor, issuer: JwksStub, owner: Any, db: Database) -> None:
    token = issuer.mint(sub="user_1", email="Ada@Example.org", name="Ada Lovelace")
    first = await me(clients, token)
    assert (first["email"], first["display_name"]) == ("ada@example.org", "Ada Lovelace")
    assert (first["role"], first["is_member"]) == ("user", False)
    assert await counts(owner) == (1, 1, 1, 20)
    [entry] = (await clients(token).get("/v1/credits/entries")).json()["data"]
    assert (entry["kind"], entry["amount"], entry["balance_after"]) == ("grant", 20, 20)

    for later in (token, issuer.mint(sub="user_1", sid="sess_2"), issuer.mint(sub="user_1", alg="ES256")):
        assert (await me(clients, later))["id"] == first["id"]
    assert await counts(owner) == (1, 1, 1, 20)
    other = await me(clients, issuer.mint(sub="user_2", email="ada@example.org"))
    assert other["id"] != first["id"]  # the subject says who it is, not the address
    assert await counts(owner) == (2, 2, 2, 40)
    assert await verdict(db) == {}


async def test_the_first_request_may_be_an_order(clients: ClientFor, issuer: JwksStub, owner: Any) -> None:
    client = clients(issuer.mint(sub="user_1"))
    answer = await client.post("/v1/projects", json={"kind": "image", "prompt": "a cup"})
    assert answer.status_code == 202
    assert await counts(owner) == (1, 1, 2, 15)


async def test_ten_first_requests_at_once(clients: ClientFor, issuer: JwksStub, owner: Any, db: Database) -> None:
    tokens = [issuer.mint(sub="user_1", sid=f"sess_{n}") for n in range(10)]
    found = await asyncio.gather(*(me(clients, token) for token in tokens))
    assert len({user["id"] for user in found}) == 1
    assert await counts(owner) == (1, 1, 1, 20)
    assert await verdict(db) == {}


async def test_ten_first_requests_at_once_through_two_processes(
    clients: ClientFor, with_issuer: Settings, issuer: JwksStub, owner: Any, db: Database
) -> None:
    async with serving(with_issuer) as others:
        tokens = [issuer.mint(sub=f"user_{n % 3}", sid=f"sess_{n}") for n in range(30)]
        asked = [me(clients if n % 2 else others, token) for n, token in enumerate(tokens)]
        found = await asyncio.gather(*asked)
    assert len({user["id"] for user in found}) == 3
    assert await counts(owner) == (3, 3, 3, 60)
    assert await verdict(db) == {}


async def test_without_a_grant(with_issuer: Settings, issuer: JwksStub, owner: Any) -> None:
    async with serving(with_issuer.replaced(signup_credits=0)) as clients:
        await me(clients, issuer.mint())
    assert await counts(owner) == (1, 1, 0, 0)


async def test_bad_tokens_sign_nobody_up(clients: ClientFor, issuer: JwksStub, owner: Any) -> None:
    hour = time.time() - 3600
    good = issuer.mint()
    head, payload, signature = good.split(".")
    forged = issuer.mint(sub="admin").split(".")[1]
    with JwksStub() as stranger:
        stranger.rotate()
        stranger.keys["rsa-0"] = stranger.keys["rsa-1"]  # another key under a name that is known
        tokens = {
            "expired": issuer.mint(at=hour),
            "not yet valid": issuer.mint(at=time.time() + 3600),
            "of another issuer": issuer.mint(iss="https://evil.example.com"),
            "without an issuer": issuer.mint(iss=None),
            "without an expiry": issuer.mint(exp=None),
            "for another party": issuer.mint(azp="https://evil.example.com"),
            "for no party": issuer.mint(azp=None),
            "for another audience": issuer.mint(aud="other"),
            "of nobody": issuer.mint(sub=None),
            "of an empty subject": issuer.mint(sub=""),
            "not signed in yet": issuer.mint(sts="pending"),
            "another's content": f"{head}.{forged}.{signature}",
            "signed by a stranger": stranger.mint(kid="rsa-0", iss=issuer.issuer),
            "unsigned": f"eyJhbGciOiJub25lIn0.{payload}.",
            "cut off": good[:-10],
        }
    for name, token in tokens.items():
        answer = await clients(token).get("/v1/me")
        body = problem(answer, 401, "unauthenticated", name)
        assert token not in body["detail"]
    assert await counts(owner) == (0, 0, 0, 0)
    assert (await me(clients, good))["id"]


async def test_keys_that_cannot_be_had_are_no_verdict(clients: ClientFor, issuer: JwksStub, owner: Any) -> None:
    issuer.mode = "down"
    answer = await clients(issuer.mint()).get("/v1/me")
    body = problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert issuer.issuer not in body["detail"]
    assert await counts(owner) == (0, 0, 0, 0)


async def test_keys_that_were_had_bridge_an_outage(clients: ClientFor, issuer: JwksStub) -> None:
    await me(clients, issuer.mint())
    issuer.mode = "down"
    await me(clients, issuer.mint(sub="user_2"))


async def test_an_audience_is_checked_where_one_is_set(settings: Settings, issuer: JwksStub) -> None:
    only = settings.replaced(auth_issuer=issuer.issuer, auth_audience="tallyframe")
    async with serving(only) as clients:
        await me(clients, issuer.mint(aud=["other", "tallyframe"]))
        refused: httpx.Response = await clients(issuer.mint(aud="other")).get("/v1/me")
        problem(refused, 401, "unauthenticated")


async def test_a_display_name_is_never_an_address(clients: ClientFor, issuer: JwksStub) -> None:
    """It is shown to everybody, and some issuers put the address where the name should be."""
    claims: dict[str, dict[str, Any]] = {
        "no_name": {"email": "ada@example.org"},
        "empty_name": {"email": "ada@example.org", "name": ""},
        "blank_name": {"email": "ada@example.org", "name": " \t\n"},
        "address_as_name": {"email": "ada@example.org", "name": "ada@example.org"},
        "capital_address_as_name": {"email": "ada@example.org", "name": "Ada@Example.ORG"},
        "another_address_as_name": {"name": "ada@example.org"},
        "address_in_name": {"email": "ada@example.org", "name": "Ada <ada@example.org>"},
        "not_a_name": {"email": "ada@example.org", "name": {"first": "Ada"}},
    }
    shown = {subject: (await me(clients, issuer.mint(sub=subject, **claim))) for subject, claim in claims.items()}
    for subject, user in shown.items():
        assert user["display_name"].strip(), subject
    leaked = {subject: user["display_name"] for subject, user in shown.items() if "@" in user["display_name"]}
    assert leaked == {}


async def test_odd_emails_and_names_do_no_harm(clients: ClientFor, issuer: JwksStub) -> None:
    unverified = await me(clients, issuer.mint(sub="a", email="ada@example.org", email_verified=False))
    assert unverified["email"] is None
    long = await me(clients, issuer.mint(sub="b", name="A" * 500, email="x" * 300 + "@example.org"))
    assert (long["email"], len(long["display_name"])) == (None, 80)
    odd = await me(clients, issuer.mint(sub="c", name="Ada\0\u202e\r\nLovelace", email=5))
    assert odd["display_name"].isprintable()
    assert odd["email"] is None


async def test_who_a_token_speaks_for_is_not_taken_from_local_users(
    clients: ClientFor, issuer: JwksStub, alice: Any
) -> None:
    """Alice was added on the command line, with her address as subject; a token that says the same isn't her."""
    stranger = await me(clients, issuer.mint(sub="alice@example.com", email="alice@example.com"))
    assert stranger["id"] != str(alice.user.id)
    assert stranger["role"] == "user"
