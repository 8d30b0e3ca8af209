"""Media in somebody else's storage: stored by a worker, read by a browser, removed with the project."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tallyframe.db import Database
from tallyframe.settings import Settings, load_settings
from tests.conftest import enroll, serving
from tests.support.books import until_all_ended
from tests.support.cloudinary import fake_cloudinary
from tests.support.processes import Processes
from tests.support.s3 import fake_s3


@dataclass
class Place:
    """A storage that runs: its settings, as overrides and as variables, and how many files it holds."""

    overrides: dict[str, Any]
    variables: dict[str, str]
    count: Callable[[], int]


@asynccontextmanager
async def s3() -> AsyncIterator[Place]:
    async with fake_s3() as fake:
        names = {"s3_bucket": fake.bucket, "s3_endpoint_url": fake.url}
        keys = {"aws_access_key_id": fake.access_key_id, "aws_secret_access_key": fake.secret_access_key}
        ours = {f"TALLYFRAME_{name.upper()}": value for name, value in names.items()}
        theirs = {name.upper(): value for name, value in keys.items()}
        yield Place(names | keys, ours | theirs, lambda: len(fake.objects))


@asynccontextmanager
async def cloudinary() -> AsyncIterator[Place]:
    async with fake_cloudinary() as fake:
        given = fake.settings()
        names = {f"cloudinary_{name}": given[name] for name in ("upload_prefix", "delivery_url")}
        ours = {f"TALLYFRAME_{name.upper()}": value for name, value in names.items()}
        url = given["cloudinary_url"]
        yield Place({**names, "cloudinary_url": url}, {**ours, "CLOUDINARY_URL": url}, lambda: len(fake.assets))


PLACES: dict[str, Callable[[], AbstractAsyncContextManager[Place]]] = {"s3": s3, "cloudinary": cloudinary}


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Any) -> Settings:
    return load_settings(
        database_url=database_url, redis_url=redis_url, data_dir=tmp_path / "data", public_url="http://testserver"
    )


@pytest.mark.parametrize("name", PLACES)
async def test_stored_read_and_removed(
    name: str, settings: Settings, processes: Processes, db: Database, owner: Any
) -> None:
    async with PLACES[name]() as place:
        elsewhere = settings.replaced(**place.overrides)
        assert elsewhere.storage.in_use == name
        async with serving(elsewhere) as client_for:
            member = await enroll(db, client_for, "kept@example.com", 20)
            await processes.worker(**place.variables)
            project = await member.order("a cup", aspect_ratio="9:16")
            await until_all_ended(owner)
            made = await member.project(project["id"])
            await look(made, made["generation"]["outputs"][0])
            assert place.count() == 1

            video = await member.http.post(f"/v1/projects/{project['id']}/video", json={"duration_seconds": 1})
            assert video.status_code == 202
            await until_all_ended(owner)
            filmed = await member.project(project["id"])
            assert filmed["status"] == "draft", filmed["error"]
            assert place.count() == 2
            assert (await member.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
            await until_empty(place)


async def look(made: dict[str, Any], asset: dict[str, Any]) -> None:
    """Read both addresses as a browser does, without any credentials."""
    async with httpx.AsyncClient() as browser:
        shown = await browser.get(made["image_url"])
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
        assert len(shown.content) == asset["bytes"]
        downloaded = await browser.get(asset["download_url"])
        assert downloaded.content == shown.content
        assert "attachment" in downloaded.headers["content-disposition"]


async def until_empty(place: Place) -> None:
    async with asyncio.timeout(10):
        while place.count():
            await asyncio.sleep(0.05)
