"""Generations, with and without a project: poll, list, cancel, delete; and what can be ordered."""

from hashlib import sha256
from typing import Annotated, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Query, Response
from pydantic import Field

from tallyframe.api import answers, cursors, schemas, views
from tallyframe.api.conditions import KnownTags, is_among
from tallyframe.api.dependencies import CurrentUser, SystemServices, UserServices
from tallyframe.api.forms import NoBody
from tallyframe.api.routes import SignedInFirst
from tallyframe.errors import Generating, NotCancelable, NotDeletable, TallyframeError
from tallyframe.generations import queries
from tallyframe.generations.end import erase, settle
from tallyframe.generations.states import LIVE
from tallyframe.generations.tables import ERASE_GENERATION
from tallyframe.operations.base import Operation
from tallyframe.operations.fields import Text
from tallyframe.operations.pictures import most_pictures
from tallyframe.storages.base import StorageError

log = structlog.get_logger()

router = APIRouter(prefix="/v1", tags=["generations"], route_class=SignedInFirst)

CANCELED = "You canceled this. Your credits are back."


@router.get("/operations")
async def list_operations(serving: SystemServices) -> schemas.OperationList:
    """Return what can be bought here. No sign-in is needed."""
    operations = serving.terms.operations.values()
    return schemas.OperationList(data=[_operation(serving, operation) for operation in operations])


@router.get("/generations")
async def list_generations(
    user: CurrentUser,
    serving: UserServices,
    operation: Annotated[Annotated[Text, Field(min_length=1, max_length=64)] | None, Query()] = None,
    status: Annotated[Literal["pending", "processing", "succeeded", "failed", "canceled"] | None, Query()] = None,
    cursor: cursors.Cursor = None,
    limit: cursors.Limit = 20,
) -> schemas.GenerationPage:
    """Return the user's generations, newest first, with and without a project."""
    window = cursors.window(cursor, limit)
    page = await queries.generations_of(serving.db, user.id, window, operation=operation, status=status)
    data = [views.generation(row, serving.storages) for row in page.rows]
    return schemas.GenerationPage(data=data, next_cursor=cursors.after(page))


@router.get(
    "/generations/{generation_id}",
    response_model=schemas.Generation,
    responses={304: {"description": "Unchanged"}},
)
async def get_generation(
    generation_id: UUID,
    response: Response,
    user: CurrentUser,
    serving: UserServices,
    if_none_match: KnownTags,
) -> schemas.Generation | Response:
    """Return what was ordered, what became of it and what it cost. `Retry-After` says when to ask again."""
    made = views.with_retry_after(await answers.generation(serving, user, generation_id), response)
    state = f"{made.status}{made.step}{made.attempt}{made.provider}{made.model}{made.credits}"
    response.headers["ETag"] = views.etag(made.id, sha256(state.encode()).hexdigest()[:12], serving.storages)
    if is_among(response.headers["ETag"], if_none_match):
        kept = {name: response.headers[name] for name in ("ETag", "Cache-Control")}
        again = {"Retry-After": response.headers["Retry-After"]} if made.status in LIVE else {}
        return Response(status_code=304, headers={**kept, **again})
    return made


@router.post("/generations/{generation_id}/cancel", dependencies=[NoBody])
async def cancel_generation(generation_id: UUID, user: CurrentUser, serving: UserServices) -> schemas.Generation:
    """Stop it; the credits come back."""
    await answers.generation(serving, user, generation_id)
    if not await settle.cancel(serving.db, generation_id, CANCELED):
        raise NotCancelable
    return await answers.generation(serving, user, generation_id)


@router.delete("/generations/{generation_id}", status_code=204)
async def delete_generation(generation_id: UUID, user: CurrentUser, serving: UserServices) -> None:
    """Delete a generation that has no project, with its files, input and output. The ledger stays."""
    if not await erase.delete_generation(serving.db, user.id, generation_id):
        made = await answers.generation(serving, user, generation_id)
        raise Generating if made.status in LIVE else NotDeletable
    try:
        await erase.erase(serving.db, serving.storages.by_name, erase.Subject(generation_id, ERASE_GENERATION))
    except (StorageError, TallyframeError) as error:  # a worker goes on trying
        log.warning("erase_deferred", generation_id=str(generation_id), error=str(error))


def _operation(serving: SystemServices, operation: "Operation[object]") -> schemas.OperationOut:  # type: ignore[type-var]
    terms = serving.terms
    offers = [offer for capability in operation.uses for offer in terms.offers.get(capability, ())]
    longest = terms.limits.max_video_seconds
    seconds = {length for offer in offers for length in offer.seconds if length <= longest}
    return schemas.OperationOut(
        name=operation.name,
        credits=terms.prices[operation.name],
        description=operation.description,
        input_schema=operation.fields.model_json_schema(),
        offers=schemas.OfferOut(
            aspect_ratios=list(dict.fromkeys(ratio for offer in offers for ratio in offer.aspect_ratios)),
            durations_seconds=sorted(seconds),
            max_images=most_pictures(operation.fields),
        ),
        limits={"max_video_seconds": longest, "max_active_generations": terms.max_active},
    )
