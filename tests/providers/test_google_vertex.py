"""Vertex mode with a project: where the access token comes from, and who pays."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError, TransportError
from google.oauth2.credentials import Credentials

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, ImageTask
from tallyframe.providers.google.client import Google, GoogleAccess
from tallyframe.providers.google.gemini_images import GeminiImages
from tests.support.google import KEY, MODEL, FakeGemini
from tests.support.vendor import Reply, Request, Vendor, answer, vendor

BASE = "/v1beta1/projects/p1/locations/global/publishers/google"
TOKEN = "canary-token-1"
ORDER, FIRST = ImageTask("a cup", "1:1"), Call("gen-1-try-1", 1)


@pytest.fixture
def fake() -> FakeGemini:
    return FakeGemini(base=BASE, token=TOKEN)


@pytest.fixture
async def server(fake: FakeGemini) -> AsyncIterator[Vendor]:
    def give(request: Request) -> Reply:
        if request.path == "/token":
            return answer({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
        return fake.answer(request)

    async with vendor(give) as running:
        yield running


def gemini_at(server: Vendor, credentials: Credentials | None = None) -> GeminiImages:
    access = GoogleAccess("", server.url, timeout=20.0, vertex=True, project="p1")
    return GeminiImages(Google(access, credentials=credentials), MODEL)


def service_account(token_uri: str) -> str:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "worker@p1.iam.gserviceaccount.com",
            "private_key": key.decode(),
            "project_id": "another-project",
            "token_uri": token_uri,
        }
    )


async def test_default_credentials_are_turned_into_a_token_once(
    server: Vendor, fake: FakeGemini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The token's server runs in this event loop: a call that blocks it would never get an answer.
    account = tmp_path / "account.json"
    account.write_text(service_account(f"{server.url}/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    google = Google(GoogleAccess("", server.url, timeout=20.0, vertex=True, project="p1"))
    await google.ready()
    assert [sent.path for sent in server.requests] == ["/token"]
    for _ in range(2):
        await GeminiImages(google, MODEL).start(ORDER, FIRST)
    await google.aclose()
    assert fake.complaints == []
    assert [sent.path for sent in server.requests[1:]] == [f"{BASE}/models/{MODEL}:generateContent"] * 2


async def test_without_default_credentials_somebody_must_act(
    server: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    gemini = gemini_at(server)
    for ask in (gemini.start(ORDER, FIRST), gemini.probe("image")):
        with pytest.raises(ProviderError) as caught:
            await ask
        assert (caught.value.code, caught.value.alarm) == (FailureCode.INTERNAL, True)
        assert "DefaultCredentialsError" in caught.value.operator_message
    await gemini.aclose()
    assert server.requests == []


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (RefreshError("revoked"), FailureCode.INTERNAL, False),  # type: ignore[no-untyped-call]
        (TransportError("unreachable", retryable=True), FailureCode.PROVIDER_UNAVAILABLE, True),  # type: ignore[no-untyped-call]
    ],
)
async def test_no_token_no_order(
    server: Vendor, monkeypatch: pytest.MonkeyPatch, error: Exception, code: FailureCode, *, retryable: bool
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Credentials, "refresh", fail)
    gemini = gemini_at(server, Credentials(None))  # type: ignore[no-untyped-call]
    with pytest.raises(ProviderError) as caught:
        await gemini.start(ORDER, FIRST)
    assert (caught.value.code, caught.value.retryable, caught.value.in_doubt) == (code, retryable, False)
    await gemini.aclose()
    assert server.requests == []


@pytest.mark.parametrize("paying", ["p2", None])
async def test_only_the_credentials_say_who_pays(
    server: Vendor, monkeypatch: pytest.MonkeyPatch, paying: str | None
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USER_PROJECT", "wrong-project")
    google = Google(
        GoogleAccess("", server.url, vertex=True, project="p1", location="l1"),
        credentials=Credentials(TOKEN, quota_project_id=paying),  # type: ignore[no-untyped-call]
    )
    await google.ready()
    with pytest.raises(Exception, match="No such path"):
        await google.client.aio.interactions.create(model="m", input="hi", background=True)
    with pytest.raises(Exception, match="No such path"):
        await google.client.aio.models.generate_content(model="m", contents="hi")
    await google.aclose()
    assert [sent.headers.get("x-goog-user-project") for sent in server.requests] == [paying, paying]
    assert [sent.headers["authorization"] for sent in server.requests] == [f"Bearer {TOKEN}"] * 2
    assert server.requests[0].path == "/v1beta1/projects/p1/locations/l1/interactions"


@pytest.mark.parametrize(
    ("access", "base_url"),
    [
        (GoogleAccess(KEY), "https://generativelanguage.googleapis.com"),
        (GoogleAccess(KEY, vertex=True), "https://aiplatform.googleapis.com"),
        (GoogleAccess("", vertex=True, project="p"), "https://aiplatform.googleapis.com"),
        (GoogleAccess("", vertex=True, project="p", location="eu"), "https://aiplatform.eu.rep.googleapis.com"),
        (
            GoogleAccess("", vertex=True, project="p", location="us-central1"),
            "https://us-central1-aiplatform.googleapis.com",
        ),
    ],
)
def test_googles_own_addresses(access: GoogleAccess, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    google = Google(access, credentials=None if access.api_key else Credentials("t"))  # type: ignore[no-untyped-call]
    assert google.client._api_client._http_options.base_url == base_url


async def test_no_other_address_is_taken_for_certificates_that_we_do_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_USE_MTLS_ENDPOINT", "always")
    gemini = GeminiImages(Google(GoogleAccess(KEY, vertex=True)), MODEL)
    with pytest.raises(ProviderError) as caught:
        await gemini.start(ORDER, FIRST)
    assert (caught.value.code, caught.value.alarm) == (FailureCode.INTERNAL, True)
    assert "for aiplatform.googleapis.com, not for aiplatform.mtls.googleapis.com" in caught.value.operator_message
    await gemini.aclose()
