"""Has pictures cleaned by processes of their own, which stand back behind the API and are ended when nobody waits.

A picture of a few megabytes can take a processor for many seconds, and some decoders keep Python's lock meanwhile: in a
thread, they would stop every other request. A thread can't be ended, either.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from tallyframe.assets.line import Bounds, Line
from tallyframe.errors import TallyframeError, TooLarge, Unavailable, UnsupportedMedia, ValidationFailed
from tallyframe.providers.base import Media

log = structlog.get_logger()

#: Its warnings would be a line in the log for each odd picture. -P: the working folder is no place for its modules.
_COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "tallyframe.assets.decoder_process")
_REFUSALS: dict[str, type[TallyframeError]] = {
    each.code: each for each in (TooLarge, UnsupportedMedia, ValidationFailed, Unavailable)
}
#: Signals by which a decoder ends that has failed over the picture itself, and would do so again.
_CRASHES = {-number for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A picture as `pictures.clean` gives it, and the SHA-256 of its bytes in hexadecimal."""

    media: Media
    sha256: str


class Decoders:
    """Cleans pictures in as many processes as `bounds` lets in at once; each starts when it is needed, and stays.

    One picture may take `cpu_seconds` of a processor.
    """

    def __init__(self, bounds: Bounds, *, cpu_seconds: float) -> None:
        self._line = Line("pictures are being decoded", bounds)
        self._cpu_seconds = cpu_seconds
        self._threads = ThreadPoolExecutor(bounds.at_once, thread_name_prefix="decoder")  # each waits for one process
        self._idle: list[_Decoder] = []

    async def clean(self, user: Hashable, data: bytes, *, max_bytes: int, max_pixels: int) -> Cleaned:
        """Return what `pictures.clean` does, when it is the user's turn. If this is canceled, its process is killed.

        Raises as `pictures.clean`, and ValidationFailed for a picture that takes too long or crashes the decoder;
        RateLimited and Unavailable where too many wait, and Unavailable where the decoder was killed.
        """
        asked = {"max_bytes": max_bytes, "max_pixels": max_pixels, "cpu_seconds": self._cpu_seconds}
        async with self._line.turn(user):
            decoder = self._idle.pop() if self._idle else _Decoder()
            try:
                loop = asyncio.get_running_loop()
                head, made = await loop.run_in_executor(self._threads, decoder.ask, asked, data)
            except asyncio.CancelledError:
                decoder.kill()  # its thread sees the end, and clears up
                raise
            except _Died as died:
                raise self._refusal(died.code) from None
            self._idle.append(decoder)
        if "code" in head:
            raise _REFUSALS[head["code"]](head["detail"])
        return Cleaned(Media(made, head["content_type"], head["width"], head["height"]), head["sha256"])

    def close(self) -> None:
        """End all processes. Those that are at work have been killed, by canceling whoever waits for them."""
        for decoder in self._idle:
            decoder.end()
        self._threads.shutdown()

    def _refusal(self, code: int) -> TallyframeError:
        if code == -signal.SIGXCPU:
            words = (
                f"This picture takes longer than {self._cpu_seconds:g} seconds to decode. Send it with fewer pixels."
            )
            return ValidationFailed(words)
        log.error("decoder_died", code=code)
        if code in _CRASHES:
            return ValidationFailed("This picture is damaged: it can't be decoded.")
        return Unavailable("The picture can't be decoded right now. Try again shortly.")


class _Died(Exception):
    """A decoder's process has ended. `code` is as in `subprocess`: below 0, the signal that has ended it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Decoder:
    """One process, for one thread at a time; only `kill` may come from another."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def ask(self, asked: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Send a request of `decoder_process` and return its answer, head and bytes. Blocks. Raises _Died."""
        try:
            if self._process is None or self._process.poll() is not None:  # it may have died while it was idle
                self.end()
                # In a session of its own: Ctrl-C in a terminal is for the API, whose end is the end of its input.
                self._process = subprocess.Popen(  # noqa: S603  # our own command
                    _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
                )
            if self._is_killed:  # while it was being started
                self._process.kill()
            requests, answers = self._process.stdin, self._process.stdout
            assert requests is not None and answers is not None  # noqa: S101, PT018  # as it was started
            requests.write(json.dumps({**asked, "bytes": len(data)}).encode() + b"\n")
            requests.write(data)
            requests.flush()
            head: dict[str, Any] = json.loads(answers.readline())
            made = answers.read(head["bytes"])
        except (OSError, ValueError):  # it can't be started, or has ended: a closed pipe, or no line
            raise _Died(self.end()) from None
        if len(made) < head["bytes"]:
            raise _Died(self.end())
        return head, made

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        self._is_killed = True
        if self._process is not None:
            self._process.kill()

    def end(self) -> int:
        """End the process and return its code, which stays what it was if it has ended; 0 if there is none."""
        process = self._process
        if process is None:
            return 0
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was written last, and nobody reads
                pipe and pipe.close()
        return process.wait()
