"""Every secret is a canary here, vendors repeat them in their errors, and then they are looked for everywhere."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from tallyframe.outbox.relay import WAKE_UP
from tests.support.books import until_all_ended
from tests.support.cast import Member
from tests.support.drawn import GREEN, picture
from tests.support.google_all import KEY, FakeGoogle
from tests.support.processes import Process, Processes
from tests.support.vendor import Reply, Request, answer

SECRETS = {
    "GEMINI_API_KEY": KEY,
    "CLOUDINARY_URL": "cloudinary://canarykey:canary-of-cloudinary-51c0@cloud",
    "AWS_ACCESS_KEY_ID": "canary-of-aws-id-77aa",
    "AWS_SECRET_ACCESS_KEY": "canary-of-aws-secret-88bb",
    "TALLYFRAME_AUTH_JWT_SECRET": "canary-of-supabase-99cc-canary-of-supabase-99cc",
    "CLERK_WEBHOOK_SIGNING_SECRET": "whsec_Y2FuYXJ5LW9mLWNsZXJrLTAxMjM0NTY3ODk=",
    "SENTRY_DSN": "http://canary-of-sentry-1234@127.0.0.1:1/1",
}
CANARIES = [
    *(b"canary-of", b"whsec_Y2Fu", b"canarykey"),
    *(base64.b64encode(text)[:16] for text in (b"canary-of-cloudinary-51c0", KEY.encode(), b"canarykey:canary-of")),
    # pictures, as they are, in base64 and as Python shows bytes
    *(b"\x89PNG\r\n", b"iVBORw0KGgo", b"\\x89PNG", b"/9j/4AAQ", b"\\xff\\xd8\\xff"),
]
PICTURE = picture(GREEN)
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


def repeats_the_key(request: Request) -> Reply | None:
    """Refuse, and quote the key and the whole request in doing so; of storages, everything."""
    if "/v1_1/" in request.path or request.path.startswith("/media"):
        said = f"{dict(request.headers)} {request.target} {request.body[:4000]!r} {SECRETS}"
        return Reply(401, f"<Error><Code>No</Code><Message>{said}</Message></Error>".encode())
    if b"[tell]" not in request.body:
        return None
    message = f"API key {KEY} is not good; see https://x:{KEY}@host/?key={KEY} and {dict(request.headers)}"
    return answer({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}, 403)


@asynccontextmanager
async def monitored(redis_url: str) -> AsyncIterator[list[bytes]]:
    """Listen to every command that Redis is given."""
    seen: list[bytes] = []
    async with Redis.from_url(redis_url) as redis, redis.monitor() as monitor:

        async def listen() -> None:
            while True:
                seen.append(repr(await monitor.next_command()).encode())

        listening = asyncio.create_task(listen())
        yield seen
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@pytest.mark.parametrize("storage", ["local", "cloudinary", "s3"])
async def test_nothing_secret_shows_anywhere(
    storage: str, rich: Member, processes: Processes, fake: FakeGoogle, redis_url: str, owner: Any
) -> None:
    fake.before = repeats_the_key
    environment = SECRETS | fake.environment(
        LOG_LEVEL="debug", STORAGE=storage, CLOUDINARY_UPLOAD_PREFIX=fake.server.url
    )
    environment |= {
        "TALLYFRAME_AUTH_ISSUER": "http://127.0.0.1:1/issuer",
        "TALLYFRAME_AUTH_AUDIENCE": "authenticated",
        "TALLYFRAME_S3_BUCKET": "media",
        "TALLYFRAME_S3_ENDPOINT_URL": fake.server.url,
    }
    async with monitored(redis_url) as redis_saw:
        api, url = await processes.api(**environment)
        worker = await processes.worker(**environment)
        answers = await ask_for_everything(url, rich.key, stores=storage == "local")
        await (until_all_ended(owner) if storage == "local" else until_storing_failed(worker))
        answers += await look_at_the_results(url, rich.key)
        doctor = processes.start("doctor", **environment)
        assert await doctor.wait() == 1

    tables = [row[0] for row in await owner.fetch(TABLES)]
    rows = [repr(await owner.fetch(f"SELECT * FROM {table}")).encode() for table in tables]  # noqa: S608  # our own
    logs = [process.text.encode() for process in (api, worker, doctor)]
    for place, texts in {"answers": answers, "rows": rows, "logs": logs, "redis": redis_saw}.items():
        assert texts, place
        for text in texts:
            assert not [canary for canary in CANARIES if canary in text], (place, text)
    assert b"PERMISSION_DENIED" in b"".join(rows)
    assert b"provider_alarm" in logs[1]
    assert storage == "local" or b"store_failed" in logs[1]
    assert WAKE_UP.encode() in b"".join(redis_saw)


async def until_storing_failed(worker: Process) -> None:
    """Its result goes on being tried for long; what is to be seen has been seen by then."""
    await worker.until_logged("store_failed")
    await worker.until_logged("provider_alarm")


async def ask_for_everything(url: str, key: str, *, stores: bool) -> list[bytes]:
    """Order what succeeds and what is refused; try to sign in with wrong tokens and signatures."""
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as http:
        orders = [
            {"kind": kind, "prompt": prompt, "aspect_ratio": "9:16"}
            for kind in ("image", "video")
            for prompt in ("a cup", "a cup [tell]")
        ]
        given = [await http.post("/v1/projects", json=order) for order in orders]
        assert [one.status_code for one in given] == [202] * 4
        cat = {"images": ("cat.png", PICTURE, "image/png")}
        given.append(await http.post("/v1/projects", data={"kind": "image", "prompt": "a cat [tell]"}, files=cat))
        assert given[-1].status_code == (202 if stores else 503)
        forged = {"svix-id": "msg_1", "svix-timestamp": "1", "svix-signature": "v1,bm8="}
        given.append(await http.post("/v1/webhooks/clerk", content=b"{}", headers=forged))
        given.append(await http.get("/v1/me", headers={"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.e30.bm8"}))
        assert [one.status_code for one in given[5:]] == [401, 401]
    return [one.content + repr(one.headers).encode() for one in given]


async def look_at_the_results(url: str, key: str) -> list[bytes]:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as http:
        paths = ["/v1/projects", "/v1/me", "/v1/credits/entries", "/metrics", "/openapi.json", "/readyz"]
        projects = (await http.get("/v1/projects")).json()["data"]
        receipts = [f"/v1/projects/{project['id']}/generations" for project in projects]
        return [(await http.get(path)).content for path in (*paths, *receipts)]
