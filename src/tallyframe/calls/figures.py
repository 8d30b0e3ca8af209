"""How the vendors are doing now, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tallyframe.calls.tables import ai_operations, provider_circuits
from tallyframe.db import Reader


@dataclass(frozen=True, slots=True)
class CallFigures:
    """One reading."""

    in_flight: Sequence[Any]  # (provider, count)
    circuits: Sequence[Any]  # (provider, model, 1 when it is open, else 0)


async def read(reader: Reader) -> CallFigures:
    """Count the calls under way, and read all circuits; a model has one from its first failure on."""
    call, circuit = ai_operations.c, provider_circuits.c
    # A literal and no parameter: the planner uses the partial index only if it sees that the query matches it.
    running = sa.select(call.provider, sa.func.count()).where(call.status == sa.literal_column("'running'"))
    is_open = sa.case((circuit.open_until > sa.func.now(), 1), else_=0)
    return CallFigures(
        in_flight=(await reader.execute(running.group_by(call.provider))).all(),
        circuits=(await reader.execute(sa.select(circuit.provider, circuit.model, is_open))).all(),
    )
