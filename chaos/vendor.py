"""The fake vendor, a process of its own: Gemini's images and texts, Omni's videos; seeded faults; a book of its bills.

    python -m chaos.vendor PORT SEED TIMEOUT FOLDER [stuck]

`FOLDER/vendor.jsonl` gets a line per order before it is answered. The prompt holds `[chaos:<marker>]`, by which the
order is known, and the picture, text or film holds it as well. With `stuck`, some films never get ready. Once the file
`FOLDER/calm` is there, no more faults are drawn.
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

from chaos.products import step_in
from chaos.vendor_faults import NO_FAULT, STUCK, Kind, VendorFault, draw_fault
from tallyframe.priority import stand_back
from tests.support.google import FakeGemini, candidate, inline
from tests.support.google_all import KEY
from tests.support.google_text import TEXT_MODEL, FakeGeminiText, written
from tests.support.google_videos import FakeOmni
from tests.support.google_wire import failure, quota
from tests.support.vendor import DROP, Reply, Request, answer, vendor

BOOK = "vendor.jsonl"
JOBS = "vendor-jobs.jsonl"  # the films that were ordered; a vendor that was killed reads it at its next start
CALM_FILE = "calm"
_MARKER = re.compile(rb"\[chaos:([\w-]+)\]")
_CANCEL = re.compile(r"/v1/interactions/([\w-]+)/cancel")
_SIZE = 128  # pixels
_GARBAGE = Reply(200, b"<html>The proxy is sorry.</html>", {"Content-Type": "text/html"})


def marked(marker: str) -> str:
    """Return the part of a prompt by which the vendor knows the order."""
    return f"[chaos:{marker}]"


class Omni(FakeOmni):
    """Omni. Its films hold the marker of their order, and are ready after 0 to 3 looks."""

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
    text: FakeGeminiText = field(default_factory=lambda: FakeGeminiText(key=KEY))
    omni: Omni = field(default_factory=lambda: Omni(key=KEY))
    asked: Counter[str] = field(default_factory=Counter)
    since: int = 0  # lines of the book when this process was started

    def __post_init__(self) -> None:
        """Read the films that were ordered before this process was started."""
        lines = (self.folder / JOBS).read_text().splitlines() if (self.folder / JOBS).exists() else []
        jobs = [json.loads(line) for line in lines]
        # Requests are numbered on from there, or a vendor that is killed every minute draws the same faults forever.
        self.since = len((self.folder / BOOK).read_text().splitlines()) if (self.folder / BOOK).exists() else 0
        self.omni.markers = {job: marker for job, marker, _ in jobs}
        self.omni.stuck = {job for job, _, is_stuck in jobs if is_stuck}
        self.omni.jobs.update(dict.fromkeys(self.omni.markers, "in_progress"))

    def answer(self, request: Request) -> Reply:
        """Answer with the fault that is drawn for the request, and write an order into the book before."""
        kind, marker = self._identify(request)
        if kind is None:
            if request.method == "POST":
                self._note({"kind": "complaint", "words": f"an order without a marker: {request.path}"})
            return self.omni.answer(request)
        fault = self._draw(kind, marker)
        if kind in {"image", "text", "video"}:
            reply = self._order(request, kind, marker, fault)
        elif kind == "cancel":
            reply = self._cancel(request, marker, fault)
        else:
            reply = self._look(request, fault)
        for words in self._complaints():
            self._note({"kind": "complaint", "words": words})
        self.gemini.complaints.clear()
        self.text.complaints.clear()
        self.omni.complaints.clear()
        return replace(reply, delay=fault.seconds)

    def _draw(self, kind: Kind, marker: str) -> VendorFault:
        name = f"{kind}:{marker}"
        self.asked[name] += 1
        if (self.folder / CALM_FILE).exists():
            return NO_FAULT
        fault = draw_fault(kind, self.seed, marker, self.since + self.asked[name], timeout=self.timeout)
        return NO_FAULT if fault.name == STUCK and not self.gets_stuck else fault

    def _identify(self, request: Request) -> tuple[Kind | None, str]:
        """Return the kind of the request, and the marker or the ticket that it is about. None: neither is there."""
        if found := _MARKER.search(request.body):
            if not request.path.endswith(":generateContent"):
                return "video", found[1].decode()
            return "text" if f"/{TEXT_MODEL}:" in request.path else "image", found[1].decode()
        if stop := _CANCEL.fullmatch(request.path):
            return "cancel", stop[1]
        job = re.fullmatch(r"/v1/interactions/([\w-]+)|/v1/files/([a-z0-9-]+):download", request.path)
        if job is None or request.method != "GET":
            return None, ""
        return ("look", job[1]) if job[1] else ("download", job[2])

    def _order(self, request: Request, kind: Kind, marker: str, fault: VendorFault) -> Reply:
        step = step_in(request.body.decode(errors="replace")) or kind
        line = {"kind": kind, "marker": marker, "step": step, "fault": fault.name}
        if not fault.is_paid:
            self._note({**line, "paid": False})
            return _unpaid(fault)
        make = {"image": self._image, "text": self._words, "video": self._video}[kind]
        reply = make(request, marker, fault)
        is_paid = not self._complaints()
        film = {"ticket": self._latest_film()} if is_paid and kind == "video" else {}
        self._note({**line, "paid": is_paid, **film})
        return reply

    def _image(self, request: Request, marker: str, fault: VendorFault) -> Reply:
        made = {"empty": answer(candidate({"text": "I would rather not."}))}
        made["broken"] = answer(candidate(inline(b"no picture at all")))
        self.gemini.replies.clear()  # of an order that was refused
        self.gemini.replies.append(made.get(fault.name) or answer(candidate(inline(_picture(marker)))))
        self.gemini.orders.clear()  # all of them would not fit into memory
        return _spoil(self.gemini.answer(request), fault)

    def _words(self, request: Request, marker: str, fault: VendorFault) -> Reply:
        made = {"empty": answer(candidate()), "broken": answer(written('{"words": 7}'))}
        good = answer(written(json.dumps({"words": f"Words about {marked(marker)}"})))
        self.text.replies.clear()
        self.text.replies.append(made.get(fault.name) or good)
        self.text.orders.clear()
        return _spoil(self.text.answer(request), fault)

    def _video(self, request: Request, marker: str, fault: VendorFault) -> Reply:
        reply = self.omni.answer(request)
        if not self._complaints():
            job, is_stuck = self._latest_film(), fault.name == STUCK
            self.omni.markers[job] = marker
            if is_stuck:
                self.omni.stuck.add(job)
            with (self.folder / JOBS).open("a") as jobs:
                jobs.write(json.dumps([job, marker, is_stuck]) + "\n")
        return failure(500, "INTERNAL", "Taken all the same.") if fault.name == "500 paid" else _spoil(reply, fault)

    def _latest_film(self) -> str:
        return next(reversed(self.omni.jobs))

    def _cancel(self, request: Request, ticket: str, fault: VendorFault) -> Reply:
        """Stop a film and write that down, unless the fault prevents it."""
        if not fault.is_paid:
            return _unpaid(fault)
        reply = self.omni.answer(request)
        if self.omni.jobs.get(ticket) == "cancelled":
            self._note({"kind": "cancel", "ticket": ticket})
        return _spoil(reply, fault)

    def _look(self, request: Request, fault: VendorFault) -> Reply:
        """Answer a poll or a download."""
        if fault.name == "verdict":
            reply = self.omni.answer(request)
            return replace(reply, body=reply.body.replace(b'"completed"', b'"failed"'))
        return _spoil(self.omni.answer(request), fault) if fault.is_paid else _unpaid(fault)

    def _complaints(self) -> list[str]:
        """Return what is wrong with the request under way."""
        return [*self.gemini.complaints, *self.text.complaints, *self.omni.complaints]

    def _note(self, line: dict[str, Any]) -> None:
        with (self.folder / BOOK).open("a") as book:
            book.write(json.dumps({"at": time(), **line}) + "\n")


def _picture(marker: str) -> bytes:
    """Draw a picture that holds the marker of its order."""
    out, info = BytesIO(), PngInfo()
    info.add_text("Comment", marked(marker))
    Image.new("RGB", (_SIZE * 9 // 16, _SIZE), "teal").save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _spoil(reply: Reply, fault: VendorFault) -> Reply:
    """Return what the client gets of a good answer: nothing, half of it, or garbage."""
    if fault.name == "dropped":
        return DROP
    if fault.name == "cut":
        return replace(reply, cut_after=len(reply.body) // 2)
    return _GARBAGE if fault.name == "garbage" else reply


def _unpaid(fault: VendorFault) -> Reply:
    errors = {
        "500": failure(500, "INTERNAL", "Something broke."),
        "503": failure(503, "UNAVAILABLE", "Busy."),
        "429": quota(delay="1s"),
    }
    return errors.get(fault.name, DROP)


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
    stand_back()  # it stands for one on another machine
    made = Google(int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), gets_stuck="stuck" in sys.argv[5:])
    asyncio.run(serve(int(sys.argv[1]), made))
