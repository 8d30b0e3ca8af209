"""Goes through many rows without ever reading them all at once: each round looks at the next batch by an index."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.dml import UpdateBase

from tallyframe.db import Database, with_writes

#: Rows that one round looks at, at most.
BATCH = 500


class Walk:
    """Looks at the rows that meet `conditions`, in the order of `keys`, and after the last one at the first again.

    `keys` are columns of an index that has the conditions, each with a value that is below all of its values; together
    they tell rows apart. `further` columns are read, too. The place is kept in memory: a process that starts anew
    begins at the first row.
    """

    def __init__(
        self,
        keys: "Mapping[Any, Any]",  # by columns
        *conditions: "sa.ColumnElement[bool]",
        further: "Sequence[sa.ColumnElement[Any]]" = (),
    ) -> None:
        self._keys, self._conditions, self._further = list(keys), conditions, further
        self._first: Sequence[Any] = list(keys.values())
        self._last: Sequence[Any] = self._first

    async def round(
        self, db: Database, lost: Callable[[sa.CTE], "sa.Select[Any]"], mend: Callable[[sa.CTE], UpdateBase]
    ) -> int:
        """Mend those of the next rows that are `lost`; return how many. Raises Unavailable.

        `lost` gets the rows, whose keys are named key_0, key_1 and so on; `mend` gets what `lost` has chosen of them.
        """
        looked = self._next().cte("looked")
        chosen = lost(looked).cte("lost")
        keys = [looked.c[name] for name in self._names]
        count = sa.select(sa.func.count()).select_from(chosen).scalar_subquery()
        last = sa.select(count, sa.func.count().over(), *keys).order_by(*(key.desc() for key in keys)).limit(1)
        row = (await db.run(with_writes(last, mend(chosen)))).one_or_none()
        self._last = row[2:] if row and row[1] == BATCH else self._first
        return int(row[0]) if row else 0

    @property
    def _names(self) -> Sequence[str]:
        return [f"key_{number}" for number in range(len(self._keys))]

    def _next(self) -> "sa.Select[Any]":
        keys = [key.label(name) for key, name in zip(self._keys, self._names, strict=True)]
        last = [sa.literal(value, key.type) for value, key in zip(self._last, self._keys, strict=True)]
        # In the first round, too: it tells the planner which index it is, whatever that believes to be there.
        later = sa.tuple_(*self._keys) > sa.tuple_(*last)
        query = sa.select(*keys, *self._further).where(*self._conditions, later)
        return query.order_by(*self._keys).limit(sa.literal_column(str(BATCH)))
