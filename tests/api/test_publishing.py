"""Show, take back and delete: what everybody sees, and what is left when a project is gone."""

from typing import Any

import httpx

from tests.support.cast import Member
from tests.support.drawn import RED, picture
from tests.support.quick import IMAGE, make_all
from tests.support.remains import World, problem
from tests.support.working import Bench

PUBLISHED = {"id", "kind", "prompt", "aspect_ratio", "image_url", "video_url", "display_name", "published_at"}


async def post(member: Member, project: dict[str, Any], action: str) -> httpx.Response:
    return await member.http.post(f"/v1/projects/{project['id']}/{action}")


async def explored(client: httpx.AsyncClient, query: str = "") -> list[str]:
    return [project["prompt"] for project in (await client.get(f"/v1/explore{query}")).json()["data"]]


async def test_publish_and_unpublish(alice: Member, bench: Bench, anybody: httpx.AsyncClient) -> None:
    project = await alice.order("a cup")
    problem(await post(alice, project, "publish"), 409, "nothing_to_publish")
    still = await post(alice, project, "unpublish")
    assert (still.status_code, still.json()["is_published"]) == (200, False)
    await make_all(bench)
    draft = await alice.project(project["id"])

    first = await post(alice, project, "publish")
    assert first.status_code == 200
    assert (first.json()["status"], first.json()["is_published"]) == ("published", True)
    assert first.json()["status_sequence"] > draft["status_sequence"]
    [shown] = (await anybody.get("/v1/explore")).json()["data"]
    again = await post(alice, project, "publish")
    assert again.json()["status_sequence"] == first.json()["status_sequence"]
    assert again.headers["etag"] == first.headers["etag"]
    assert (await anybody.get("/v1/explore")).json()["data"] == [shown]

    for _ in range(2):
        back = await post(alice, project, "unpublish")
        assert (back.status_code, back.json()["status"], back.json()["is_published"]) == (200, "draft", False)
        assert await explored(anybody) == []
    failed = await alice.order("[fail:content_policy] a cup")
    await bench.drain()
    problem(await post(alice, failed, "publish"), 409, "nothing_to_publish")
    assert await explored(anybody) == []


async def test_explore_shows_no_owner(
    alice: Member, bob: Member, bench: Bench, anybody: httpx.AsyncClient, owner: Any
) -> None:
    order = {"kind": "image", "prompt": "a cup", "metadata": '{"note": "for alice only"}'}
    project = (await alice.http.post("/v1/projects", data=order, files={"images": picture()})).json()
    await make_all(bench)
    published = (await post(alice, project, "publish")).json()

    for client in (anybody, bob.http):
        answer = await client.get("/v1/explore")
        assert answer.status_code == 200
        [shown] = answer.json()["data"]
        assert set(shown) == PUBLISHED
        assert shown["prompt"] == "a cup"
        assert shown["image_url"] == published["image_url"]
        name = await owner.fetchval("SELECT display_name FROM users WHERE email = 'alice@example.com'")
        assert shown["display_name"] == name
        secrets = [alice.user.id, alice.user.account_id, "alice@", "example.com", "for alice only", alice.key]
        secrets += [project["generation"]["id"], project["images"][0]["id"]]
        image_path = published["image_url"].removeprefix("http://testserver")
        said = answer.text.replace(image_path, "")
        assert not [secret for secret in secrets if str(secret) in said]
        assert (await client.get(shown["image_url"])).content == IMAGE


async def test_explore_pages_latest_first(
    rich: Member, alice: Member, bench: Bench, anybody: httpx.AsyncClient
) -> None:
    projects = [await rich.order(f"cup {n}") for n in range(5)]
    projects.append(await alice.order("cup 5"))
    await make_all(bench)
    for project in (*projects[1:5], projects[0]):
        await post(rich, project, "publish")
    await post(alice, projects[5], "publish")
    every = ["cup 5", "cup 0", "cup 4", "cup 3", "cup 2", "cup 1"]
    assert await explored(anybody) == every

    paged, cursor = [], ""
    for number in range(3):
        page = (await anybody.get(f"/v1/explore?limit=2{cursor}")).json()
        paged += [project["prompt"] for project in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
        assert (page["next_cursor"] is None) == (number == 2)
    assert paged == every


async def test_what_was_published_at_the_same_instant_is_shown_once(
    rich: Member, bench: Bench, anybody: httpx.AsyncClient, owner: Any
) -> None:
    for n in range(4):
        await rich.order(f"cup {n}")
    await make_all(bench)
    await owner.execute("UPDATE projects SET is_published = true, published_at = '2026-01-01 00:00:00.123456+00'")
    paged, cursor = [], ""
    for _ in range(4):
        page = (await anybody.get(f"/v1/explore?limit=1{cursor}")).json()
        paged += [project["prompt"] for project in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(paged) == ["cup 0", "cup 1", "cup 2", "cup 3"]


async def test_delete_takes_the_media_and_keeps_the_books(
    alice: Member, bench: Bench, world: World, anybody: httpx.AsyncClient
) -> None:
    order = {"kind": "image", "prompt": "a secret cup", "metadata": '{"note": "secret too"}'}
    project = (await alice.http.post("/v1/projects", data=order, files={"images": picture()})).json()
    path = f"/v1/projects/{project['id']}"
    problem(await alice.http.delete(path), 409, "generating")
    assert (await alice.project(project["id"]))["is_generating"] is True

    await make_all(bench)
    done = (await post(alice, project, "publish")).json()
    entries = await alice.entries()
    assert len(world.files()) == 2
    media = [done["image_url"], done["generation"]["outputs"][0]["download_url"], done["images"][0]["url"]]

    gone = await alice.http.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert world.files() == []
    for url in media:
        problem(await anybody.get(url), 404, "not_found", url)
    for method, suffix in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/generations"),
        *(("POST", f"/{action}") for action in ("video", "regenerate", "cancel", "publish", "unpublish")),
    ]:
        answer = await alice.http.request(method, path + suffix, json={} if method == "POST" else None)
        problem(answer, 404, "not_found", f"{method} {suffix}")
    problem(await alice.http.get(path, headers={"If-None-Match": "*"}), 404, "not_found")
    assert await explored(anybody) == []
    assert (await alice.http.get("/v1/projects")).json() == {"data": [], "next_cursor": None}

    assert await alice.entries() == entries
    assert await alice.available() == 15
    receipt = (await alice.http.get(f"/v1/generations/{project['generation']['id']}")).json()
    assert (receipt["status"], receipt["project_id"]) == ("succeeded", project["id"])
    assert receipt["credits"] == {"quoted": 5, "charged": 5, "refunded": 0}
    assert receipt["outputs"] == []
    reused = {"kind": "image", "prompt": "a", "images": [{"asset_id": project["images"][0]["id"]}]}
    problem(await alice.http.post("/v1/projects", json=reused), 404, "not_found")


async def test_a_deleted_prompt_is_nowhere_any_more(alice: Member, bench: Bench, owner: Any) -> None:
    project = await alice.order("a very secret cup", metadata={"note": "very secret too"})
    await make_all(bench)
    await alice.http.delete(f"/v1/projects/{project['id']}")
    for table in ("projects", "generations", "generation_steps"):
        rows = await owner.fetch(f"SELECT row_to_json(t)::text AS row FROM {table} AS t")  # noqa: S608
        assert not [row["row"] for row in rows if "very secret" in row["row"]], table


async def test_a_picture_lives_as_long_as_a_project_uses_it(alice: Member, bench: Bench, world: World) -> None:
    form = {"kind": "image", "prompt": "first"}
    first = (await alice.http.post("/v1/projects", data=form, files={"images": picture(RED)})).json()
    await make_all(bench)
    first = await alice.project(first["id"])
    shared = [{"asset_id": first["images"][0]["id"]}, {"asset_id": first["generation"]["outputs"][0]["id"]}]
    second = await alice.order("second", images=shared)
    await make_all(bench)
    second = await alice.project(second["id"])

    assert (await alice.http.delete(f"/v1/projects/{first['id']}")).status_code == 204
    for image in second["images"]:
        assert (await alice.http.get(image["url"])).status_code == 200
    assert (await alice.project(second["id"]))["images"] == second["images"]
    again = await post(alice, second, "regenerate")
    assert again.status_code == 202
    provider = await make_all(bench)
    assert len(provider.given) == 2

    assert (await alice.http.delete(f"/v1/projects/{second['id']}")).status_code == 204
    assert world.files() == []  # nobody uses them any more, so nobody may find them


async def test_a_kept_picture_outlives_the_projects_that_used_it(alice: Member, bench: Bench) -> None:
    kept = (await alice.http.post("/v1/assets", files={"file": picture()})).json()
    project = await alice.order(images=[{"asset_id": kept["id"]}])
    await make_all(bench)
    await alice.http.delete(f"/v1/projects/{project['id']}")
    assert (await alice.http.get(kept["url"])).status_code == 200
    assert (await alice.order(images=[{"asset_id": kept["id"]}]))["images"] == [kept]
