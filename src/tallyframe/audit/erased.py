"""What was deleted: its words, data and files go soon after."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tallyframe.assets.tables import assets, erased_files
from tallyframe.audit.base import Finding, Invariant, View
from tallyframe.audit.looking import ago, counted, look_again, words
from tallyframe.audit.steps import LONGEST, MOST_RINGS
from tallyframe.generations.end.erase import names_asset
from tallyframe.generations.tables import ERASE_GENERATION, ERASE_PROJECT, ERASED_INPUT, generations
from tallyframe.outbox.rows import not_queued
from tallyframe.outbox.tables import outbox
from tallyframe.projects.tables import projects

_row = generations.c

#: What the version before left of an order's fields when it erased it; none says anything about anybody.
LEFT_BEFORE = ["aspect_ratio", "images", "duration_seconds", "first_frame"]


class DeletedIsErased(Invariant):
    """Something of what was deleted is still there, and nobody will be called to remove it, or nobody can."""

    name = "deleted_is_erased"
    meaning = (
        "Nothing is left of deleted projects and generations, or there is a call to erase it, less than a day old."
    )

    async def check(self, view: View) -> Finding:
        """Look, leaving workers their time."""
        kept = _row.input.op("-", return_type=JSONB)(sa.literal(LEFT_BEFORE, ARRAY(sa.Text)))
        says = _row.output.is_not(None) | (kept != sa.cast(ERASED_INPUT, JSONB))
        of_project = sa.exists().where(_row.project_id == projects.c.id, says)
        alone = generations.c.project_id.is_(None)
        others = generations.alias("others")
        users = (others.c.user_id == assets.c.user_id) & others.c.deleted_at.is_(None) & names_asset(others)
        is_used = sa.exists().where(users).correlate(assets)
        its_own = sa.exists().where(assets.c.generation_id == _row.id, assets.c.project_id.is_(None), ~is_used)
        queries = (
            _left(projects, ERASE_PROJECT, of_project | sa.exists().where(assets.c.project_id == projects.c.id)),
            _left(generations, ERASE_GENERATION, says | its_own).where(alone),
        )
        deleted = [sa.select(table.c.id).where(table.c.deleted_at.is_not(None)) for table in (projects, generations)]
        about = counted(sa.union_all(*deleted).subquery())
        both = sa.union_all(*queries).subquery("both")
        return await look_again(view, about, sa.select(both.c.id, both.c.detail))


def _left(table: sa.Table, kind: str, something: "sa.ColumnElement[bool]") -> "sa.Select[object]":
    """Return the query for deleted rows of which something, or a file, is left and nobody will remove it."""
    row = table.c
    unheard = (outbox.c.kind == kind) & (outbox.c.ref == row.id) & (outbox.c.rings > MOST_RINGS)
    alone = not_queued(kind, row.id) | ((row.deleted_at < ago(LONGEST)) & sa.exists().where(unheard))
    left = something | sa.exists().where(erased_files.c.project_id == row.id)
    detail = words("deleted at %s, and not erased", row.deleted_at).label("detail")
    return sa.select(row.id, detail).where(row.deleted_at.is_not(None), alone, left)
