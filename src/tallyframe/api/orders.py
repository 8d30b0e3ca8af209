"""What costs credits: a new project, a video of one, a project's latest order again, or any operation.

New orders go through `place`; an order that is repeated is kept already, so only its price and offer are checked again.
"""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response

from tallyframe.api import answers, bodies, incoming, schemas, views
from tallyframe.api.dependencies import (
    Idempotent,
    IdempotentRequest,
    caller,
    idempotent,
    services,
)
from tallyframe.api.direct import directly
from tallyframe.api.forms import NoBody
from tallyframe.api.pictures import Given, check_known, given, stored
from tallyframe.api.routes import SignedInFirst
from tallyframe.errors import (
    Generating,
    NotFound,
    PriceChanged,
    TallyframeError,
    TooManyActiveGenerations,
    ValidationFailed,
)
from tallyframe.generations import queries
from tallyframe.generations.accept.order import Accepted, NewProject, Order, submit_fresh
from tallyframe.generations.accept.submit import submit, submit_for
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Kept, Key, Made
from tallyframe.outbox.relay import wake

router = APIRouter(prefix="/v1", tags=["orders"], route_class=SignedInFirst)


class PromptNotFound(NotFound):
    """There is no such prompt in the library."""

    code = "prompt_not_found"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be ordered: for a new project, for one that is there, or for none."""

    order: Order
    pictures: Sequence[Given] = ()
    project: NewProject | None = None
    project_id: UUID | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether what is written tells all of the answer: then it is kept in the same statement, or found."""
        pictures = self.project.images if self.project else [each for each in self.pictures if each.is_new]
        return self.project_id is None and not pictures


async def _create(request: Request) -> Response:
    """Answer all orders."""
    serving = await services(request)
    user = await caller(request, serving)
    response = Response(status_code=202, media_type="application/json")
    once = await idempotent(request, response, user, serving, request.headers.get("idempotency-key"))
    response.body = views.as_json(await create_project(request, once))
    response.headers["Content-Length"] = str(len(response.body))
    return response


@router.post("/projects", status_code=202, openapi_extra=bodies.OPENAPI_BODY)
@directly(_create)
async def create_project(request: Request, once: IdempotentRequest) -> schemas.Project:
    """Order an image or a video. The credits are debited now, and come back if it fails."""
    asked, sources = await bodies.read(request, once.serving.settings.limits.max_upload_bytes)

    async def create(key: Key | None) -> Made | Kept:
        if asked.prompt_id:
            raise PromptNotFound
        if not asked.prompt:
            raise ValidationFailed("A prompt or a prompt_id is needed.", pointer="/prompt")
        terms = once.serving.terms
        operation = terms.operation(asked.kind, pointer="/kind")
        if "media" not in operation.gives:
            raise ValidationFailed(f"{asked.kind!r} makes no media, so it makes no project.", pointer="/kind")
        images = [given(source, f"/images/{place}") for place, source in enumerate(sources)]
        ids = [image.id for image in images]
        fields = asked.model_dump(include={"prompt", "aspect_ratio", "duration_seconds"}, exclude_none=True)
        fields |= {"images": ids} if ids else {}
        order = terms.order(once.user, operation, fields)
        shape = order.input.get("aspect_ratio")
        project = NewProject(asked.kind, asked.prompt, None, shape, asked.metadata, ids)
        return await place(once, Wanted(order, images, project), key)

    sent = [hashlib.sha256(item).hexdigest() for item in sources if isinstance(item, bytes)]
    project = await once.answer(schemas.Project, [asked, sent], create, partial(_rendered, once), finds=True)
    return views.with_headers(project, once.response, once.serving.storages, ordered=True)


@router.post("/projects/{project_id}/video", status_code=202)
async def create_video(
    project_id: UUID, once: IdempotentRequest, asked: incoming.NewVideo = incoming.NO_WISHES
) -> schemas.Project:
    """Order a video of this project; its image, if it has one, becomes the first frame."""

    async def create(key: Key | None) -> Made | Kept:
        row = await _latest(once, project_id)
        images = [given(row["image_asset_id"], "/images/0")] if row["image_asset_id"] else []
        kept = {name: row[name] for name in ("prompt", "aspect_ratio") if row[name]}
        fields = {**kept, **asked.model_dump(exclude_none=True), "images": [image.id for image in images]}
        terms = once.serving.terms
        order = terms.order(once.user, terms.operation("video", pointer=""), fields)
        return await place(once, Wanted(order, images, project_id=project_id), key)

    project = await once.answer(schemas.Project, asked, create, partial(_rendered, once), finds=True)
    return views.with_headers(project, once.response, once.serving.storages, ordered=True)


@router.post("/projects/{project_id}/regenerate", status_code=202, dependencies=[NoBody])
async def regenerate(project_id: UUID, once: IdempotentRequest) -> schemas.Project:
    """Place the project's latest order again, and pay for it again."""

    async def create(key: Key | None) -> Made | Kept:
        row = await _latest(once, project_id)
        terms = once.serving.terms
        order = terms.order(once.user, terms.operation(row["operation"], pointer=""), row["input"], again=True)
        return await place(once, Wanted(order, project_id=project_id), key)

    project = await once.answer(schemas.Project, None, create, partial(_rendered, once), finds=True)
    return views.with_headers(project, once.response, once.serving.storages, ordered=True)


@router.post("/generations", status_code=202)
async def create_generation(asked: incoming.NewGeneration, once: IdempotentRequest) -> schemas.Generation:
    """Order any operation, with or without a project. The credits are debited now, and come back if it fails."""

    async def create(key: Key | None) -> Made | Kept:
        terms = once.serving.terms
        operation = terms.operation(asked.operation, pointer="/operation")
        with bodies.below("input"):
            fields, pictures = bodies.read_pictures(operation.fields, asked.input)
            order = terms.order(once.user, operation, fields)
        if asked.max_credits is not None and order.credits > asked.max_credits:
            raise PriceChanged(credits=order.credits, max_credits=asked.max_credits)
        order = replace(order, metadata=asked.metadata)
        return await place(once, Wanted(order, pictures, project_id=asked.project_id), key)

    async def render(generation_id: UUID) -> schemas.Generation:
        return await answers.generation(once.serving, once.user, generation_id)

    generation = await once.answer(schemas.Generation, asked, create, render, finds=True)
    once.response.headers["Location"] = f"/v1/generations/{generation.id}"
    return views.with_retry_after(generation, once.response)


async def place(once: Idempotent, wanted: Wanted, key: Key | None) -> Made | Kept:
    """Accept the order, with its pictures stored, wake a worker up, and return the generation's id.

    Or return what is kept of a request with the same key. Raises our errors: whatever is refused leaves nothing behind.
    """
    db, project_id = once.serving.db, wanted.project_id
    if key and not wanted.is_fresh and (kept := await keys.find(db, key)):
        return kept
    named = [picture for picture in wanted.pictures if not picture.is_new]
    pictures = stored(once, wanted.pictures) if wanted.pictures else nullcontext(())
    async with pictures as new_assets:
        order = wanted.order
        if wanted.pictures:
            order = replace(order, new_assets=new_assets, pictures=frozenset(picture.id for picture in named))
        if project_id:
            accepted: Accepted | Kept | None = await submit_for(db, order, project_id, key)
        elif wanted.is_fresh:
            accepted = await submit_fresh(db, order, wanted.project, key, partial(views.ordered, once.serving.storages))
        else:
            accepted = await submit(db, order, wanted.project, key)
        if isinstance(accepted, Kept):
            return accepted
        if accepted is None:
            await check_known(once.serving, once.user.id, named)  # deleted meanwhile
            raise await _refusal(once, project_id)
    await wake(once.serving.queue)
    return Made(accepted.generation_id, accepted.answer)


async def _refusal(once: Idempotent, project_id: UUID | None) -> TallyframeError:
    """Return why an order was not accepted. Raises NotFound where its project isn't there."""
    if project_id:
        await _latest(once, project_id)
    limit = once.serving.settings.limits.max_active_generations
    full = not project_id or await queries.active(once.serving.db, once.user.id) >= limit
    return TooManyActiveGenerations() if full else Generating()


async def _latest(once: Idempotent, project_id: UUID) -> queries.Row:
    row = await queries.order_of(once.serving.db, once.user.id, project_id)
    if row is None:
        raise NotFound
    return row


async def _rendered(once: Idempotent, ref: UUID) -> schemas.Project:
    """Return the project with the generation `ref`, which need not be its latest any more. Raises NotFound.

    A key that an older version kept names the project itself.
    """
    row = await queries.ordered(once.serving.db, once.user.id, ref)
    return views.project(row or await answers.found(once.serving, once.user, ref), once.serving.storages)
