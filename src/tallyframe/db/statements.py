"""Statements of the hot paths: compiled once, run by asyncpg itself, one round trip each.

A `Statement` is SQLAlchemy Core like any other, next to what it does, with the class of its rows. On a user's behalf it
runs inside of a function in the schema `hot`, which says whose rows there are and runs it: else that would take a
transaction of three round trips. The functions have the caller's rights (SECURITY INVOKER), so row-level security holds
in them as everywhere. Migrations make them; the name of each has a hash of its source, so that several versions of this
code have their own.
"""

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql.dml import ReturningUpdate

#: Whose rows a transaction of the API sees. Local to the transaction, so that it can't leak to the next one.
USER_SETTING = "tallyframe.user_id"
#: The schema of the functions.
SCHEMA = "hot"

Row = TypeVar("Row")
#: A row by the names of its columns, where only few are looked at, or none.
AnyRow = dict[str, Any]
#: What SQLAlchemy can tell the columns of.
Query = sa.Select[Any] | sa.CompoundSelect[Any] | sa.TextualSelect | ReturningUpdate[Any]


class _Compiler(asyncpg.PGCompiler_asyncpg):
    """Writes parameters as $1, $2 and so on, by their names, and constants as what they are.

    SQLAlchemy would send constants, too: 37 with each poll.
    """

    def visit_bindparam(self, bindparam: Any, **how: Any) -> str:  # type: ignore[override]  # noqa: ANN401  # SQLAlchemy's
        """Return what stands for a parameter or constant."""
        if not bindparam.required and bindparam.value is None:
            return "NULL"
        if not bindparam.required:
            return str(super().visit_bindparam(bindparam, **{**how, "literal_binds": True}))  # type: ignore[no-untyped-call]
        found: dict[str, sa.BindParameter[Any]] = self.__dict__.setdefault("found", {})
        found.setdefault(bindparam.key, bindparam)
        return f"${list(found).index(bindparam.key) + 1}::{bindparam.type.compile(dialect=self.dialect)}"


class _Dialect(asyncpg.PGDialect_asyncpg):
    statement_compiler = _Compiler
    supports_statement_cache = True


_DIALECT = _Dialect()  # type: ignore[no-untyped-call]


class Statement(Generic[Row]):
    """A statement, compiled when it is made, which takes milliseconds, with the class of its rows.

    `sql`: as Postgres gets it; `encoders`: what makes of each parameter what asyncpg takes, in order, by its name;
    `call`: what runs it on a user's behalf, given the parameters and then the user's id.
    """

    def __init__(self, name: str, core: Query, row: Callable[..., Row]) -> None:
        """`row` takes the columns by their names."""
        compiled = core.compile(dialect=_DIALECT)
        parameters: dict[str, sa.BindParameter[Any]] = compiled.__dict__.get("found", {})
        self.name, self.row, self.sql = name, row, compiled.string
        self.encoders = [(name, _encoder(each.type)) for name, each in parameters.items()]
        self.types = [_name(each.type) for each in parameters.values()]
        self.types.append("UUID")  # of the user
        self.columns = ", ".join(f'"{column.name}" {_name(column.type)}' for column in core.exported_columns)
        self._name()

    def _name(self) -> None:
        self.function = f"{SCHEMA}.{self.name}_{sha256(self._definition.encode()).hexdigest()[:12]}"
        places = ", ".join(f"${number}" for number in range(1, len(self.types) + 1))
        self.call = f"SELECT * FROM {self.function}({places})"  # noqa: S608  # names of ours

    @property
    def _definition(self) -> str:
        """All but the name of the function."""
        return f"""({", ".join(self.types)}) RETURNS TABLE ({self.columns})
            LANGUAGE plpgsql SECURITY INVOKER AS $function$
            #variable_conflict use_column
            BEGIN
                PERFORM pg_catalog.set_config('{USER_SETTING}', ${len(self.types)}::text, true);
                RETURN QUERY {self.sql};
            END $function$"""

    def installing(self, role: str) -> Iterator[str]:
        """Yield what makes the function, which that role alone may call."""
        signature = f"{self.function}({', '.join(self.types)})"
        yield f"CREATE OR REPLACE FUNCTION {self.function}{self._definition}"
        yield f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {signature} TO {role}"
        note = f"COMMENT ON FUNCTION {signature} IS"
        yield f"DO $do$ BEGIN EXECUTE format('{note} %L', current_date); END $do$"


class ForMany(Statement[tuple[int, Row]]):
    """A statement for several users at once, each with their own parameters: rows with the place of whose they are.

    Its parameters are lists, of one length, and so is `users`. Places count from 1.
    """

    def __init__(self, one: Statement[Row]) -> None:
        self.one = one
        self.name, self.row = f"{one.name}_of_many", lambda place, **columns: (place, one.row(**columns))
        self.encoders = [*((name, None) for name, _ in one.encoders), ("users", None)]
        self.types = [f"{kind}[]" for kind in one.types]
        self.columns = f'"place" INTEGER, {one.columns}'
        self._each = re.sub(r"\$(\d+)", r"($\1)[its_place]", one.sql)
        self._name()
        self.sql = self.call

    @property
    def _definition(self) -> str:
        """All but the name of the function."""
        users = f"${len(self.types)}"
        return f"""({", ".join(self.types)}) RETURNS TABLE ({self.columns})
            LANGUAGE plpgsql SECURITY INVOKER AS $function$
            #variable_conflict use_column
            BEGIN
                FOR its_place IN 1..pg_catalog.cardinality({users}) LOOP
                    PERFORM pg_catalog.set_config('{USER_SETTING}', ({users})[its_place]::text, true);
                    RETURN QUERY SELECT its_place, found.* FROM ({self._each}) AS found;
                END LOOP;
            END $function$"""  # noqa: S608  # SQL and names of ours


def _name(kind: "sa.types.TypeEngine[Any]") -> str:
    return str(kind.compile(dialect=_DIALECT))


def _encoder(kind: "sa.types.TypeEngine[Any]") -> Callable[[Any], str | None] | None:
    """Return what makes JSON of a parameter of this type; asyncpg takes all others as they are."""
    if not isinstance(kind, sa.JSON):
        return None
    is_null = kind.none_as_null
    return lambda value: None if value is None and is_null else json.dumps(value)
