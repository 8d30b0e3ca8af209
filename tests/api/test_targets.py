"""What a first line may ask for: how long, with which method, and what of it is counted."""

import httpx
import pytest

from tallyframe.api import metrics
from tests.support.cast import Member
from tests.support.remains import problem


@pytest.mark.parametrize(
    "target",
    [
        "/static-offline-docs/" + "a/" * 2500,
        "/media/" + "..%2f" * 1000 + "x.png",
        "/v1/pricing?" + "a&" * 2500,
        "/healthz?" + "a=b&" * 1100,
        "/v1/projects?cursor=" + "a" * 5000,
        "/" + "%20" * 1400,
    ],
    ids=lambda target: target[:12],
)
async def test_a_long_target_is_refused_before_it_is_read(anybody: httpx.AsyncClient, target: str) -> None:
    refused = problem(await anybody.get(target), 400, "uri_too_long")
    assert "4,096 are accepted" in refused["detail"]


async def test_one_as_long_as_may_be_is_served(anybody: httpx.AsyncClient) -> None:
    path = "/v1/pricing?a="
    assert (await anybody.get(path + "b" * (4096 - len(path) + 1))).status_code == 200
    assert (await anybody.get(path + "b" * (4096 - len(path) + 2))).status_code == 400


async def test_a_blank_parameter_is_refused_by_each_list(alice: Member) -> None:
    for query in ("status=", "cursor=", "limit=", "kind="):
        problem(await alice.http.get(f"/v1/projects?{query}"), 422, "validation_failed", query)
    for query in ("status=", "cursor=", "limit=", "operation="):
        problem(await alice.http.get(f"/v1/generations?{query}"), 422, "validation_failed", query)


async def test_methods_that_nobody_has_are_counted_together(anybody: httpx.AsyncClient) -> None:
    for method in ("PROPFIND", "MERGE", "LOCK", "TRACE", "BREW"):
        await anybody.request(method, "/v1/pricing")
    counted = {sample.labels["method"] for each in metrics.REQUESTS.collect() for sample in each.samples}
    assert "other" in counted
    assert counted <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}


async def test_the_docs_page_has_its_files(anybody: httpx.AsyncClient) -> None:
    for name, kind in (
        ("swagger-ui.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("favicon.png", "image/png"),
    ):
        path = f"/static-offline-docs/{name}"
        assert path in (await anybody.get("/docs")).text
        answer = await anybody.get(path)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        head = await anybody.head(path)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(answer.content)))
        again = await anybody.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for part in ("items=0-1", "bytes=abc", "bytes=99999999-"):
            whole = await anybody.get(path, headers={"Range": part})
            assert (whole.status_code, whole.content) == (200, answer.content)
    for other in ("nothing.css", "a/swagger-ui.css", "..%2fcore.py", "redoc.standalone.js"):
        problem(await anybody.get(f"/static-offline-docs/{other}"), 404, "not_found")
