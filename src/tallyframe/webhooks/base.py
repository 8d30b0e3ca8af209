"""What a source of webhooks is: another service that tells us what has happened there, in signed requests.

A source verifies and applies; storing, once-only, retries and replays are the same for all (`receive.py`, `apply.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol
from uuid import UUID

from tallyframe.db import Transaction

#: What has become of a stored event. `received`: it has yet to be applied.
EventStatus = Literal["received", "applied", "ignored"]

#: What came of a request or a replay. `replayed`: the event had been applied or ignored before.
OutcomeStatus = Literal["applied", "ignored", "replayed"]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a source says about an event before it is stored.

    `event_id` is the same at each try to deliver, and different for each event; where the sender gives none, it is made
    of what is signed, such as a hash of the body. `type` is the sender's word. `subject` is the sender's id of the
    person whom the event is about, if it is about one: what is stored of a person who is gone is found by it.
    """

    event_id: str
    type: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event. `headers` have lower-case names, without credentials; `body` is as it came over the wire.

    `body` is None where it was erased, or came before bodies were stored.
    """

    id: UUID
    source: str
    event_id: str
    type: str
    subject: str | None
    status: EventStatus
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)

    def sent(self) -> bytes:
        """Return the body. Raises ValueError where there is none any more."""
        if self.body is None:
            raise ValueError("the body of this event is gone")
        return self.body


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an event.

    `stale`: credentials whose users are no longer what they were, for the API process to forget. `subject_is_gone`: the
    person whom the event is about has been deleted for good, so nothing that the source has sent about them is kept, or
    will be applied.
    """

    status: OutcomeStatus
    stale: Sequence[object] = ()
    subject_is_gone: bool = False


class Source(Protocol):
    """A service that sends webhooks.

    `name` is its place in the path, `/v1/webhooks/<name>`. `types` are the types of events that it applies: those of
    any other type are answered as ignored and not stored.
    """

    name: ClassVar[str]
    types: ClassVar[frozenset[str]]

    def verify(self, headers: Mapping[str, str], body: bytes) -> Verified:
        """Check the signature, over the very bytes that came, and say which event this is. `headers` are lower-case.

        Raises Unauthenticated for what the sender has not signed: nothing of it is stored. Raises pydantic's
        ValidationError for what is signed and still no event, such as a body that is no JSON.
        """
        ...

    async def apply(self, transaction: Transaction, event: Event) -> Outcome:
        """Do what the event asks for, in this transaction; waits for nothing but the database.

        Events may come in any order, and an administrator may have one applied again: then it must change nothing that
        it has changed before. Whatever it raises leaves the event to be tried again.
        """
        ...


#: The sources that are set up, by name.
Sources = Mapping[str, Source]
