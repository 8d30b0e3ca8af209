"""A statement whose arguments can't be sent is a mistake, and no database that is away: trying again doesn't help."""

from typing import Any

import pytest
import sqlalchemy as sa
from asyncpg import exceptions as pg_errors
from asyncpg.exceptions import _base as client_errors
from sqlalchemy.exc import DBAPIError

from tallyframe.db import Database, retry_while_unavailable
from tallyframe.generations.tables import generations
from tallyframe.lost import is_lost

row = generations.c
STATEMENTS = {
    "too large for int4": sa.select(row.id).where(row.attempt == 2**40),
    "too large for int8": sa.select(row.id).where(row.credits == 2**80),
    "NUL": sa.select(row.id).where(row.operation == "a\x00b"),
    "NUL in JSON": sa.select(row.id).where(row.input == {"a": "\x00"}),
    "half a character": sa.select(row.id).where(row.operation == "a\ud800b"),
    "no UUID": sa.select(row.id).where(row.id == "nonsense"),
    "too many": sa.select(row.id).where(row.operation.in_([str(number) for number in range(32_768)])),
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_it_is_told_at_once_and_the_database_is_not_called_away(name: str, db: Database) -> None:
    tries = 0

    async def write() -> Any:
        nonlocal tries
        tries += 1
        return await db.run(STATEMENTS[name])

    with pytest.raises(DBAPIError):
        await retry_while_unavailable(write)
    assert tries == 1
    with pytest.raises(DBAPIError):
        async with db.transaction() as transaction:
            await transaction.execute(STATEMENTS[name])
    assert (await db.run(sa.select(sa.literal(1)))).scalar_one() == 1


def test_what_asyncpg_itself_says_of_arguments_and_of_lines() -> None:
    assert not is_lost(client_errors.DataError("invalid input for query argument $1: 'x' (an integer is required)"))
    assert not is_lost(pg_errors.InterfaceError("the server expects 1 argument for this query, 2 were passed"))
    assert is_lost(pg_errors.InterfaceError("cannot perform operation: connection is closed"))
    assert is_lost(pg_errors.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
