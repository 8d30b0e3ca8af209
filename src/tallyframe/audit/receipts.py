"""Generations that have ended: there is a result or an error, and the project shows it."""

import sqlalchemy as sa

from tallyframe.assets.tables import assets
from tallyframe.audit.base import Finding, Invariant, View
from tallyframe.audit.looking import counted, look, words
from tallyframe.generations.tables import generations
from tallyframe.projects.tables import has_media, project_media, projects

_row = generations.c
_project = projects.c
_is_kept = _project.deleted_at.is_(None)  # the media of a deleted project go with it


class SuccessHasAResult(Invariant):
    """A generation that has succeeded, and been paid, without a result."""

    name = "success_has_a_result"
    meaning = "Each generation that succeeded has an output or data, unless it or its project was deleted."

    async def check(self, view: View) -> Finding:
        """Look."""
        succeeded = _row.status == "succeeded"
        nothing = _row.output.is_(None) & ~sa.exists().where(assets.c.generation_id == _row.id)
        without = sa.select(_row.id, words("%s succeeded at %s, without a result", _row.operation, _row.finished_at))
        kept = without.outerjoin(projects, _project.id == _row.project_id).where(_is_kept, _row.deleted_at.is_(None))
        return await look(view, counted(generations, succeeded), kept.where(succeeded, nothing))


class FailureHasAReason(Invariant):
    """A failed or canceled generation without a code or a message."""

    name = "failure_has_a_reason"
    meaning = "Each generation that failed or was canceled has an error code and words for its user."

    async def check(self, view: View) -> Finding:
        """Look."""
        failed = _row.status.in_(("failed", "canceled"))
        silent = sa.or_(_row.error_code.is_(None), sa.func.coalesce(_row.error_message, "") == "")
        query = sa.select(_row.id, words("%s at %s, without a word", _row.status, _row.finished_at))
        return await look(view, counted(generations, failed), query.where(failed, silent))


class ProjectsShowTheirLatest(Invariant):
    """A project whose status differs from that of its latest generation."""

    name = "projects_show_their_latest"
    meaning = "Each project's status is that of its latest generation, or draft if it has media by then."

    async def check(self, view: View) -> Finding:
        """Look."""
        is_over = _row.status.in_(("failed", "canceled"))
        said = sa.case((_row.status == "succeeded", "draft"), (is_over & has_media(), "draft"), else_=_row.status)
        both = projects.outerjoin(generations, (_row.id == _project.generation_id) & (_row.project_id == _project.id))
        detail = words("shows %s, its generation %s is %s", _project.status, _project.generation_id, _row.status)
        differs = sa.or_(_row.id.is_(None), _is_kept & (_project.status != said))
        return await look(view, counted(projects), sa.select(_project.id, detail).select_from(both).where(differs))


class ShownMediaExist(Invariant):
    """A project that is a draft, or published, without media."""

    name = "shown_media_exist"
    meaning = "Each project that is a draft or published has media, of which each is an asset."

    async def check(self, view: View) -> Finding:
        """Look."""
        says = (_project.status == "draft") | _project.is_published
        row = project_media.c
        lost = sa.exists().where(row.project_id == _project.id, ~sa.exists().where(assets.c.id == row.asset_id))
        wrong = _is_kept & ((says & ~has_media()) | lost)
        detail = words("%s, published %s, without all of its media", _project.status, _project.is_published)
        return await look(view, counted(projects, _is_kept), sa.select(_project.id, detail).where(wrong))
