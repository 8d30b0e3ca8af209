"""Settings of the sign-in: what goes together, what is refused, and what never shows."""

from typing import Any

import pytest
from pydantic import SecretStr

from tallyframe.main import create_app
from tallyframe.settings import SettingsError, load_settings
from tests.support.clerk import SECRET, secret_of

JWT_SECRET = "a shared secret of more than 32 characters"
ISSUER: dict[str, Any] = {"auth_issuer": "https://issuer.example"}
COMPLETE = {**ISSUER, "auth_audience": "authenticated"}
OLD = secret_of(b"the one before")


def problems(**given: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    said = str(caught.value)
    assert not [value for value in given.values() if len(str(value)) > 20 and str(value) in said]
    return said.splitlines()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"auth_jwt_secret": JWT_SECRET}, "TALLYFRAME_AUTH_JWT_SECRET: needs TALLYFRAME_AUTH_ISSUER"),
        (
            {**ISSUER, "auth_authorized_parties": "x", "auth_jwt_secret": JWT_SECRET},
            "TALLYFRAME_AUTH_JWT_SECRET: needs",
        ),
        ({**COMPLETE, "auth_jwt_secret": "é" * 15}, "TALLYFRAME_AUTH_JWT_SECRET: needs at least 32 bytes"),
        ({**COMPLETE, "auth_issuer": "local"}, "TALLYFRAME_AUTH_ISSUER: 'local' means"),
        ({"clerk_webhook_signing_secret": SECRET}, "CLERK_WEBHOOK_SIGNING_SECRET: needs TALLYFRAME_AUTH_ISSUER"),
        (
            {**COMPLETE, "clerk_webhook_signing_secret": SECRET[6:]},
            "CLERK_WEBHOOK_SIGNING_SECRET: each must be 'whsec_'",
        ),
        (
            {**COMPLETE, "clerk_webhook_signing_secret": f"{SECRET},whsec_x"},
            "CLERK_WEBHOOK_SIGNING_SECRET: each must be",
        ),
    ],
)
def test_each_problem_is_a_line(given: dict[str, Any], line: str) -> None:
    [said] = problems(**given)
    assert said.startswith(line)


def test_the_webhook_s_secrets_are_a_list_under_the_name_that_clerk_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLERK_WEBHOOK_SIGNING_SECRET", f" {SECRET}, {OLD},")
    settings = load_settings(**COMPLETE)
    assert [secret.get_secret_value() for secret in settings.auth.clerk_webhook_secret] == [SECRET, OLD]
    given: list[Any] = [OLD, SecretStr(OLD), (SecretStr(OLD),)]
    for each in given:
        [only] = load_settings(**COMPLETE, clerk_webhook_signing_secret=each).auth.clerk_webhook_secret
        assert only.get_secret_value() == OLD
    monkeypatch.setenv("CLERK_WEBHOOK_SIGNING_SECRET", "")
    assert load_settings(**COMPLETE).auth.clerk_webhook_secret == ()


def test_secrets_do_not_show() -> None:
    settings = load_settings(**COMPLETE, auth_jwt_secret=JWT_SECRET, clerk_webhook_signing_secret=f"{SECRET},{OLD}")
    for said in (repr(settings), str(settings), str(settings.model_dump())):
        assert not [secret for secret in (JWT_SECRET, SECRET, OLD) if secret in said]


def test_the_webhook_is_in_the_contract() -> None:
    call = create_app(load_settings()).openapi()["paths"]["/v1/webhooks/{source}"]["post"]
    assert [item["name"] for item in call["parameters"]] == ["source"]
    schema = call["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert schema.endswith("/Received")
    assert "security" not in call
