"""A resolver that is slow for some names, as one is whose name server never answers. For the API processes of a run."""

import socket
from time import sleep
from typing import Any

BELOW = ".slow.invalid"  # these names are slow
PATIENCE = 15.0  # seconds after which the resolver gives a name up


def hang_for_slow_names() -> None:
    """Replace the system's resolver in this process: a name below `BELOW` blocks its thread, and has no address."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:  # noqa: ANN401  # as the real one
        if isinstance(host, str) and host.endswith(BELOW):
            sleep(PATIENCE)
            raise socket.gaierror(socket.EAI_AGAIN, "The name server doesn't answer")
        return real(host, *rest, **options)

    socket.getaddrinfo = getaddrinfo
