"""What Postgres says of a server in need, or of a transaction that gave way, is put off; only bugs are bugs."""

from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from tallyframe.db import WORKER_ROLE, Database
from tallyframe.lost import DatabaseAway
from tallyframe.servers.outage import Outage
from tests.support.cast import Member

#: By SQLSTATE (PostgreSQL's manual, appendix "Error Codes"): whether Postgres is away by it, and what operators read.
STATES = {
    "40000": (False, "was in the way of others. Try it again"),
    "40001": (False, "was in the way of others. Try it again"),
    "40P01": (False, "was in the way of others. Try it again"),
    "25P03": (False, "has ended a transaction that took too long"),
    "25P04": (False, "has ended a transaction that took too long"),
    "57P05": (False, "has closed a session that was unused"),
    "57014": (False, "took too long for a statement"),
    "57000": (True, "has stopped this by order of an operator"),
    "57P01": (True, "has closed the connection"),
    "57P04": (True, "has dropped the database"),
    "53200": (True, "lacks memory"),
}
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END $$;
    CREATE TRIGGER a_refuse BEFORE INSERT ON generations FOR EACH STATEMENT EXECUTE FUNCTION refuse()"""


@pytest.mark.parametrize("state", STATES)
async def test_a_state_is_put_off_and_told(database_url: str, state: str) -> None:
    outage = Outage("postgres", remind=30)
    db = Database(database_url, role=WORKER_ROLE, pool_size=1, statement_timeout=5, outage=outage)
    with capture_logs() as logs, pytest.raises(DatabaseAway) as away:
        await db.run(sa.text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"))
    is_outage, words = STATES[state]
    assert words in away.value.words
    assert [line["event"] for line in logs] == ["server_away"] * is_outage
    await db.close()


@pytest.mark.parametrize("state", ["25P01", "42703", "23514", "22012", "XX000"])
async def test_a_bug_stays_a_bug(db: Database, state: str) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        await db.run(sa.text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"))


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_an_order_that_gives_way_may_be_sent_again(alice: Member, owner: Any, state: str) -> None:
    order = {"kind": "image", "prompt": "a red fox"}
    await owner.execute(REFUSE.format(state=state))
    answer = await alice.http.post("/v1/projects", json=order)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    await owner.execute("DROP FUNCTION refuse CASCADE")
    assert (await alice.http.post("/v1/projects", json=order)).status_code == 202
