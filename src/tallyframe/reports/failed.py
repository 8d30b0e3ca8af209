"""What failed in a span of time, for operators: how often each code, and the latest failures with their refunds."""

from collections.abc import Sequence

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.generations.states import Status
from tallyframe.generations.tables import generation_steps, generations
from tallyframe.ledger.history import charges, refund_entry
from tallyframe.reports.span import Span

#: How many of the latest failures are shown.
LATEST = 20

_SHOWN = ("id", "project_id", "user_id", "operation", "provider", "model", "error_code", "created_at", "finished_at")


async def by_code(reader: Reader, span: Span) -> Sequence[sa.RowMapping]:
    """Return (operation, error_code, count) of the generations accepted in the span that failed, most first."""
    row, count = generations.c, sa.func.count().label("count")
    query = sa.select(row.operation, row.error_code, count).where(_failed(span)).group_by(row.operation, row.error_code)
    return (await reader.execute(query.order_by(count.desc(), row.operation, row.error_code))).mappings().all()


async def latest(reader: Reader, span: Span) -> Sequence[sa.RowMapping]:
    """Return the failed ones that were the last to end, latest first, with the vendor's last words and the credits."""
    row, step = generations.c, generation_steps.c
    failed = sa.select(*(row[name] for name in _SHOWN)).where(_failed(span))
    last = failed.order_by(row.finished_at.desc(), row.id.desc()).limit(LATEST).subquery("last")
    words = sa.select(step.operator_message).where(step.generation_id == last.c.id, step.operator_message.is_not(None))
    money = charges(last.c.id)
    query = sa.select(
        last,
        words.order_by(step.attempt.desc()).limit(1).scalar_subquery().label("operator_message"),
        money.c.charged,
        money.c.refunded,
        refund_entry(last.c.id).label("refund_entry_id"),
    ).select_from(last.join(money, sa.true()))
    return (await reader.execute(query.order_by(last.c.finished_at.desc(), last.c.id.desc()))).mappings().all()


def _failed(span: Span) -> "sa.ColumnElement[bool]":
    return sa.and_(span.contains(), generations.c.status == Status.FAILED)
