"""What costs credits: a new project, a video of one, the same again. The debit is in the statement that accepts it."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from tallyframe.accounts.users import User
from tallyframe.api import answers, incoming, orders, pictures, schemas
from tallyframe.api.forms import NoBody
from tallyframe.api.idempotent import Idempotent, IdempotentRequest, canonical_body
from tallyframe.api.services import Services
from tallyframe.errors import Generating, NotFound, TooManyActiveGenerations, ValidationFailed
from tallyframe.generations import queries
from tallyframe.generations.accept import capabilities
from tallyframe.generations.accept.quote import quote
from tallyframe.generations.accept.submit import Accepted, NewProject, Order, submit, submit_again
from tallyframe.idempotency.keys import Key
from tallyframe.outbox.relay import wake

router = APIRouter(prefix="/v1/projects", tags=["projects"])


class PromptNotFound(NotFound):
    """There is no such prompt in the library."""

    code = "prompt_not_found"


@router.post("", status_code=202, openapi_extra=orders.OPENAPI_BODY)
async def create_project(request: Request, once: IdempotentRequest) -> schemas.Project:
    """Order an image or a video. The credits are debited now, and come back if it fails."""
    order, given = await orders.read(request, once.serving.settings.max_upload_bytes)

    async def place(key: Key | None) -> UUID:
        return await _rung(once.serving, await _new_project(once.serving, once.user, order, given, key))

    sent = [hashlib.sha256(item).hexdigest() for item in given if isinstance(item, bytes)]
    return await _answer(once, [canonical_body(order), sent], place)


@router.post("/{project_id}/video", status_code=202)
async def create_video(
    project_id: UUID, once: IdempotentRequest, order: incoming.NewVideo = incoming.NO_WISHES
) -> schemas.Project:
    """Order a video of this project; its image, if it has one, becomes the first frame."""
    serving, user = once.serving, once.user

    async def place(key: Key | None) -> UUID:
        row = await _latest(serving, user, project_id)
        first_frame = [row["image_asset_id"]] if row["image_asset_id"] else []
        shape = _shape(serving, "video", order.aspect_ratio or row["aspect_ratio"], order.duration_seconds)
        wanted = _input("video", order.prompt or row["prompt"], shape, first_frame)
        return await _again(serving, user, project_id, _order(serving, user, "video", wanted), key)

    return await _answer(once, canonical_body(order), place)


@router.post("/{project_id}/regenerate", status_code=202, dependencies=[NoBody])
async def regenerate(project_id: UUID, once: IdempotentRequest) -> schemas.Project:
    """Place the project's latest order again, and pay for it again."""
    serving, user = once.serving, once.user

    async def place(key: Key | None) -> UUID:
        row = await _latest(serving, user, project_id)
        _shape(serving, row["operation"], row["input"]["aspect_ratio"], row["input"].get("duration_seconds"))
        order = _order(serving, user, row["operation"], row["input"])
        return await _again(serving, user, project_id, order, key)

    return await _answer(once, None, place)


async def _answer(once: Idempotent, asked: object, place: Callable[[Key | None], Awaitable[UUID]]) -> schemas.Project:
    async def show(generation_id: UUID) -> schemas.Project:
        return await answers.ordered(once.serving, once.user, generation_id)

    project = await once.answer(schemas.Project, asked, place, show)
    headers = once.response.headers
    headers["Location"] = f"/v1/projects/{project.id}"
    # Of a replay, the generation may not be the one that the project shows by now.
    is_current = "Idempotent-Replayed" not in headers
    return answers.with_headers(once.serving, project, once.response, is_current=is_current)


async def _new_project(
    serving: Services, user: User, order: incoming.NewProject, given: orders.ImageInputs, key: Key | None
) -> Accepted:
    if order.prompt_id or not order.prompt:
        raise PromptNotFound
    if order.kind == "video" and len(given) > 1:
        raise ValidationFailed("A video starts from one picture at most.", pointer="/images")
    shape = _shape(serving, order.kind, order.aspect_ratio, order.duration_seconds)
    async with pictures.stored(serving, user.id, given) as kept:
        wanted = _input(order.kind, order.prompt, shape, kept.ids)
        ratio = shape["aspect_ratio"]
        draft = NewProject(order.kind, order.prompt, None, ratio, order.metadata, kept.ids, kept.new_rows)
        accepted = await submit(serving.db, _order(serving, user, order.kind, wanted), draft, key)
        if accepted is None:
            raise TooManyActiveGenerations
    return accepted


async def _again(serving: Services, user: User, project_id: UUID, order: Order, key: Key | None) -> UUID:
    accepted = await submit_again(serving.db, order, project_id, key)
    if accepted is None:
        await _latest(serving, user, project_id)
        limit = serving.settings.max_active_generations
        raise TooManyActiveGenerations if await queries.active(serving.db, user.id) >= limit else Generating
    return await _rung(serving, accepted)


async def _rung(serving: Services, accepted: Accepted) -> UUID:
    """Wake a worker up, and return the generation's id."""
    await wake(serving.queue)
    return accepted.generation_id


async def _latest(serving: Services, user: User, project_id: UUID) -> queries.Row:
    row = await queries.order_of(serving.db, user.id, project_id)
    if row is None:
        raise NotFound
    return row


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
        chosen = capabilities.choose_ratio(serving.offers.image, ratio)
        capabilities.check_shape(serving.offers.image, chosen)
        return {"aspect_ratio": chosen}
    offers, longest = serving.offers.video, serving.settings.max_video_seconds
    chosen = capabilities.choose_ratio(offers, ratio)
    length = capabilities.choose_seconds(offers, chosen, seconds, longest)
    capabilities.check_video(offers, chosen, length, longest)
    return {"aspect_ratio": chosen, "duration_seconds": length}
