"""One warning when a server goes, one every so often while it is away, one line when it is back: no flood of errors."""

from time import monotonic

import structlog

log = structlog.get_logger()

#: Seconds without a failure after which a server counts as back. Connections that died with it fail one after the
#: other, between others that work already.
BACK_AFTER = 1.0
#: The same for a server that took no writes: reads go well there all the time.
WRITES_BACK_AFTER = 30.0
#: Seconds without any write after Postgres has refused one: then it is tried again.
REST = 10.0


class Outage:
    """Whether `server` is away, for all connections of this process. `remind`: seconds; None: it logs nothing."""

    def __init__(self, server: str, *, remind: float | None = None) -> None:
        self.is_on = False
        self._server, self._remind = server, remind
        self._began = self._failed = self._said = self._refused = float("-inf")

    @property
    def takes_no_writes(self) -> bool:
        """Whether the server has refused a write lately, so that work which writes can only fail."""
        return self.is_on and monotonic() - self._refused < REST

    def note(self, words: str, *, refuses_writes: bool = False) -> None:
        """Note a failure, which `words` tell to operators: what was found, and what to do."""
        now = self._failed = monotonic()
        if refuses_writes:
            self._refused = now
        if not self.is_on:
            self.is_on, self._began, self._said = True, now, float("-inf")
        if self._remind is not None and now - self._said >= self._remind:
            self._said = now
            log.warning("server_away", server=self._server, error=words, seconds=round(now - self._began))

    def over(self) -> None:
        """Note that the server has answered. Call it only while `is_on`."""
        now = monotonic()
        if now - self._failed < (WRITES_BACK_AFTER if self._refused >= self._began else BACK_AFTER):
            return
        self.is_on = False
        if self._remind is not None:
            log.warning("server_back", server=self._server, seconds=round(now - self._began))
