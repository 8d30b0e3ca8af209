"""What tables are made of: the naming convention, and columns that most have."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
    schema=None,
)


def id_column(name: str = "id", *args: Any, **kwargs: Any) -> "sa.Column[UUID]":  # noqa: ANN401  # handed on as it is
    """Return a UUID column."""
    return sa.Column(name, sa.Uuid(), *args, **kwargs)


def time_column(name: str, *, nullable: bool = False, now: bool = False) -> "sa.Column[datetime]":
    """Return a timestamp-with-time-zone column; with `now`, filled by the database's clock."""
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable, server_default=default)
