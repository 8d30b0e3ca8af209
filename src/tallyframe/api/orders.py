"""What costs credits: a new project, a video of one, the same again, or any operation. All go through `place`."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from tallyframe.api import answers, bodies, incoming, schemas
from tallyframe.api.forms import NoBody
from tallyframe.api.idempotent import Idempotent, IdempotentRequest, canonical_body
from tallyframe.api.pictures import Given, given, stored
from tallyframe.errors import Generating, NotFound, PriceChanged, TooManyActiveGenerations, ValidationFailed
from tallyframe.generations import queries
from tallyframe.generations.accept.submit import Accepted, NewProject, submit, submit_for
from tallyframe.idempotency.keys import Key
from tallyframe.operations.base import MAIN, Operation
from tallyframe.outbox.relay import wake

router = APIRouter(prefix="/v1", tags=["orders"])


class PromptNotFound(NotFound):
    """There is no such prompt in the library."""

    code = "prompt_not_found"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be ordered: an operation with its fields, for a new project, for one that is there, or for none."""

    operation: Operation[Any]
    fields: Mapping[str, Any]
    pictures: Sequence[Given] = ()
    project: NewProject | None = None
    project_id: UUID | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    max_credits: int | None = None
    below: tuple[str, ...] = ()  # where its fields stand in the request


@router.post("/projects", status_code=202, openapi_extra=bodies.OPENAPI_BODY)
async def create_project(request: Request, once: IdempotentRequest) -> schemas.Project:
    """Order an image or a video. The credits are debited now, and come back if it fails."""
    asked, sources = await bodies.read(request, once.serving.settings.limits.max_upload_bytes)

    async def create(key: Key | None) -> UUID:
        if asked.prompt_id or not asked.prompt:
            raise PromptNotFound
        operation = once.serving.terms.operation(asked.kind, pointer="/kind")
        if operation.slot != MAIN:
            raise ValidationFailed(f"{asked.kind!r} makes no media, so it makes no project.", pointer="/kind")
        images = [given(source, f"/images/{place}") for place, source in enumerate(sources)]
        ids = [image.id for image in images]
        fields = asked.model_dump(include={"prompt", "aspect_ratio", "duration_seconds"}, exclude_none=True)
        fields |= {"images": ids} if ids else {}
        project = NewProject(asked.kind, asked.prompt, None, asked.aspect_ratio, asked.metadata, ids)
        return await place(once, Wanted(operation, fields, images, project), key)

    sent = [hashlib.sha256(item).hexdigest() for item in sources if isinstance(item, bytes)]
    return await _project(once, [canonical_body(asked), sent], create)


@router.post("/projects/{project_id}/video", status_code=202)
async def create_video(
    project_id: UUID, once: IdempotentRequest, asked: incoming.NewVideo = incoming.NO_WISHES
) -> schemas.Project:
    """Order a video of this project; its image, if it has one, becomes the first frame."""

    async def create(key: Key | None) -> UUID:
        row = await _latest(once, project_id)
        images = [given(row["image_asset_id"], "/images/0")] if row["image_asset_id"] else []
        kept = {name: row[name] for name in ("prompt", "aspect_ratio") if row[name]}
        fields = {**kept, **asked.model_dump(exclude_none=True), "images": [image.id for image in images]}
        operation = once.serving.terms.operation("video", pointer="")
        return await place(once, Wanted(operation, fields, images, project_id=project_id), key)

    return await _project(once, canonical_body(asked), create)


@router.post("/projects/{project_id}/regenerate", status_code=202, dependencies=[NoBody])
async def regenerate(project_id: UUID, once: IdempotentRequest) -> schemas.Project:
    """Place the project's latest order again, and pay for it again."""

    async def create(key: Key | None) -> UUID:
        row = await _latest(once, project_id)
        terms = once.serving.terms
        order = terms.again(once.user, terms.operation(row["operation"], pointer=""), row["input"])
        accepted = await submit_for(once.serving.db, order, project_id, key)
        return await _accepted(once, accepted, project_id)

    return await _project(once, None, create)


@router.post("/generations", status_code=202)
async def create_generation(asked: incoming.NewGeneration, once: IdempotentRequest) -> schemas.Generation:
    """Order any operation, with or without a project. The credits are debited now, and come back if it fails."""

    async def create(key: Key | None) -> UUID:
        operation = once.serving.terms.operation(asked.operation, pointer="/operation")
        with bodies.below("input"):
            fields, pictures = bodies.read_pictures(operation.fields, asked.input)
        wanted = Wanted(
            operation,
            fields,
            pictures,
            project_id=asked.project_id,
            metadata=asked.metadata,
            max_credits=asked.max_credits,
            below=("input",),
        )
        return await place(once, wanted, key)

    async def render(generation_id: UUID) -> schemas.Generation:
        return await answers.generation(once.serving, once.user, generation_id)

    generation = await once.answer(schemas.Generation, canonical_body(asked), create, render)
    once.response.headers["Location"] = f"/v1/generations/{generation.id}"
    return answers.with_retry_after(generation, once.response)


async def place(once: Idempotent, wanted: Wanted, key: Key | None) -> UUID:
    """Accept the order, with its pictures stored, wake a worker up, and return the generation's id.

    Raises our errors and pydantic's: whatever is refused leaves nothing behind.
    """
    serving, project = once.serving, wanted.project
    with bodies.below(*wanted.below):
        order = serving.terms.accept(once.user, wanted.operation, wanted.fields)
    if wanted.max_credits is not None and order.credits > wanted.max_credits:
        raise PriceChanged(credits=order.credits, max_credits=wanted.max_credits)
    async with stored(serving, once.user.id, wanted.pictures) as new_assets:
        order = replace(order, metadata=wanted.metadata, new_assets=new_assets)
        if wanted.project_id:
            accepted = await submit_for(serving.db, order, wanted.project_id, key)
        else:
            shaped = project and replace(project, aspect_ratio=order.input.get("aspect_ratio"))
            accepted = await submit(serving.db, order, shaped, key)
        return await _accepted(once, accepted, wanted.project_id)


async def _accepted(once: Idempotent, accepted: Accepted | None, project_id: UUID | None) -> UUID:
    """Wake a worker up, and return the generation's id; say why it was refused where it was."""
    if accepted is None:
        if project_id:
            await _latest(once, project_id)
        limit = once.serving.settings.limits.max_active_generations
        full = not project_id or await queries.active(once.serving.db, once.user.id) >= limit
        raise TooManyActiveGenerations if full else Generating
    await wake(once.serving.queue)
    return accepted.generation_id


async def _latest(once: Idempotent, project_id: UUID) -> queries.Row:
    row = await queries.order_of(once.serving.db, once.user.id, project_id)
    if row is None:
        raise NotFound
    return row


async def _project(once: Idempotent, asked: object, create: Callable[[Key | None], Awaitable[UUID]]) -> schemas.Project:
    async def render(generation_id: UUID) -> schemas.Project:
        return await answers.ordered(once.serving, once.user, generation_id)

    project = await once.answer(schemas.Project, asked, create, render)
    headers = once.response.headers
    headers["Location"] = f"/v1/projects/{project.id}"
    # Of a replay, the generation may not be the one that the project shows by now.
    is_current = "Idempotent-Replayed" not in headers
    return answers.with_headers(once.serving, project, once.response, is_current=is_current)
