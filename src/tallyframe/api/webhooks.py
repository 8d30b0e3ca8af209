"""What other services tell us, over HTTP: the signature is checked, then the news are followed."""

from typing import Any

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from tallyframe.api.services import SystemServices
from tallyframe.errors import NotFound, TooLarge
from tallyframe.webhooks import clerk

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
log = structlog.get_logger()

#: Bytes. Clerk's are a few thousand; what anybody may send us unsigned is not read further than this.
MAX_BODY = 256 * 1024

_OPENAPI: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": description}
        for name, description in (
            ("svix-id", "The event's id, the same at each try to deliver it."),
            ("svix-timestamp", "Unix seconds, at most five minutes off."),
            ("svix-signature", "`v1,` and base64 of HMAC-SHA256 over id, timestamp and body; or a list of such."),
        )
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}


class Received(BaseModel):
    """What became of an event."""

    status: clerk.Status = Field(
        description="`applied`: it changed something. `ignored`: it is of a type that is not used here, or older than"
        " what is known. `replayed`: it has been received before."
    )


@router.post("/clerk", openapi_extra=_OPENAPI)
async def clerk_webhook(request: Request, serving: SystemServices) -> Received:
    """Take what Clerk tells of its users, signed by Svix.

    `user.created` and `user.updated` make the user or bring the profile up to date, `user.deleted` deletes. Other types
    change nothing. 404 where no secret is set, 401 for a signature that isn't good, 413 above 256 KiB.
    """
    if serving.clerk is None:
        raise NotFound("There is no webhook of Clerk's set up here.")
    body = await _read(request)
    event_id = serving.clerk.verified_id(body, request.headers)
    issuer, grant = serving.settings.auth_issuer, serving.settings.signup_credits
    followed = await clerk.follow(serving.system, event_id, body, issuer=issuer, grant=grant)
    for credential in followed.stale:
        serving.callers.forget(credential)
    log.info("webhook_received", source=clerk.SOURCE, event_id=event_id, outcome=followed.status)
    return Received(status=followed.status)


async def _read(request: Request) -> bytes:
    """Return the body; raise TooLarge without reading on."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge(f"The webhook is larger than the {MAX_BODY // 1024} KiB that are accepted.")
    return body
