"""What is not Clerk's, not fresh or not an event is refused, and leaves nothing behind."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tallyframe.api.limits import MAX_WEBHOOK as MAX_BODY
from tallyframe.settings import Settings
from tallyframe.webhooks.signatures import Signatures
from tests.conftest import serving
from tests.support.clerk import PATH, SECRET, headers, secret_of, signature, user_event, with_clerk
from tests.support.jwks import JwksStub
from tests.support.remains import World, problem

OLD = secret_of(b"the one before")
BODY = json.dumps(user_event("user.created")).encode()
#: What Clerk never says of a user.
ODD: dict[str, list[Any]] = {
    "id": [None, "", 7, "u" * 256, "user\x00", ["user_1"]],
    "updated_at": [None, -1, "soon", 1.5, 10**30, 253_402_300_800_000],
    "email_addresses": [None, "ada@example.org", [None], [{"id": "idn_1"}]],
    "first_name": [7, ["Ada"]],
}
ODD_DELETIONS: list[Any] = [None, {}, {"id": ""}]
NO_EVENTS = (b"", b" ", b"{", b"null", b"[]", b'"user.created"', b"{}", b"[" * 5000, b'{"type": "\\ud800"}')


@pytest.fixture
def clerk_settings(settings: Settings) -> Iterator[Settings]:
    with JwksStub() as issuer:
        yield with_clerk(settings, issuer)


@pytest.fixture
async def http(clerk_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(clerk_settings) as clients:
        yield clients(None)


async def post(http: httpx.AsyncClient, body: bytes, given: dict[str, Any]) -> httpx.Response:
    return await http.post(PATH, content=body, headers=given)


async def accepted(http: httpx.AsyncClient, body: bytes, given: dict[str, Any], case: object = "") -> None:
    answer = await post(http, body, given)
    assert answer.status_code == 200, f"{case}: {answer.text}"


@pytest.fixture
async def untouched(world: World, owner: Any) -> AsyncIterator[None]:
    """After the test, there is what there was before."""
    before = await world.remains()
    yield
    assert await world.remains() == before
    assert await owner.fetchval("SELECT count(*) FROM webhook_events") == 0


async def test_what_is_refused_differs_only_where_a_test_says_so(http: httpx.AsyncClient) -> None:
    await accepted(http, BODY, headers(BODY))


@pytest.mark.usefixtures("untouched")
async def test_what_is_not_signed_is_refused(http: httpx.AsyncClient) -> None:
    good = headers(BODY, event_id="msg_1")
    stamp, signed = good["svix-timestamp"], good["svix-signature"]
    cases: dict[str, tuple[bytes, dict[str, Any]]] = {
        "no headers": (BODY, {}),
        **{f"no {name}": (BODY, {n: v for n, v in good.items() if n != name}) for name in good},
        **{f"empty {name}": (BODY, {**good, name: ""}) for name in good},
        "another body": (BODY.replace(b"Ada", b"Eve"), good),
        "a longer body": (BODY + b" ", good),
        "no body": (b"", good),
        "another id": (BODY, {**good, "svix-id": "msg_2"}),
        "another time": (BODY, {**good, "svix-timestamp": str(int(stamp) + 1)}),
        "no time": (BODY, {**good, "svix-timestamp": "now"}),
        "not a number": (BODY, {**good, "svix-timestamp": "nan"}),
        "for ever": (BODY, {**good, "svix-timestamp": "1e400"}),
        "another secret": (BODY, headers(BODY, secret=OLD)),
        "a cut signature": (BODY, {**good, "svix-signature": signed[:-5]}),
        "a signature without version": (BODY, {**good, "svix-signature": signed.removeprefix("v1,")}),
        "a signature without comma": (BODY, {**good, "svix-signature": f"v1 {signed}"}),
        "a signature with two commas": (BODY, {**good, "svix-signature": f"{signed},x"}),
        "a signature that is no base64": (BODY, {**good, "svix-signature": "v1,abcde"}),
        "a signature in another script": (BODY, {**good, "svix-signature": "v1,é".encode()}),
        "another version": (BODY, {**good, "svix-signature": signed.replace("v1,", "v1a,")}),
        "an id that holds a time": (BODY, headers(BODY, event_id=f"msg_1.{stamp}")),
        "an odd id": (BODY, headers(BODY, event_id="msg 1")),
        "a long id": (BODY, headers(BODY, event_id="m" * 256)),
    }
    for case, (body, given) in cases.items():
        said = problem(await post(http, body, given), 401, "unauthenticated", case)
        assert SECRET.removeprefix("whsec_") not in str(said)


@pytest.mark.usefixtures("untouched")
async def test_what_is_too_old_or_too_new_is_refused(http: httpx.AsyncClient) -> None:
    for seconds in (-86_400, -302, 302, 86_400):
        given = headers(BODY, at=time.time() + seconds)
        problem(await post(http, BODY, given), 401, "unauthenticated", seconds)


async def test_five_minutes_of_delay_are_put_up_with(http: httpx.AsyncClient) -> None:
    for seconds in (-290, 290):
        await accepted(http, BODY, headers(BODY, at=time.time() + seconds), seconds)


async def test_any_entry_of_the_list_may_match(http: httpx.AsyncClient) -> None:
    given = headers(BODY)
    good, bad = given["svix-signature"], headers(BODY, secret=OLD)["svix-signature"]
    for listed in (f"{bad} {good}", f"v1a,AAAA {good}", f"v2,%%% {bad} {good}", f"{good} {bad}"):
        await accepted(http, BODY, {**given, "svix-signature": listed}, listed)


async def test_the_headers_of_the_common_standard_work_too(http: httpx.AsyncClient) -> None:
    given = {name.replace("svix", "Webhook"): value for name, value in headers(BODY).items()}
    await accepted(http, BODY, given)


async def test_while_the_secret_is_changed_both_work(clerk_settings: Settings) -> None:
    for secrets, works in (((OLD,), [OLD]), ((SECRET, OLD), [SECRET, OLD]), ((SECRET,), [SECRET])):
        configured = clerk_settings.replaced(clerk_webhook_signing_secret=tuple(map(SecretStr, secrets)))
        async with serving(configured) as clients:
            for secret in (SECRET, OLD):
                status = (await post(clients(None), BODY, headers(BODY, secret=secret))).status_code
                assert status == (200 if secret in works else 401), (secrets, secret)


@pytest.mark.usefixtures("untouched")
async def test_without_a_secret_there_is_no_webhook(settings: Settings, clerk_settings: Settings) -> None:
    for nothing_set in (settings, clerk_settings.replaced(clerk_webhook_signing_secret=())):
        async with serving(nothing_set) as clients:
            problem(await post(clients(None), BODY, headers(BODY)), 404, "not_found")
            problem(await post(clients(None), b"", {}), 404, "not_found")


@pytest.mark.usefixtures("untouched")
async def test_what_is_no_text_is_refused(http: httpx.AsyncClient) -> None:
    for body in (b"\xff\xfe", BODY.replace(b"Ada", b"\xe9"), BODY.decode().encode("utf-16")):
        problem(await post(http, body, headers(body)), 401, "unauthenticated", body)


@pytest.mark.usefixtures("untouched")
async def test_what_is_signed_but_no_event_is_refused(http: httpx.AsyncClient) -> None:
    created = user_event("user.created")
    texts = [*NO_EVENTS, BODY + b"}"]
    texts += [json.dumps({**created, "type": value}).encode() for value in (None, 7, "", "a b", "x" * 101, "a\x00b")]
    for body in texts:
        problem(await post(http, body, headers(body)), 422, "validation_failed", body[:200])


async def test_what_is_an_event_and_makes_no_sense_is_refused_and_kept(
    http: httpx.AsyncClient, world: World, owner: Any
) -> None:
    """Perhaps Clerk has changed its form: then an event must not be lost before we have changed ours."""
    created = user_event("user.created")
    odd: list[Any] = [None, [], "x"]
    odd += [{**created["data"], name: value} for name, values in ODD.items() for value in values]
    texts = [json.dumps({**created, "data": value}).encode() for value in odd]
    texts += [json.dumps({"type": "user.deleted", "data": value}).encode() for value in ODD_DELETIONS]
    before = await world.remains()
    for body in texts:
        problem(await post(http, body, headers(body)), 422, "validation_failed", body[:200])
    assert {**await world.remains(), "outbox": 0} == before
    kept = await owner.fetch("SELECT status, attempts, error, body FROM webhook_events ORDER BY received_at")
    assert [row["body"] for row in kept] == texts
    assert {(row["status"], row["attempts"]) for row in kept} == {("received", 1)}
    assert all(row["error"].startswith("ValidationError; /") for row in kept)


@pytest.mark.usefixtures("untouched")
async def test_what_is_too_large_is_not_read(http: httpx.AsyncClient) -> None:
    body = BODY + b" " * (MAX_BODY + 1 - len(BODY))
    problem(await post(http, body, headers(body)), 413, "too_large")
    read = 0

    async def drip() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(64):
            read += 64 * 1024
            yield b" " * 64 * 1024

    problem(await http.post(PATH, content=drip(), headers=headers(body)), 413, "too_large")
    assert read <= MAX_BODY + 2 * 64 * 1024


async def test_what_is_just_small_enough_is_taken(http: httpx.AsyncClient) -> None:
    body = BODY + b" " * (MAX_BODY - len(BODY))
    await accepted(http, body, headers(body))


@pytest.mark.usefixtures("untouched")
async def test_other_methods_are_refused(http: httpx.AsyncClient) -> None:
    for method in ("GET", "PUT", "DELETE"):
        problem(await http.request(method, PATH, headers=headers(b"")), 405, "method_not_allowed", method)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!!!", SECRET[6:], SECRET[:30], f"{SECRET} ", "whsec_" + "é" * 40]
)
def test_what_is_no_secret_is_refused_at_once(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as caught:
        Signatures([SECRET, secret])
    assert len(secret) < 10 or secret not in str(caught.value)


def test_a_secret_is_needed_and_does_not_show() -> None:
    with pytest.raises(ValueError, match="need a secret"):
        Signatures([])
    assert SECRET[6:] not in repr(Signatures([SECRET]))


def test_the_signature_of_these_tests_is_the_published_one() -> None:
    """The example of the Standard Webhooks specification."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(body, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, secret) == expected
