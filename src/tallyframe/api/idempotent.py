"""`Idempotency-Key`: a request that comes again, because its answer got lost, is answered again and not done again."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, ValidationError

from tallyframe.api.services import CurrentUser, UserServices
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


def canonical(asked: object) -> object:
    """Return what a request asks for, in JSON values; of a body, without the fields that have their default.

    So a field that a later version adds changes nothing for those who don't send it, and who asks again after an
    upgrade asks for the same.
    """
    if isinstance(asked, list):
        return [canonical(each) for each in asked]
    return asked.model_dump(mode="json", exclude_defaults=True) if isinstance(asked, BaseModel) else asked


@dataclass(frozen=True, slots=True)
class Idempotent:
    """A request on behalf of a user that may come again. `key` is None where it has none: then it is done each time."""

    request: Request
    response: Response
    user: CurrentUser
    serving: UserServices
    key: KeyHeader = None

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

        `asked` is the request: its body, and whatever else in JSON values. `create` writes the key with what it makes.
        The fields `secrets` are shown the first time only and kept nowhere. An answer that another version has kept,
        and that is no `model` any more, gives way to what `render` says now, and so does every answer where none
        `is_kept`. Raises IdempotencyKeyReused, ValidationFailed for a key that is none, and whatever `create` raises.
        """
        key = self._read_key(asked)
        kept, ref = await self._create(key, create) if key else (None, await create(None))
        if kept:
            self.response.headers["Idempotent-Replayed"] = "true"
            if kept.answer is not None and (known := _read_as(model, kept.answer)):
                return known
        try:
            shown = await render(ref)
        except ValidationError as error:  # what was asked is done, so it's no 422
            wrong = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
            words = f"This is done, but can't be shown: {wrong}. It has been logged under the request id."
            raise Internal(words) from None
        if key is None or not is_kept:
            return shown
        hidden = dict.fromkeys(secrets)
        first = await keys.remember(self.serving.db, key, shown.model_dump(mode="json") | hidden)
        told = {name: None if kept else getattr(shown, name) for name in secrets}
        return _read_as(model, {**first, **told}) or shown

    def _read_key(self, asked: object) -> Key | None:
        """Return the key, sent bare or between quotes (a string of RFC 8941), with what the request asks for."""
        if self.key is None:
            return None
        bare = self.key.strip()
        quoted = len(bare) > 1 and bare[0] == bare[-1] == '"'
        text = bare[1:-1] if quoted else bare
        if not _PRINTABLE.fullmatch(text):
            raise ValidationFailed("Idempotency-Key: at most 255 printable characters.", pointer="/Idempotency-Key")
        path: str = self.request.scope["route"].path_format
        place = path.format(**{name: _as_we_write_it(part) for name, part in self.request.path_params.items()})
        return Key(self.user.id, text, keys.fingerprint(place, canonical(asked)))

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


IdempotentRequest = Annotated[Idempotent, Depends()]


def _as_we_write_it(part: str) -> str:
    """Return a part of a path; an id as we write it, whichever way the client did."""
    try:
        return str(UUID(part))
    except ValueError:
        return part


def _read_as(model: type[Answer], answer: dict[str, Any]) -> Answer | None:
    try:
        return model.model_validate(answer)
    except ValidationError:
        return None
