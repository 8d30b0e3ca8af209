"""Projects: order, poll, cancel, order again, publish, delete."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query, Request, Response

from tallyframe.accounts.users import User
from tallyframe.api import cursors, incoming, orders, pictures, schemas, views
from tallyframe.api.forms import NoBody
from tallyframe.api.services import CurrentUser, Own, Services
from tallyframe.errors import (
    Generating,
    NotCancelable,
    NotFound,
    NothingToPublish,
    TallyframeError,
    TooManyActiveGenerations,
    ValidationFailed,
)
from tallyframe.generations import erase, offered, queries, settle
from tallyframe.generations.quote import quote
from tallyframe.generations.submit import RUN_GENERATION, Accepted, Draft, Order, submit, submit_again
from tallyframe.outbox.relay import ring
from tallyframe.projects import publish
from tallyframe.storages.base import StorageError

log = structlog.get_logger()

router = APIRouter(prefix="/v1/projects", tags=["projects"])

PRIVATE = "private, no-cache"
CANCELED = "You canceled this. Your credits are back."


class PromptNotFound(NotFound):
    """There is no such prompt in the library."""

    code = "prompt_not_found"


@router.post("", status_code=202, openapi_extra=orders.OPENAPI_BODY)
async def create_project(request: Request, response: Response, user: CurrentUser, serving: Own) -> schemas.Project:
    """Order an image or a video. The credits are debited now, and come back if it fails."""
    order, given = await orders.read(request, serving.settings.max_upload_bytes)
    if order.prompt_id or not order.prompt:
        raise PromptNotFound
    if order.kind == "video" and len(given) > 1:
        raise ValidationFailed("A video starts from one picture at most.", pointer="/images")
    shape = _shape(serving, order.kind, order.aspect_ratio, order.duration_seconds)
    async with pictures.stored(serving, user.id, given) as kept:
        wanted = _input(order.kind, order.prompt, shape, kept.ids)
        ratio = shape["aspect_ratio"]
        draft = Draft(order.kind, order.prompt, None, ratio, order.metadata, kept.ids, kept.new_rows)
        accepted = await submit(serving.db, _order(serving, user, order.kind, wanted), draft)
        if accepted is None:
            raise TooManyActiveGenerations
    return await _answer_accepted(serving, user, accepted, response)


@router.get("")
async def list_projects(
    user: CurrentUser,
    serving: Own,
    status: Annotated[
        Literal["pending", "processing", "draft", "published", "failed", "canceled"] | None, Query()
    ] = None,
    kind: Annotated[incoming.Kind | None, Query()] = None,
    cursor: cursors.Cursor = None,
    limit: cursors.Limit = 20,
) -> schemas.Projects:
    """Return the user's projects, newest first."""
    before = cursors.decode(cursor, UUID)
    rows = await queries.listed(
        serving.db, user.id, status=status, kind=kind, before=before[0] if before else None, limit=limit + 1
    )
    next_cursor = cursors.encode(str(rows[limit - 1]["id"])) if len(rows) > limit else None
    data = [views.project(row, serving.storages) for row in rows[:limit]]
    return schemas.Projects(data=data, next_cursor=next_cursor)


@router.get("/{project_id}", response_model=schemas.Project, responses={304: {"description": "Unchanged"}})
async def get_project(
    project_id: UUID,
    response: Response,
    user: CurrentUser,
    serving: Own,
    if_none_match: Annotated[str | None, Header()] = None,
) -> schemas.Project | Response:
    """Return the project. While it is generating, `Retry-After` says when to ask again."""
    if if_none_match and (unchanged := await _unchanged(serving, user, project_id, if_none_match)):
        return unchanged
    return await _answer(serving, user, project_id, response)


@router.post("/{project_id}/video", status_code=202)
async def create_video(
    project_id: UUID,
    response: Response,
    user: CurrentUser,
    serving: Own,
    order: incoming.NewVideo = incoming.NO_WISHES,
) -> schemas.Project:
    """Order a video of this project; its image, if it has one, becomes the first frame."""
    row = await _latest(serving, user, project_id)
    first_frame = [row["image_asset_id"]] if row["image_asset_id"] else []
    shape = _shape(serving, "video", order.aspect_ratio or row["aspect_ratio"], order.duration_seconds)
    wanted = _input("video", order.prompt or row["prompt"], shape, first_frame)
    return await _order_again(serving, user, project_id, "video", wanted, response)


@router.post("/{project_id}/regenerate", status_code=202, dependencies=[NoBody])
async def regenerate(project_id: UUID, response: Response, user: CurrentUser, serving: Own) -> schemas.Project:
    """Place the project's latest order again, and pay for it again."""
    row = await _latest(serving, user, project_id)
    _shape(serving, row["operation"], row["input"]["aspect_ratio"], row["input"].get("duration_seconds"))
    return await _order_again(serving, user, project_id, row["operation"], row["input"], response)


@router.post("/{project_id}/cancel", dependencies=[NoBody])
async def cancel(project_id: UUID, response: Response, user: CurrentUser, serving: Own) -> schemas.Project:
    """Stop what is generating; the credits come back."""
    row = await _found(serving, user, project_id)
    if not await settle.cancel(serving.db, row["generation_id"], CANCELED):
        raise NotCancelable
    return await _answer(serving, user, project_id, response)


@router.post("/{project_id}/publish", dependencies=[NoBody])
async def publish_project(project_id: UUID, response: Response, user: CurrentUser, serving: Own) -> schemas.Project:
    """Show the project in Explore."""
    if not await publish.publish(serving.db, user.id, project_id):
        await _found(serving, user, project_id)
        raise NothingToPublish
    return await _answer(serving, user, project_id, response)


@router.post("/{project_id}/unpublish", dependencies=[NoBody])
async def unpublish_project(project_id: UUID, response: Response, user: CurrentUser, serving: Own) -> schemas.Project:
    """Take the project out of Explore."""
    if not await publish.unpublish(serving.db, user.id, project_id):
        raise NotFound
    return await _answer(serving, user, project_id, response)


@router.delete("/{project_id}", status_code=204)
async def delete_project(project_id: UUID, user: CurrentUser, serving: Own) -> None:
    """Delete the project and its media. The ledger and the receipts stay."""
    if not await erase.delete(serving.db, user.id, project_id):
        await _found(serving, user, project_id)
        raise Generating
    try:
        await erase.erase(serving.db, serving.storages.by_name, project_id)
    except (StorageError, TallyframeError) as error:
        # The outbox row is committed, so the worker will go on trying.
        log.warning("erase_deferred", project_id=str(project_id), error=str(error))


@router.get("/{project_id}/generations")
async def list_generations(project_id: UUID, user: CurrentUser, serving: Own) -> schemas.Generations:
    """Return the project's receipts, newest first."""
    await _found(serving, user, project_id)
    rows = await queries.receipts(serving.db, user.id, project_id)
    return schemas.Generations(data=[views.generation(row, serving.storages) for row in rows])


async def _found(serving: Services, user: User, project_id: UUID) -> queries.Row:
    row = await queries.project(serving.db, user.id, project_id)
    if row is None:
        raise NotFound
    return row


async def _latest(serving: Services, user: User, project_id: UUID) -> queries.Row:
    row = await queries.order_of(serving.db, user.id, project_id)
    if row is None:
        raise NotFound
    return row


async def _unchanged(serving: Services, user: User, project_id: UUID, if_none_match: str) -> Response | None:
    """Return a 304 if the client has the project's state already. Raises NotFound."""
    version = await queries.project_version(serving.db, user.id, project_id)
    if version is None:
        raise NotFound
    etag = views.etag(project_id, version["status_sequence"], serving.storages)
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    if etag not in tags and "*" not in tags:
        return None
    headers = {"ETag": etag, "Cache-Control": PRIVATE}
    if since := version["generating_since"]:
        headers["Retry-After"] = str(views.retry_after(since))
    return Response(status_code=304, headers=headers)


async def _answer(serving: Services, user: User, project_id: UUID, response: Response) -> schemas.Project:
    project = views.project(await _found(serving, user, project_id), serving.storages)
    response.headers["ETag"] = views.etag(project_id, project.status_sequence, serving.storages)
    response.headers["Cache-Control"] = PRIVATE
    if project.is_generating and project.generation:
        response.headers["Retry-After"] = str(views.retry_after(project.generation.created_at))
    return project


async def _answer_accepted(serving: Services, user: User, accepted: Accepted, response: Response) -> schemas.Project:
    await ring(serving.bell, RUN_GENERATION, accepted.generation_id)
    response.headers["Location"] = f"/v1/projects/{accepted.project_id}"
    return await _answer(serving, user, accepted.project_id, response)


async def _order_again(
    serving: Services, user: User, project_id: UUID, operation: str, wanted: dict[str, Any], response: Response
) -> schemas.Project:
    accepted = await submit_again(serving.db, _order(serving, user, operation, wanted), project_id)
    if accepted is None:
        await _latest(serving, user, project_id)
        limit = serving.settings.max_active_generations
        raise TooManyActiveGenerations if await queries.active(serving.db, user.id) >= limit else Generating
    return await _answer_accepted(serving, user, accepted, response)


def _order(serving: Services, user: User, operation: str, wanted: dict[str, Any]) -> Order:
    bought = serving.operations[operation]
    price = quote(bought, bought.Input.model_validate(wanted), serving.settings.price_list)
    limits = serving.settings
    return Order(
        user.id, user.account_id, operation, wanted, price, limits.max_active_generations, limits.generation_max_age
    )


def _input(kind: str, prompt: str, shape: dict[str, Any], images: Sequence[UUID]) -> dict[str, Any]:
    ids = [str(image) for image in images]
    pictures = {"images": ids} if kind == "image" else {"first_frame": ids[0] if ids else None}
    return {"prompt": prompt, **shape, **pictures}


def _shape(serving: Services, kind: str, ratio: str | None, seconds: int | None) -> dict[str, Any]:
    """Return the aspect ratio and, of a video, the length; raise ValidationFailed for what no provider here makes."""
    if kind == "image":
        chosen = offered.choose_ratio(serving.offers.image, ratio)
        offered.check_shape(serving.offers.image, chosen)
        return {"aspect_ratio": chosen}
    offers, longest = serving.offers.video, serving.settings.max_video_seconds
    chosen = offered.choose_ratio(offers, ratio)
    length = offered.choose_seconds(offers, chosen, seconds, longest)
    offered.check_video(offers, chosen, length, longest)
    return {"aspect_ratio": chosen, "duration_seconds": length}
