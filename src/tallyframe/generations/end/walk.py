"""Goes through many rows without ever reading them all at once: each round looks at the next batch by an index."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.dml import UpdateBase

from tallyframe.db import Database, literal_number, with_writes

#: Rows that one round looks at, at most.
BATCH = 500


class Walk:
    """Looks at the rows that meet `conditions`, in the order of `keys`, and after the last one at the first again.

    `keys` are columns of an index that has the conditions, each with a value that is below all of its values; together
    they tell rows apart. `further` columns are read, too. The place is kept in memory: a process that starts anew
    begins at the first row.

    A walk ends with the row that was the last when it began: however fast new ones come, it comes to the first again.
    Where a round fails, the next looks at a tenth of the rows, down to one, and later ones at more again. A row that
    fails alone is left for the next walk, so that the others are not kept waiting by it.
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
        self._end: Any = None  # the first key of this walk's last row, if it takes more than one round
        self._most = BATCH

    async def round(
        self, db: Database, lost: Callable[[sa.CTE], "sa.Select[Any]"], mend: Callable[[sa.CTE], UpdateBase]
    ) -> int:
        """Mend those of the next rows that are `lost`; return how many. Raises what `db.run` raises.

        `lost` gets the rows, whose keys are named key_0, key_1 and so on; `mend` gets what `lost` has chosen of them.
        """
        looked = self._next().cte("looked")
        chosen = lost(looked).cte("lost")
        keys = [looked.c[name] for name in self._names]
        count = sa.select(sa.func.count()).select_from(chosen).scalar_subquery()
        last = sa.select(*keys, sa.func.count().over(), count).order_by(*(key.desc() for key in keys)).limit(1)
        try:
            row = (await db.run(with_writes(last, mend(chosen)))).one_or_none()
        except Exception:
            if self._most == 1:
                await self._go_on(db, (await db.run(self._next())).one_or_none())
            self._most = max(self._most // 10, 1)
            raise
        *place, looked_at, mended = row or (0, 0)
        await self._go_on(db, place if looked_at == self._most else None)
        self._most = min(self._most * 2, BATCH)
        return int(mended)

    async def _go_on(self, db: Database, place: "Sequence[Any] | None") -> None:
        """Have the next round look at what comes after the row with these keys; None: at the first row."""
        if place is None:
            self._last, self._end = self._first, None
            return
        self._last, first = place[: len(self._keys)], self._keys[0]
        if self._end is None:
            newest = sa.select(first).where(*self._conditions, first >= sa.literal(place[0], first.type))
            last = newest.order_by(first.desc()).limit(literal_number(1))
            self._end = (await db.run(last)).scalar_one_or_none()

    @property
    def _names(self) -> Sequence[str]:
        return [f"key_{number}" for number in range(len(self._keys))]

    def _next(self) -> "sa.Select[Any]":
        keys = [key.label(name) for key, name in zip(self._keys, self._names, strict=True)]
        last = [sa.literal(value, key.type) for value, key in zip(self._last, self._keys, strict=True)]
        # In the first round, too: it tells the planner which index it is, whatever that believes to be there.
        within = [sa.tuple_(*self._keys) > sa.tuple_(*last)]
        if self._end is not None:
            within.append(self._keys[0] <= sa.literal(self._end, self._keys[0].type))
        query = sa.select(*keys, *self._further).where(*self._conditions, *within)
        return query.order_by(*self._keys).limit(literal_number(self._most))
