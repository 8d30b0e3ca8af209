"""A full disk and a read-only Postgres: orders are put off, no bug is reported, and work goes on by itself later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from tallyframe.db import WORKER_ROLE, Database
from tallyframe.errors import Unavailable
from tallyframe.generations.run.dispatch import Dispatcher
from tallyframe.lost import DatabaseAway
from tallyframe.servers import outage
from tests.conftest import ClientFor
from tests.support.cast import Member
from tests.support.working import Bench
from tests.support.writing import ORDER

REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '{state}'; END $$;
    CREATE TRIGGER a_refuse BEFORE INSERT OR UPDATE ON generations FOR EACH STATEMENT EXECUTE FUNCTION refuse()"""


class Later:
    """A clock that goes as any other, and can be put forward."""

    seconds = 0.0

    def __call__(self) -> float:
        return monotonic() + self.seconds


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    clock = Later()
    monkeypatch.setattr(outage, "monotonic", clock)
    return clock


@asynccontextmanager
async def read_only(owner: Any) -> AsyncIterator[None]:
    """New connections to the database can't write, as at a standby; and there are no others."""
    name = await owner.fetchval("SELECT current_database()")
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
    await owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await owner.fetch(others, name)
    yield
    await owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")


@asynccontextmanager
async def disk_full(owner: Any, state: str = "53100") -> AsyncIterator[None]:
    """Postgres answers what is written to generations as it does when its disk is full."""
    await owner.execute(REFUSE.format(state=state))
    yield
    await owner.execute("DROP FUNCTION refuse CASCADE")


async def assert_put_off(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
    assert answer.headers["retry-after"] == "10"
    assert answer.json()["detail"] == "The database can't store anything right now. Try again shortly."


@pytest.mark.parametrize("kind", [read_only, disk_full])
async def test_orders_are_put_off_and_the_process_is_not_ready(
    kind: Any, alice: Member, client_for: ClientFor, owner: Any, later: Later
) -> None:
    anybody = client_for(None)
    with capture_logs() as logs:
        async with kind(owner):
            answers = [await alice.http.post("/v1/projects", json=ORDER) for _ in range(3)]
            await assert_put_off(answers[-1])
            ready = await anybody.get("/readyz")
            assert (ready.status_code, ready.json()["postgres"]) == (503, "takes no writes")
            assert (await alice.http.get("/v1/projects")).status_code == 200, "reading goes on"
    assert [line for line in logs if line["log_level"] == "error"] == []
    later.seconds += outage.REST
    accepted = [await alice.http.post("/v1/projects", json=ORDER) for _ in range(3)]
    assert [answer.status_code for answer in accepted] == [202] * 3, "also on connections that were opened meanwhile"
    assert (await anybody.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    ("state", "words"), [("53100", "has no room left"), ("58030", "can't read or write its files")]
)
async def test_operators_read_what_to_do(database_url: str, owner: Any, state: str, words: str) -> None:
    db = Database(database_url, role=WORKER_ROLE, pool_size=1, statement_timeout=5)
    async with disk_full(owner, state):
        with pytest.raises(DatabaseAway) as away:
            await db.run(sa.text("UPDATE generations SET step = step WHERE false"))
    await db.close()
    assert words in away.value.words
    assert away.value.refuses_writes


async def test_a_commit_that_finds_no_room_is_put_off_as_well(database_url: str, owner: Any) -> None:
    await owner.execute(REFUSE.format(state="53100").replace("a_refuse", "b_refuse").split("CREATE TRIGGER")[0])
    await owner.execute(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    db = Database(database_url, role=WORKER_ROLE, pool_size=1, statement_timeout=5)
    insert = sa.text("INSERT INTO outbox (kind, ref) VALUES ('withdraw', '00000000-0000-7000-8000-000000000000')")
    with pytest.raises(Unavailable):
        async with db.transaction() as transaction:
            await transaction.execute(insert)
    await db.close()


async def test_a_worker_rests_instead_of_trying_again_and_again(
    alice: Member, bench: Bench, owner: Any, later: Later
) -> None:
    await alice.http.post("/v1/projects", json=ORDER)
    claims = 0

    class Counting(Dispatcher):
        async def _next(self) -> Any:
            nonlocal claims
            claims += 1
            return await super()._next()

    dispatcher = Counting(bench.runner(), slots=2, most=2)
    with capture_logs() as logs:
        async with disk_full(owner):
            for _ in range(20):
                await dispatcher.look()
                await asyncio.sleep(0.005)
            while dispatcher._takers:
                await asyncio.sleep(0.005)
            assert claims <= 2
            assert not dispatcher.has_room
    assert {line["event"] for line in logs} <= {"server_away"}
    later.seconds += outage.REST
    assert dispatcher.has_room
    await dispatcher.aclose(5)
