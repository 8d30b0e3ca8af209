"""What several endpoints answer with: the user's project or generation, or that it isn't there."""

from uuid import UUID

from fastapi import Response

from tallyframe.accounts.users import User
from tallyframe.api import schemas, views
from tallyframe.api.dependencies import Services
from tallyframe.errors import NotFound
from tallyframe.generations import queries


async def found(serving: Services, user: User, project_id: UUID) -> queries.Row:
    """Return the user's project with its latest generation. Raises NotFound."""
    row = await queries.project(serving.db, user.id, project_id)
    if row is None:
        raise NotFound
    return row


async def answer(serving: Services, user: User, project_id: UUID, response: Response) -> schemas.Project:
    """Return the user's project, which has just been changed, and say in the headers which state it is in.

    Raises NotFound.
    """
    serving.states.forget((user.id, project_id))
    project = views.project(await found(serving, user, project_id), serving.storages)
    return views.with_headers(project, response, serving.storages)


async def generation(serving: Services, user: User, generation_id: UUID) -> schemas.Generation:
    """Return the user's generation. Raises NotFound."""
    row = await queries.receipt(serving.db, user.id, generation_id)
    if row is None:
        raise NotFound
    return views.generation(row, serving.storages)
