"""A process that cleans pictures for `decoders.py`, which starts it as `python -m tallyframe.assets.decoder_process`.

It answers one picture after the other, and ends when its input does, or when nobody reads its answer any more. A
request on stdin is a line of JSON with `bytes`, `max_bytes`, `max_pixels` and `cpu_seconds`, then the picture, `bytes`
long. The answer on stdout is a line of JSON, then the cleaned picture, `bytes` long: `content_type`, `width`, `height`
and `sha256`, or `code` and `detail` where it is refused. A picture that takes more than `cpu_seconds` ends the process
by SIGXCPU.
"""

import hashlib
import json
import math
import os
import resource
import sys
import time
from typing import Any, BinaryIO

from tallyframe.assets.pictures import clean
from tallyframe.errors import TallyframeError, Unavailable
from tallyframe.priority import stand_back

_NO_MEMORY = "There is not enough memory for this picture right now. Try again shortly."


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more, or one is cut off."""
    while line := requests.readline():
        asked = json.loads(line)
        data = requests.read(asked["bytes"])
        if len(data) < asked["bytes"]:
            return
        bound_time(asked["cpu_seconds"])
        head, made = answer(data, asked["max_bytes"], asked["max_pixels"])
        answers.write(json.dumps(head | {"bytes": len(made)}).encode() + b"\n")
        answers.write(made)
        answers.flush()


def bound_time(seconds: float) -> None:
    """Let the kernel end this process when it has used so many seconds of a processor more than by now."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def answer(data: bytes, max_bytes: int, max_pixels: int) -> tuple[dict[str, Any], bytes]:
    """Clean a picture; return the head of the answer, without `bytes`, and the cleaned picture."""
    try:
        media = clean(data, max_bytes=max_bytes, max_pixels=max_pixels)
    except MemoryError:
        return {"code": Unavailable.code, "detail": _NO_MEMORY}, b""
    except TallyframeError as error:
        return {"code": error.code, "detail": error.detail}, b""
    sha256 = hashlib.sha256(media.data).hexdigest()
    head = {"content_type": media.content_type, "width": media.width, "height": media.height, "sha256": sha256}
    return head, media.data


if __name__ == "__main__":
    stand_back()  # behind the API
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the user's picture
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:  # the API has gone, and nobody waits for the answer; what is left of it would fail again
        os._exit(0)
