"""Google's video services in small: they check each request strictly, keep what was ordered, and count what is paid.

Both answer for `tests.support.vendor`. `instead` holds replies to be given in place of the real ones, first come first
served: of "create" (the order is not taken then), "poll", "cancel", "probe" and "download". A reply in `lost` is given
for an order that *was* taken, and is paid. `complaints` says what a request had wrong; a test expects none.
"""

import base64
import re
import struct
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from io import BytesIO
from typing import Any

import av
from PIL import Image

from tests.support.google_wire import (
    Wrong,
    bad_key,
    check_interaction,
    check_prediction,
    completed,
    expect,
    failure,
    interactions_error,
    probed,
    read,
)
from tests.support.vendor import Reply, Request, answer

KEY = "AIzaTestKey-canary-0123456789"
DEVELOPER_HOST = "https://generativelanguage.googleapis.com"
CREATED = "2026-11-20T10:00:00Z"


@cache
def film(width: int = 90, height: int = 160, seconds: int = 1) -> bytes:
    """Shoot a real MP4 of one colour, at 8 frames a second."""
    out = BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(8 * seconds):
            frame = av.VideoFrame.from_image(Image.new("RGB", (width, height), "navy"))  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


@dataclass
class Service:
    """What both have in common: keys, scripts, files. With `token`, a bearer token is asked for instead of the key."""

    key: str = KEY
    token: str = ""
    runs: int = 0  # polls that find a job still running, for each job
    paid: int = 0
    film: bytes = field(default_factory=film, repr=False)  # what is delivered
    film_size: int = 0  # bytes that a download has at least; what is added is a part of the MP4 that players skip
    instead: defaultdict[str, deque[Reply]] = field(default_factory=lambda: defaultdict(deque))
    lost: deque[Reply] = field(default_factory=deque)
    complaints: list[str] = field(default_factory=list)
    polls: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def answer(self, request: Request) -> Reply:
        """Answer a request, or say 404 to what is none of ours."""
        for method, path, what, give in self.routes():
            match = re.fullmatch(path, request.path)
            if match and method == request.method:
                return self._answer(request, what, partial(give, request, *match.groups()))
        return failure(404, "NOT_FOUND", f"No such path: {request.path}")

    def owns(self, request: Request) -> bool:
        """Say if `answer` knows the path, for a server that holds several services."""
        return any(request.method == method and re.fullmatch(path, request.path) for method, path, *_ in self.routes())

    def routes(self) -> list[tuple[str, str, str, Callable[..., Reply]]]:
        """Method, pattern of the path, what it is called in `instead`, and who answers."""
        return [("GET", r"/v1(?:beta)?/files/([a-z0-9-]+):download", "download", self._download)]

    def _answer(self, request: Request, what: str, give: Callable[[], Reply]) -> Reply:
        if refused := self._refused(request):
            return refused
        if self.instead[what]:
            return self.instead[what].popleft()
        try:
            return give()
        except (Wrong, LookupError, TypeError) as wrong:
            self.complaints.append(f"{request.method} {request.target}: {wrong!r}")
            return failure(400, "INVALID_ARGUMENT", str(wrong))

    def _refused(self, request: Request) -> Reply | None:
        """Keys travel in their header only, and must be right."""
        if self.key in request.target or "key" in request.query or self.key.encode() in request.body:
            self.complaints.append("a key outside of its header")
        if self.token:
            given = request.headers.get("authorization")
            return None if given == f"Bearer {self.token}" else failure(401, "UNAUTHENTICATED", "No such token.")
        return None if request.headers.get("x-goog-api-key") == self.key else bad_key()

    def _download(self, request: Request, name: str) -> Reply:
        expect(request.query == {"alt": "media"}, "a download asks for alt=media")
        if name != "vid0001":
            return failure(404, "NOT_FOUND", "No such file.")
        more = self.film_size - len(self.film)
        box = struct.pack(">I4s", more, b"free") if more > 0 else b""
        return Reply(200, self.film + box, {"Content-Type": "video/mp4"}, pad_to=self.film_size)

    def _take(self, reply: Reply) -> Reply:
        self.paid += 1
        return self.lost.popleft() if self.lost else reply

    def _running(self, job: str) -> bool:
        self.polls[job] += 1
        return self.polls[job] <= self._looks(job)

    def _looks(self, job: str) -> float:
        """Return how many polls find the job still running."""
        del job
        return self.runs


@dataclass
class FakeOmni(Service):
    """The interactions API. `ending` is laid over the body of each finished interaction.

    `base` is "/v1", or in Vertex mode "/v1beta1/projects/p/locations/global", or "/v1beta1" for a key and no project.
    """

    base: str = "/v1"
    model: str = "gemini-omni-1.1-flash"
    longest: int = 10  # seconds of video
    ending: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)  # id → "in_progress" or "cancelled"

    @property
    def vertex(self) -> bool:
        return self.base != "/v1"

    def routes(self) -> list[tuple[str, str, str, Callable[..., Reply]]]:
        one = re.escape(self.base) + r"/interactions/([\w-]+)"
        models = rf"{self.base.partition('/projects')[0]}/(?:publishers/google/)?models/([\w.-]+)"
        return [
            ("POST", f"{self.base}/interactions", "create", self._create),
            ("GET", one, "poll", self._poll),
            ("POST", f"{one}/cancel", "cancel", self._cancel),
            ("GET", models, "probe", lambda _request, name: probed(name, self.model)),
            *([] if self.vertex else super().routes()),
        ]

    def _create(self, request: Request) -> Reply:
        check_interaction(read(request), self.model, self.longest, vertex=self.vertex)
        name = f"v1_int{len(self.jobs) + 1:04}"
        self.jobs[name] = "in_progress"
        return self._take(answer({**self._body(name), "status": "in_progress"}))

    def _poll(self, request: Request, name: str) -> Reply:
        expect(request.query == {"stream": "false"}, "a poll streams nothing")
        if name not in self.jobs:
            return interactions_error("Invalid interaction name")
        if self.jobs[name] == "cancelled" or self._running(name):
            return answer({**self._body(name), "status": self.jobs[name]})
        video = {"type": "video", "mime_type": "video/mp4"}
        if self.vertex:
            video["data"] = base64.b64encode(self.film).decode()
        else:
            video["uri"] = f"{DEVELOPER_HOST}/v1/files/vid0001:download?alt=media"
        return answer({**self._body(name), **completed(video), **self.ending})

    def _cancel(self, _request: Request, name: str) -> Reply:
        if name not in self.jobs:
            return interactions_error("Invalid interaction name")
        if self.polls[name] > self._looks(name):
            return interactions_error("The interaction has already ended.")
        self.jobs[name] = "cancelled"
        return answer({**self._body(name), "status": "cancelled"})

    def _body(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "interaction", "model": self.model, "created": CREATED, "updated": CREATED}


@dataclass
class FakeVeo(Service):
    """Long-running operations: the Developer API's way, or with any other `base` Vertex's.

    `base` is then "/v1beta1/projects/p/locations/l", or "/v1beta1" for a key without a project. `ending` replaces the
    finished operation's `response`, or with "error" in it becomes its `error`.
    """

    base: str = "/v1beta"
    model: str = "veo-3.1-generate-preview"
    ending: dict[str, Any] | None = None
    jobs: set[str] = field(default_factory=set)

    @property
    def vertex(self) -> bool:
        return self.base != "/v1beta"

    def routes(self) -> list[tuple[str, str, str, Callable[..., Reply]]]:
        if not self.vertex:
            return [
                ("POST", r"/v1beta/models/([\w.-]+):predictLongRunning", "create", self._create),
                ("GET", r"/v1beta/(models/[\w.-]+/operations/\w+)", "poll", self._get),
                ("GET", r"/v1(?:beta)?/models/([\w.-]+)", "probe", lambda _request, name: probed(name, self.model)),
                *super().routes(),
            ]
        published = r"/publishers/google/models/([\w.-]+)"
        return [
            ("POST", f"{self.base}{published}:predictLongRunning", "create", self._create),
            ("POST", f"/v1beta1/{self._parent()}{published}:fetchPredictOperation", "poll", self._fetch),
            ("GET", f"/v1beta1{published}", "probe", lambda _request, name: probed(name, self.model)),
        ]

    def _parent(self) -> str:
        _, _, project = self.base.partition("/projects/")
        return f"projects/{project or '123456/locations/us-central1'}"

    def _create(self, request: Request, model: str) -> Reply:
        if model != self.model:
            return failure(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta.")
        check_prediction(read(request))
        above = f"{self._parent()}/publishers/google/" if self.vertex else ""
        name = f"{above}models/{model}/operations/op{len(self.jobs) + 1:04}"
        self.jobs.add(name)
        return self._take(answer({"name": name}))

    def _get(self, _request: Request, name: str) -> Reply:
        return self._poll(name)

    def _fetch(self, request: Request, model: str) -> Reply:
        body = read(request)
        expect(set(body) == {"operationName"}, "a poll names its operation")
        expect(f"/models/{model}/operations/" in body["operationName"], "a poll asks the model of its operation")
        return self._poll(body["operationName"])

    def _poll(self, name: str) -> Reply:
        if name not in self.jobs:
            return failure(404, "NOT_FOUND", "Operation not found.")
        if self._running(name):
            return answer({"name": name})
        ending = self._made() if self.ending is None else self.ending
        over = {"error": ending["error"]} if "error" in ending else {"response": ending}
        return answer({"name": name, "done": True, **over})

    def _made(self) -> dict[str, Any]:
        if self.vertex:
            data = base64.b64encode(self.film).decode()
            return {"raiMediaFilteredCount": 0, "videos": [{"bytesBase64Encoded": data, "mimeType": "video/mp4"}]}
        uri = f"{DEVELOPER_HOST}/v1beta/files/vid0001:download?alt=media"
        return {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse",
            "generateVideoResponse": {"generatedSamples": [{"video": {"uri": uri}}]},
        }
