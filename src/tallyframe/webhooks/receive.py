"""A webhook comes in: verify → store → apply. An unsigned event is never stored, and a signed one is never lost."""

from collections.abc import Mapping

import structlog

from tallyframe.db import Database
from tallyframe.webhooks import received
from tallyframe.webhooks.apply import apply
from tallyframe.webhooks.base import Outcome, Sources

log = structlog.get_logger()


async def receive(db: Database, sources: Sources, name: str, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Take a request to the source of this name, which is one of `sources`; `headers` have lower-case names.

    Raises Unauthenticated and pydantic's ValidationError for what is refused and not stored. Raises what applying
    raises: by then the event is stored, and the sender's next try or a worker applies it.
    """
    source = sources[name]
    verified = source.verify(headers, body)
    if verified.type not in source.types:
        outcome = Outcome("ignored")
    else:
        event_id = await received.store(db, source.name, verified, headers, body)
        outcome = await apply(db, sources, event_id) if event_id else Outcome("replayed")
    log.info("webhook_received", source=name, event_id=verified.event_id, outcome=outcome.status)
    return outcome
