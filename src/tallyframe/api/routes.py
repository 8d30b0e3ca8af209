"""Routes that know who is asking before they read a body."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tallyframe.api.dependencies import administrator, caller, current_user, services


class SignedInFirst(APIRoute):
    """A route that asks for its caller first; the framework alone would read and parse the body before."""

    def __init__(self, *what: Any, **how: Any) -> None:  # noqa: ANN401  # as the framework calls it
        super().__init__(*what, **how)
        needed = set(_calls(self.dependant))
        if self.body_field is not None and current_user in needed:
            handler, only = self.get_route_handler, administrator in needed
            self.get_route_handler = lambda: partial(_handle, handler(), only)  # type: ignore[method-assign]


async def _handle(handle: Any, only_administrators: bool, request: Request) -> Response:  # noqa: ANN401, FBT001
    user = await caller(request, await services(request))
    if only_administrators:
        await administrator(user)
    response: Response = await handle(request)
    return response


def _calls(dependant: Dependant) -> Iterator[object]:
    for each in dependant.dependencies:
        yield each.call
        yield from _calls(each)
