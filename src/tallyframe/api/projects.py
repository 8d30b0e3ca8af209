"""Projects: poll, cancel, publish, delete. What costs credits is in orders.py."""

from typing import Annotated, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from tallyframe.accounts.users import User
from tallyframe.api import cursors, schemas, views
from tallyframe.api.answers import answer, found
from tallyframe.api.conditions import KnownTags, is_among, known_tags
from tallyframe.api.dependencies import (
    CurrentUser,
    UserServices,
    caller,
    read_id,
    services,
)
from tallyframe.api.direct import directly
from tallyframe.api.forms import NoBody
from tallyframe.api.routes import SignedInFirst
from tallyframe.db import Database
from tallyframe.errors import (
    Generating,
    NotCancelable,
    NotFound,
    NothingToPublish,
    TallyframeError,
)
from tallyframe.generations import queries
from tallyframe.generations.end import erase, settle
from tallyframe.generations.tables import ERASE_PROJECT
from tallyframe.operations.fields import Text
from tallyframe.projects import publish
from tallyframe.storages.base import StorageError, Storages

log = structlog.get_logger()

router = APIRouter(prefix="/v1/projects", tags=["projects"], route_class=SignedInFirst)

CANCELED = "You canceled this. Your credits are back."


@router.get("")
async def list_projects(
    user: CurrentUser,
    serving: UserServices,
    status: Annotated[
        Literal["pending", "processing", "draft", "published", "failed", "canceled"] | None, Query()
    ] = None,
    kind: Annotated[Annotated[Text, Field(min_length=1, max_length=64)] | None, Query()] = None,
    cursor: cursors.Cursor = None,
    limit: cursors.Limit = 20,
) -> schemas.Projects:
    """Return the user's projects, newest first."""
    before = cursors.decode(cursor, UUID)
    if kind:
        serving.terms.operation(kind, pointer="/kind")
    rows = await queries.listed(
        serving.db, user.id, status=status, kind=kind, before=before[0] if before else None, limit=limit + 1
    )
    page, next_cursor = cursors.cut(rows, limit, cursors.by_id)
    data = [views.project(row, serving.storages) for row in page]
    return schemas.Projects(data=data, next_cursor=next_cursor)


async def _poll(request: Request) -> Response | None:
    """Answer most polls, and all that are right."""
    project_id = read_id(request.path_params["project_id"])
    if project_id is None:
        return None
    serving = await services(request)
    user = await caller(request, serving)
    return await _polled(serving.db.as_user(user.id), serving.storages, user, project_id, await known_tags(request))


@router.get("/{project_id}", response_model=schemas.Project, responses={304: {"description": "Unchanged"}})
@directly(_poll)
async def get_project(project_id: UUID, user: CurrentUser, serving: UserServices, if_none_match: KnownTags) -> Response:
    """Return the project. While it is generating, `Retry-After` says when to ask again."""
    return await _polled(serving.db, serving.storages, user, project_id, if_none_match)


async def _polled(db: Database, storages: Storages, user: User, project_id: UUID, tags: str | None) -> Response:
    """Answer a poll of a client that has the states with these `tags`. Raises NotFound."""
    if tags:
        version = await queries.project_version(db, user.id, project_id)
        if version is None:
            raise NotFound
        etag = views.etag(project_id, version.status_sequence, storages)
        if is_among(etag, tags):
            headers = {"ETag": etag, "Cache-Control": views.PRIVATE}
            if since := version.generating_since:
                headers["Retry-After"] = str(views.retry_after(since))
            return Response(status_code=304, headers=headers)
    row = await queries.project(db, user.id, project_id)
    if row is None:
        raise NotFound
    response = Response(media_type="application/json")
    response.body = views.as_json(views.with_headers(views.project(row, storages), response, storages))
    response.headers["Content-Length"] = str(len(response.body))
    return response


@router.post("/{project_id}/cancel", dependencies=[NoBody])
async def cancel(project_id: UUID, response: Response, user: CurrentUser, serving: UserServices) -> schemas.Project:
    """Stop what is generating; the credits come back."""
    row = await found(serving, user, project_id)
    if not await settle.cancel(serving.db, row["generation_id"], CANCELED):
        raise NotCancelable
    return await answer(serving, user, project_id, response)


@router.post("/{project_id}/publish", dependencies=[NoBody])
async def publish_project(
    project_id: UUID, response: Response, user: CurrentUser, serving: UserServices
) -> schemas.Project:
    """Show the project in Explore."""
    if not await publish.publish(serving.db, user.id, project_id):
        await found(serving, user, project_id)
        raise NothingToPublish
    return await answer(serving, user, project_id, response)


@router.post("/{project_id}/unpublish", dependencies=[NoBody])
async def unpublish_project(
    project_id: UUID, response: Response, user: CurrentUser, serving: UserServices
) -> schemas.Project:
    """Take the project out of Explore."""
    if not await publish.unpublish(serving.db, user.id, project_id):
        raise NotFound
    return await answer(serving, user, project_id, response)


@router.delete("/{project_id}", status_code=204)
async def delete_project(project_id: UUID, user: CurrentUser, serving: UserServices) -> None:
    """Delete the project and its media. The ledger and the receipts stay."""
    if not await erase.delete(serving.db, user.id, project_id):
        await found(serving, user, project_id)
        raise Generating
    try:
        await erase.erase(serving.db, serving.storages.by_name, erase.Subject(project_id, ERASE_PROJECT))
    except (StorageError, TallyframeError) as error:
        # The outbox row is committed, so the worker will go on trying.
        log.warning("erase_deferred", project_id=str(project_id), error=str(error))


@router.get("/{project_id}/generations")
async def list_generations(project_id: UUID, user: CurrentUser, serving: UserServices) -> schemas.Generations:
    """Return the project's receipts, newest first."""
    await found(serving, user, project_id)
    rows = await queries.receipts(serving.db, user.id, project_id)
    return schemas.Generations(data=[views.generation(row, serving.storages) for row in rows])
