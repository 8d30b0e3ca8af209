"""Endpoints that are served without the framework."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

#: Answers a request by itself, or returns None where the framework is to say what is wrong with it.
Serve = Callable[[Request], Awaitable[Response | None]]
Endpoint = TypeVar("Endpoint")

_MARK = "served_directly"


def directly(serve: Serve) -> Callable[[Endpoint], Endpoint]:
    """Have `serve` answer the requests of the endpoint, without the framework's routing and dependencies.

    These take most of the time of the busiest routes. The endpoint stays: it tells the document what is asked for and
    answered, and serves what `serve` doesn't.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _MARK, serve)
        return endpoint

    return mark


def served(routers: Iterable[APIRouter]) -> list[tuple[APIRoute, Serve]]:
    """Return the routes of such endpoints, and what serves them."""
    routes = (route for router in routers for route in router.routes if isinstance(route, APIRoute))
    return [(route, serve) for route in routes if (serve := getattr(route.endpoint, _MARK, None))]
