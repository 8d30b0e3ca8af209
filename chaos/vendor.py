"""The fake vendor, a process of its own: Gemini's images and Omni's videos, moody by seed, with a book of its bills.

    python -m chaos.vendor PORT SEED TIMEOUT FOLDER [stuck]

`FOLDER/vendor.jsonl` gets a line per order before it is answered. Who ordered is read off the prompt, which carries
`[chaos:<marker>]`; what is made carries it as well. With `stuck`, some films never get ready. Once there is a file
`FOLDER/calm`, every answer is a good one.
"""

import asyncio
import json
import math
import random
import re
import signal
import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from time import time
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from chaos.vendor_faults import CALM, STUCK, Kind, Mood, mood
from tests.support.google import FakeGemini, candidate, inline
from tests.support.google_all import KEY
from tests.support.google_videos import FakeOmni
from tests.support.google_wire import failure, quota
from tests.support.vendor import DROP, Reply, Request, answer, vendor

BOOK = "vendor.jsonl"
JOBS = "vendor-jobs.jsonl"  # so that a vendor that was killed knows what it has taken
CALM_FILE = "calm"
_MARKER = re.compile(rb"\[chaos:([\w-]+)\]")
_CANCEL = re.compile(r"/v1/interactions/([\w-]+)/cancel")
_SIZE = 128  # pixels
_GARBAGE = Reply(200, b"<html>The proxy is sorry.</html>", {"Content-Type": "text/html"})


def marked(marker: str) -> str:
    """Return what a prompt holds, so that the order can be told at the vendor."""
    return f"[chaos:{marker}]"


class Omni(FakeOmni):
    """Omni, whose films carry the marker of their order; each takes a few looks."""

    markers: dict[str, str]
    stuck: set[str]

    def _looks(self, job: str) -> float:
        return math.inf if job in self.stuck else random.Random(self.markers.get(job)).randint(0, 3)

    def _poll(self, request: Request, name: str) -> Reply:
        reply = super()._poll(request, name)
        return replace(reply, body=reply.body.replace(b"vid0001", name.removeprefix("v1_").encode()))

    def _download(self, request: Request, name: str) -> Reply:
        marker = self.markers.get(f"v1_{name}")
        if marker is None:
            return super()._download(request, name)
        said = marked(marker).encode()
        box = struct.pack(">I4s", len(said) + 8, b"free") + said  # a part of an MP4 that players skip
        return Reply(200, self.film + box, {"Content-Type": "video/mp4"})


@dataclass
class Google:
    """Both services behind one address. `timeout` is the seconds after which a caller gives up."""

    seed: int
    timeout: float
    folder: Path
    gets_stuck: bool = True
    gemini: FakeGemini = field(default_factory=lambda: FakeGemini(key=KEY))
    omni: Omni = field(default_factory=lambda: Omni(key=KEY))
    asked: Counter[str] = field(default_factory=Counter)
    since: int = 0  # lines of the book when this process was started

    def __post_init__(self) -> None:
        """Begin with the films that were ordered before this process was started."""
        lines = (self.folder / JOBS).read_text().splitlines() if (self.folder / JOBS).exists() else []
        jobs = [json.loads(line) for line in lines]
        # A vendor that is killed every minute would else be in the same mood for good.
        self.since = len((self.folder / BOOK).read_text().splitlines()) if (self.folder / BOOK).exists() else 0
        self.omni.markers = {job: marker for job, marker, _ in jobs}
        self.omni.stuck = {job for job, _, is_stuck in jobs if is_stuck}
        self.omni.jobs.update(dict.fromkeys(self.omni.markers, "in_progress"))

    def answer(self, request: Request) -> Reply:
        """Answer as the mood is."""
        kind, marker = self._told(request)
        if kind is None:
            return self._strange(request)
        name = f"{kind}:{marker}"
        self.asked[name] += 1
        met = self._mood(kind, marker, self.since + self.asked[name])
        if kind in {"image", "video"}:
            reply = self._order(request, kind, marker, met)
        else:
            reply = self._canceled(request, marker, met) if kind == "cancel" else self._asked(request, met)
        self._complain()
        return replace(reply, delay=met.seconds)

    def _strange(self, request: Request) -> Reply:
        """Answer what is of nobody. An order that doesn't say whose it is would be that."""
        if request.method == "POST":
            self._note({"kind": "complaint", "words": f"an order without a marker: {request.path}"})
        return self.omni.answer(request)

    def _mood(self, kind: Kind, marker: str, number: int) -> Mood:
        if (self.folder / CALM_FILE).exists():
            return CALM
        met = mood(kind, self.seed, marker, number, timeout=self.timeout)
        return CALM if met.name == STUCK and not self.gets_stuck else met

    def _told(self, request: Request) -> tuple[Kind | None, str]:
        """Return what kind of request this is, and whose."""
        if found := _MARKER.search(request.body):
            return "image" if request.path.endswith(":generateContent") else "video", found[1].decode()
        if stop := _CANCEL.fullmatch(request.path):
            return "cancel", stop[1]
        job = re.fullmatch(r"/v1/interactions/([\w-]+)|/v1/files/([a-z0-9-]+):download", request.path)
        if job is None or request.method != "GET":
            return None, ""
        return ("look", job[1]) if job[1] else ("download", job[2])

    def _order(self, request: Request, kind: Kind, marker: str, met: Mood) -> Reply:
        if not met.is_paid:
            self._write(kind, marker, met, paid=False)
            return _unpaid(met)
        reply = self._image(request, marker, met) if kind == "image" else self._video(request, marker, met)
        is_paid = not self._complaints()
        film = {"ticket": self._latest_film()} if is_paid and kind == "video" else {}
        self._write(kind, marker, met, paid=is_paid, **film)
        return reply

    def _image(self, request: Request, marker: str, met: Mood) -> Reply:
        made = {"empty": answer(candidate({"text": "I would rather not."}))}
        made["broken"] = answer(candidate(inline(b"no picture at all")))
        self.gemini.replies.clear()  # of an order that was refused
        self.gemini.replies.append(made.get(met.name) or answer(candidate(inline(_picture(marker)))))
        self.gemini.orders.clear()  # all of them would not fit into memory
        return _spoilt(self.gemini.answer(request), met)

    def _video(self, request: Request, marker: str, met: Mood) -> Reply:
        reply = self.omni.answer(request)
        if not self._complaints():
            self._keep(self._latest_film(), marker, is_stuck=met.name == STUCK)
        return failure(500, "INTERNAL", "Taken all the same.") if met.name == "500 paid" else _spoilt(reply, met)

    def _latest_film(self) -> str:
        return next(reversed(self.omni.jobs))

    def _keep(self, job: str, marker: str, *, is_stuck: bool) -> None:
        self.omni.markers[job] = marker
        if is_stuck:
            self.omni.stuck.add(job)
        with (self.folder / JOBS).open("a") as jobs:
            jobs.write(json.dumps([job, marker, is_stuck]) + "\n")

    def _canceled(self, request: Request, ticket: str, met: Mood) -> Reply:
        """Stop a film, or don't; only what is stopped is written down."""
        if not met.is_paid:
            return _unpaid(met)
        reply = self.omni.answer(request)
        if self.omni.jobs.get(ticket) == "cancelled":
            self._note({"kind": "cancel", "ticket": ticket})
        return _spoilt(reply, met)

    def _asked(self, request: Request, met: Mood) -> Reply:
        if met.name == "verdict":
            reply = self.omni.answer(request)
            return replace(reply, body=reply.body.replace(b'"completed"', b'"failed"'))
        return _spoilt(self.omni.answer(request), met) if met.is_paid else _unpaid(met)

    def _complaints(self) -> list[str]:
        """Return what the request under way has wrong."""
        return [*self.gemini.complaints, *self.omni.complaints]

    def _complain(self) -> None:
        """Write it down."""
        for words in self._complaints():
            self._note({"kind": "complaint", "words": words})
        self.gemini.complaints.clear()
        self.omni.complaints.clear()

    def _write(self, kind: Kind, marker: str, met: Mood, *, paid: bool, **more: str) -> None:
        self._note({"kind": kind, "marker": marker, "mood": met.name, "paid": paid, **more})

    def _note(self, line: dict[str, Any]) -> None:
        with (self.folder / BOOK).open("a") as book:
            book.write(json.dumps({"at": time(), **line}) + "\n")


def _picture(marker: str) -> bytes:
    """Draw a picture that carries the marker of its order."""
    out, info = BytesIO(), PngInfo()
    info.add_text("Comment", marked(marker))
    Image.new("RGB", (_SIZE * 9 // 16, _SIZE), "teal").save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _spoilt(reply: Reply, met: Mood) -> Reply:
    """Return what becomes of a good answer on its way."""
    if met.name == "dropped":
        return DROP
    if met.name == "cut":
        return replace(reply, cut_after=len(reply.body) // 2)
    return _GARBAGE if met.name == "garbage" else reply


def _unpaid(met: Mood) -> Reply:
    errors = {
        "500": failure(500, "INTERNAL", "Something broke."),
        "503": failure(503, "UNAVAILABLE", "Busy."),
        "429": quota(delay="1s"),
    }
    return errors.get(met.name, DROP)


async def serve(port: int, google: Google) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with vendor(google.answer, port=port) as server:
        print("vendor_started", flush=True)
        while not stop.is_set():
            server.requests.clear()  # all of them would not fit into memory
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 5)


if __name__ == "__main__":
    made = Google(int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), gets_stuck="stuck" in sys.argv[5:])
    asyncio.run(serve(int(sys.argv[1]), made))
