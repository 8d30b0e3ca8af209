"""What other services tell us, over HTTP: verified, stored and applied."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from tallyframe.api.dependencies import SystemServices
from tallyframe.errors import NotFound
from tallyframe.webhooks.base import OutcomeStatus
from tallyframe.webhooks.receive import receive

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

_OPENAPI: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}


class Received(BaseModel):
    """What became of an event."""

    status: OutcomeStatus = Field(
        description="`applied`: it changed something. `ignored`: it is of a type that is not used here, or older than"
        " what is known. `replayed`: it has been received before."
    )


@router.post("/{source}", openapi_extra=_OPENAPI)
async def take_webhook(source: str, request: Request, serving: SystemServices) -> Received:
    """Take an event that a service sends, signed as that service does it.

    `clerk` tells of its users, signed by Svix: `user.created` and `user.updated` make the user or bring the profile up
    to date, `user.deleted` deletes. Events of other types change nothing. 404 where no secret is set, 401 for a
    signature that isn't good, 413 above 256 KiB, 422 for what is signed and no such event. After a 5xx the event may be
    stored: it is then applied by the next try to deliver it, or without one.
    """
    if source not in serving.sources:
        raise NotFound("There is no webhook of this name set up here.")
    outcome = await receive(serving.inbox, serving.sources, source, request.headers, await request.body())
    for credential in outcome.stale:
        serving.callers.forget(credential)
    return Received(status=outcome.status)
