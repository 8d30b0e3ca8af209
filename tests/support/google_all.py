"""One server in Google's place, for whole processes: images, words, Omni and Veo behind one address and one key."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.google import FakeGemini
from tests.support.google_text import FakeGeminiText
from tests.support.google_videos import FakeOmni, FakeVeo
from tests.support.vendor import Reply, Request, Vendor, vendor

KEY = "canary-of-google-4e7d2a91c0"


@dataclass
class FakeGoogle:
    """`before` may answer in place of all of them, or return None; `slow` is seconds that each answer takes."""

    gemini: FakeGemini = field(default_factory=lambda: FakeGemini(key=KEY))
    text: FakeGeminiText = field(default_factory=lambda: FakeGeminiText(key=KEY))
    omni: FakeOmni = field(default_factory=lambda: FakeOmni(key=KEY))
    veo: FakeVeo = field(default_factory=lambda: FakeVeo(key=KEY))
    before: Callable[[Request], Reply | None] = lambda _request: None
    slow: float = 0.0
    server: Vendor = field(default_factory=lambda: Vendor(""))

    async def answer(self, request: Request) -> Reply:
        await asyncio.sleep(self.slow)
        if reply := self.before(request):
            return reply
        owners = [one for one in (self.gemini, self.text, self.omni, self.veo) if one.owns(request)]
        named = [one for one in owners if f"/{one.model}" in request.path]  # all know GET /v1/models/{model}
        return (named or owners or [self.gemini])[0].answer(request)

    def creates(self) -> list[Request]:
        """Every order of a video that has arrived."""
        return [*self.server.asked("POST", "/interactions"), *self.server.asked("POST", ":predictLongRunning")]

    @property
    def complaints(self) -> list[str]:
        return [line for one in (self.gemini, self.text, self.omni, self.veo) for line in one.complaints]

    def environment(self, *, images: str = "gemini", videos: str = "omni", **more: str) -> dict[str, str]:
        """What makes a process of ours use it; other settings by their names without the prefix."""
        ours = {
            "GEMINI_BASE_URL": self.server.url,
            "IMAGE_PROVIDERS": images,
            "VIDEO_PROVIDERS": videos,
            "PROVIDER_POLL": "0.1",
            "PROVIDER_TIMEOUT": "5",  # seconds: it answers at once, but the machine may be busy
            "MAX_RETRIES": "1",
            **more,
        }
        return {"GEMINI_API_KEY": KEY} | {f"TALLYFRAME_{name}": value for name, value in ours.items()}


@asynccontextmanager
async def google() -> AsyncIterator[FakeGoogle]:
    fake = FakeGoogle()
    async with vendor(fake.answer) as server:
        fake.server = server
        yield fake
