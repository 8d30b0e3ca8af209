"""All statements of the hot paths, whose functions migrations make."""

from collections.abc import Iterator
from typing import Any

from tallyframe.db import API_ROLE, Statement
from tallyframe.db.statements import SCHEMA
from tallyframe.generations import queries
from tallyframe.generations.accept.statements import FRESH
from tallyframe.idempotency.keys import FIND

STATEMENTS: tuple[Statement[Any], ...] = (
    queries.PROJECTS_BY_ID,
    queries.PROJECT_ORDERED,
    queries.PROJECT_VERSIONS,
    FIND,
    *FRESH.values(),
)


def installing() -> Iterator[str]:
    """Yield the statements that make all functions, which may be there already."""
    for statement in STATEMENTS:
        yield from statement.installing(API_ROLE)
    yield _DROP_OLD


#: Days for which the functions of versions before are kept after the last `tallyframe migrate` that made them.
_KEPT = 30
_DROP_OLD = f"""
    DO $do$
    DECLARE
        old regprocedure;
    BEGIN
        FOR old IN SELECT oid FROM pg_proc
            WHERE pronamespace = '{SCHEMA}'::regnamespace AND obj_description(oid)::date < current_date - {_KEPT} LOOP
            EXECUTE format('DROP FUNCTION %s', old);
        END LOOP;
    END $do$"""  # noqa: S608  # constants of ours
