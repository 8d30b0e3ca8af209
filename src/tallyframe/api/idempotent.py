"""`Idempotency-Key`: a request that comes again, because its answer got lost, is answered again and not done again."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, ValidationError

from tallyframe.accounts.users import User
from tallyframe.api.services import CurrentUser, Services, UserServices
from tallyframe.errors import Internal, TallyframeError, ValidationFailed
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Kept, Key

Answer = TypeVar("Answer", bound=BaseModel)

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Up to 255 printable characters of your choice, e.g. a UUID. The same key with the same request is "
        "answered again, with `Idempotent-Replayed: true`, and done only once.",
    ),
]


def canonical_body(body: BaseModel) -> dict[str, Any]:
    """Return what a request's body says, in JSON values: a default that is spelt out says nothing.

    So a field that a later version adds changes nothing for those who don't send it, and who asks again after an
    upgrade asks for the same.
    """
    return body.model_dump(mode="json", exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class Idempotent:
    """A request on behalf of a user that may come again. `key` is None where it has none: then it is done each time."""

    serving: Services
    response: Response
    user: User
    path: str
    key: str | None

    async def answer(
        self,
        model: type[Answer],
        asked: object,
        create: Callable[[Key | None], Awaitable[UUID]],
        render: Callable[[UUID], Awaitable[Answer]],
        *,
        secrets: tuple[str, ...] = (),
        is_kept: bool = True,
    ) -> Answer:
        """Return what `render` says, as a `model`, of the id that `create` has made, now or at the first request.

        `asked` is the request in JSON values. `create` writes the key with what it makes. The fields `secrets` are
        shown the first time only and kept nowhere. An answer that another version has kept, and that is no `model` any
        more, gives way to what `render` says now, and so does every answer where none `is_kept`. Raises
        IdempotencyKeyReused, and whatever `create` raises.
        """
        if self.key is None:
            return await _shown(render, await create(None))
        key = Key(self.user.id, self.key, keys.fingerprint(self.path, asked))
        kept, ref = await self._create(key, create)
        if kept:
            self.response.headers["Idempotent-Replayed"] = "true"
            if kept.answer is not None and (known := _read_as(model, kept.answer)):
                return known
        shown = await _shown(render, ref)
        if not is_kept:
            return shown
        hidden = dict.fromkeys(secrets)
        first = await keys.remember(self.serving.db, key, shown.model_dump(mode="json") | hidden)
        told = {name: None if kept else getattr(shown, name) for name in secrets}
        return _read_as(model, {**first, **told}) or shown

    async def _create(self, key: Key, create: Callable[[Key | None], Awaitable[UUID]]) -> tuple[Kept | None, UUID]:
        kept = await keys.find(self.serving.db, key)
        if kept is None:
            try:
                return None, await create(key)
            except TallyframeError:  # perhaps because a twin was first: then its answer is ours, too
                kept = await keys.find(self.serving.db, key)
                if kept is None:
                    raise
        return kept, kept.ref


async def idempotent(
    request: Request, response: Response, user: CurrentUser, serving: UserServices, given: KeyHeader = None
) -> Idempotent:
    """Return the request with its key. Raises ValidationFailed for a key that is none."""
    return Idempotent(serving, response, user, _place_of(request), _read(given))


IdempotentRequest = Annotated[Idempotent, Depends(idempotent)]


def _place_of(request: Request) -> str:
    """Return the request's path with its ids as we write them, whichever way the client did."""
    path: str = request.scope["route"].path_format
    return path.format(**{name: _as_we_write_it(part) for name, part in request.path_params.items()})


def _as_we_write_it(part: str) -> str:
    try:
        return str(UUID(part))
    except ValueError:
        return part


def _read_as(model: type[Answer], answer: dict[str, Any]) -> Answer | None:
    try:
        return model.model_validate(answer)
    except ValidationError:
        return None


async def _shown(render: Callable[[UUID], Awaitable[Answer]], ref: UUID) -> Answer:
    """Return what `render` says. Raises Internal where that is no answer: what was asked is done, so it's no 422."""
    try:
        return await render(ref)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
        raise Internal(f"This is done, but can't be shown: {wrong}. It has been logged under the request id.") from None


def _read(given: str | None) -> str | None:
    """Return the key, bare or between quotes: a string of RFC 8941."""
    if given is None:
        return None
    bare = given.strip()
    quoted = len(bare) > 1 and bare[0] == bare[-1] == '"'
    key = bare[1:-1] if quoted else bare
    if not _PRINTABLE.fullmatch(key):
        raise ValidationFailed("Idempotency-Key: at most 255 printable characters.", pointer="/Idempotency-Key")
    return key
