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
    Services,
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
from tallyframe.storages.base import StorageError

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
    window = cursors.window(cursor, limit)
    if kind:
        serving.terms.operation(kind, pointer="/kind")
    page = await queries.listed(serving.db, user.id, window, status=status, kind=kind)
    data = [views.project(row, serving.storages) for row in page.rows]
    return schemas.Projects(data=data, next_cursor=cursors.after(page))


async def _poll(request: Request) -> Response | None:
    """Answer most polls, and all that are right."""
    project_id = read_id(request.path_params["project_id"])
    if project_id is None:
        return None
    serving = await services(request)
    user = await caller(request, serving)
    return await _polled(serving, serving.db.as_user(user.id), user, project_id, await known_tags(request))


@router.get("/{project_id}", response_model=schemas.Project, responses={304: {"description": "Unchanged"}})
@directly(_poll)
async def get_project(project_id: UUID, user: CurrentUser, serving: UserServices, if_none_match: KnownTags) -> Response:
    """Return the project. While it is generating, `Retry-After` says when to ask again."""
    return await _polled(serving, serving.db, user, project_id, if_none_match)


async def _polled(serving: Services, db: Database, user: User, project_id: UUID, tags: str | None) -> Response:
    """Answer a poll of a client that has the states with these `tags`. Raises NotFound."""
    storages = serving.storages
    if tags and (unchanged := await _unchanged(serving, db, user, project_id, tags)):
        return unchanged
    row = await queries.project(db, user.id, project_id)
    if row is None:
        raise NotFound
    response = Response(media_type="application/json")
    response.body = views.as_json(views.with_headers(views.project(row, storages), response, storages))
    response.headers["Content-Length"] = str(len(response.body))
    return response


async def _unchanged(serving: Services, db: Database, user: User, project_id: UUID, tags: str) -> Response | None:
    """Return the answer to a client that has the project's state; None if it hasn't. Raises NotFound.

    A client whose one tag is that of the state which we read last, a moment ago, has that state. One with another tag
    may have seen a newer state than we have, so we read again.
    """
    known = serving.states.get((user.id, project_id))
    if known and tags == (etag := views.etag(project_id, known.status_sequence, serving.storages)):
        return _not_modified(etag, known)
    version = await queries.project_version(db, user.id, project_id)
    if version is None:
        raise NotFound
    serving.states.remember((user.id, project_id), version)
    etag = views.etag(project_id, version.status_sequence, serving.storages)
    return _not_modified(etag, version) if is_among(etag, tags) else None


def _not_modified(etag: str, version: queries.Version) -> Response:
    headers = {"ETag": etag, "Cache-Control": views.PRIVATE}
    if since := version.generating_since:
        headers["Retry-After"] = str(views.retry_after(since))
    return Response(status_code=304, headers=headers)


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
    serving.states.forget((user.id, project_id))
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
