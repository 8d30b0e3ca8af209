"""What several endpoints answer with: the user's project, and the headers that go with one."""

from uuid import UUID

from fastapi import Response

from tallyframe.accounts.users import User
from tallyframe.api import schemas, views
from tallyframe.api.services import Services
from tallyframe.errors import NotFound
from tallyframe.generations import queries
from tallyframe.generations.states import LIVE

PRIVATE = "private, no-cache"


async def found(serving: Services, user: User, project_id: UUID) -> queries.Row:
    """Return the user's project with its latest generation. Raises NotFound."""
    row = await queries.project(serving.db, user.id, project_id)
    if row is None:
        raise NotFound
    return row


async def ordered(serving: Services, user: User, ref: UUID) -> schemas.Project:
    """Return the user's project with the generation `ref`, which need not be its latest any more. Raises NotFound.

    A key that an older version kept names the project itself.
    """
    row = await queries.ordered(serving.db, user.id, ref)
    return views.project(row or await found(serving, user, ref), serving.storages)


async def answer(serving: Services, user: User, project_id: UUID, response: Response) -> schemas.Project:
    """Return the user's project, and say in the headers which state it is in. Raises NotFound."""
    project = views.project(await found(serving, user, project_id), serving.storages)
    return with_headers(serving, project, response)


async def generation(serving: Services, user: User, generation_id: UUID) -> schemas.Generation:
    """Return the user's generation. Raises NotFound."""
    row = await queries.receipt(serving.db, user.id, generation_id)
    if row is None:
        raise NotFound
    return views.generation(row, serving.storages)


def with_retry_after(made: schemas.Generation, response: Response) -> schemas.Generation:
    """Say in the headers when to ask again, if it hasn't ended."""
    response.headers["Cache-Control"] = PRIVATE
    if made.status in LIVE:
        response.headers["Retry-After"] = str(views.retry_after(made.created_at))
    return made


def with_headers(
    serving: Services, project: schemas.Project, response: Response, *, is_current: bool = True
) -> schemas.Project:
    """Say in the headers which state the project is in, if it is in that, and when to ask again if it generates."""
    if is_current:
        response.headers["ETag"] = views.etag(project.id, project.status_sequence, serving.storages)
    response.headers["Cache-Control"] = PRIVATE
    if project.is_generating and project.generation:
        response.headers["Retry-After"] = str(views.retry_after(project.generation.created_at))
    return project
