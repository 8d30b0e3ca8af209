"""Joins what several packages write into one statement."""

from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import UpdateBase

Query = TypeVar("Query", sa.Select[Any], sa.CompoundSelect[Any])


def with_writes(result: Query, *writes: UpdateBase) -> Query:
    """Join writes of several packages into one statement, one round trip, that returns `result`."""
    return result.add_cte(*(write.cte(f"write_{number}") for number, write in enumerate(writes)))


def insert_per_row(
    table: sa.Table,
    source: sa.FromClause,
    /,
    *conditions: "sa.ColumnElement[bool]",
    **values: Any,  # noqa: ANN401  # column expressions and constants
) -> postgresql.Insert:
    """Return the insert of one row into `table` for each row of `source` that meets the conditions.

    `values` are by the names of the table's columns: column expressions, or constants of the column's type.
    """
    columns = [
        value if isinstance(value, sa.ColumnElement) else sa.literal(value, table.c[name].type)
        for name, value in values.items()
    ]
    rows = sa.select(*columns).select_from(source).where(*conditions)
    return postgresql.insert(table).from_select(list(values), rows)


def literal_number(value: int) -> "sa.ColumnElement[int]":
    """Return a number that stands in the SQL, not bound: by a limit, the planner must see that there are few rows."""
    return sa.literal_column(str(value))
