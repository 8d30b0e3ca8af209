"""Looks up host names that users give, away from all other look-ups of the process.

Whoever runs a name server decides how long its names take, and a look-up can't be stopped: it blocks its thread for as
long as the system's resolver is patient, often 10 to 30 seconds. The event loops share few threads for look-ups, 4 in
uvloop, so names of users get threads of their own here, a bounded number of them in all and for each user.
"""

import asyncio
import socket
from collections.abc import Hashable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread

from tallyframe.assets.line import Bounds, Line
from tallyframe.assets.public_addresses import NotPublic, public_one


class Lookups:
    """Finds a public address for a host, for a user, by at most so many threads at once, in all and for one user.

    As many look-ups as have a thread may wait for one, for `wait` seconds at most.
    """

    def __init__(self, *, at_once: int, of_one_user: int, wait: float) -> None:
        self._line = Line(
            "pictures have host names that don't answer", Bounds(at_once, of_one_user, at_once, of_one_user, wait)
        )

    async def resolve(self, user: Hashable, host: str, port: int) -> str:
        """Look `host` up once and return one of its addresses, IPv4 first.

        Raises NotPublic unless all are public; a name without an answer raises the same, so that nobody can learn which
        internal names exist. The caller bounds the time, by canceling. The thread of a name that doesn't answer counts
        until it ends all the same: who gives many such names gets RateLimited, and others don't have to wait for them.
        Raises Unavailable where all threads are in use by other users.
        """
        await self._line.enter(user)
        try:
            lookup = _in_a_thread(host, port)
        except BaseException:
            self._line.leave(user)
            raise
        loop = asyncio.get_running_loop()

        def leave(_: object) -> None:
            with suppress(RuntimeError):  # the loop may have been closed meanwhile
                loop.call_soon_threadsafe(self._line.leave, user)

        lookup.add_done_callback(leave)
        try:
            addresses = await asyncio.wrap_future(lookup)
            return public_one(addresses)
        except (OSError, UnicodeError) as error:
            raise NotPublic from error


def _in_a_thread(host: str, port: int) -> Future[list[str]]:
    """Ask the system's resolver. The thread is a daemon, so that a stopping process doesn't wait for it.

    AI_ADDRCONFIG leaves out addresses of a kind that this machine has none of: behind DNS64, those of IPv4.
    """
    found: Future[list[str]] = Future()
    found.set_running_or_notify_cancel()  # whoever gives up doesn't cancel it: it counts until its end

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            found.set_result([str(answer[4][0]) for answer in answers])
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            found.set_exception(error)

    Thread(target=ask, name="lookup", daemon=True).start()
    return found
