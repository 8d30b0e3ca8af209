"""Which methods an address has."""

from fastapi import Request
from starlette.routing import Match

#: Of HTTP, in the order in which `Allow` lists them. TRACE and CONNECT are for nobody.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def of_address(request: Request) -> list[str]:
    """Return all methods that the request's address has.

    Each of its routes knows only its own. HEAD goes with GET, and OPTIONS with any.
    """
    address = {"type": "http", "path": request.url.path, "root_path": "", "headers": []}
    found = {"OPTIONS"}
    for route in request.app.routes:
        found |= {method for method in METHODS if route.matches({**address, "method": method})[0] is Match.FULL}
    return [method for method in METHODS if method in found or (method == "HEAD" and "GET" in found)]
