"""Every variable has its place in the groups: where a value comes from, what wins, and what a copy keeps."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tallyframe.catalog import BY_NAME, CATALOG, Entry
from tallyframe.redaction import hidden
from tallyframe.settings import Settings, SettingsError, load_settings, model
from tests.support.variables import variables

TEXTS = {str: "https://example.com", int: "61", float: "61", bool: "true", SecretStr: "some secret", tuple: "a, b"}
#: Where the text for the type of the value would be refused.
OWN_TEXTS = {
    "TALLYFRAME_ENV": "production",
    "TALLYFRAME_DATABASE_URL": "postgresql://elsewhere/books",
    "TALLYFRAME_POOLER_URL": "postgresql://{role}_pooled@elsewhere/books",
    "TALLYFRAME_REPLICA_URL": "postgresql://copy/books",
    "TALLYFRAME_REDIS_URL": "redis://elsewhere",
    "TALLYFRAME_DATA_DIR": "elsewhere",
    "TALLYFRAME_AUTH_JWT_SECRET": "a shared secret of more than 32 characters",
    "CLERK_WEBHOOK_SIGNING_SECRET": f"whsec_{'A' * 32}",
    "TALLYFRAME_PRICES": '{"image": 7}',
    "TALLYFRAME_VENDOR_PRICES": '{"a-model": {"second": 1}}',
    "TALLYFRAME_MAX_UPLOAD_BYTES": "2048",
    "TALLYFRAME_MAX_MEDIA_BYTES": "2048",
    "TALLYFRAME_MAX_IMAGE_PIXELS": "20000",
    "TALLYFRAME_MAX_VIDEO_SECONDS": "7",
    "TALLYFRAME_MAX_RETRIES": "7",
    "TALLYFRAME_LEASE_SECONDS": "130",
    "TALLYFRAME_STORAGE": "s3",
    "TALLYFRAME_IMAGE_SIZE": "4K",
    "TALLYFRAME_LOG_FORMAT": "console",
    "TALLYFRAME_LOG_LEVEL": "debug",
    "TALLYFRAME_MAX_ASSET_BYTES": "2048",
    "TALLYFRAME_MAX_CONNECTIONS": "70",
    "TALLYFRAME_MAX_HEADER_BYTES": "10000",
    "TALLYFRAME_MAX_TARGET_BYTES": "2000",
    "TALLYFRAME_MAX_JSON_BYTES": "20000",
    "TALLYFRAME_MAX_BYTES_IN_FLIGHT": "2000000",
    "TALLYFRAME_TAG_MEMORY_SECONDS": "2.5",
    "TALLYFRAME_TAG_MEMORY_PROJECTS": "77",
    "TALLYFRAME_CORS_ORIGINS": "https://a.example, https://b.example",
    "TALLYFRAME_AUTH_AUTHORIZED_PARTIES": "https://a.example, b",
    "TALLYFRAME_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
    "TALLYFRAME_PICTURE_DECODERS": "7",
    "TALLYFRAME_PICTURE_DECODERS_PER_USER": "7",
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `.env` of the working folder, with nothing of ours in the environment."""
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def text_for(variable: str, default: object) -> str:
    """Something that the variable can be set to and that isn't its default."""
    return "offline" if variable.endswith("_PROVIDERS") else OWN_TEXTS.get(variable) or TEXTS[type(default)]


def test_each_variable_is_read_and_changes_its_value(file: Path) -> None:
    assert load_settings().by_variable == variables()
    texts = {variable: text_for(variable, default) for variable, default in variables().items()}
    file.write_text("".join(f"{variable}='{text}'\n" for variable, text in texts.items()))
    assert [name for name, value in load_settings().by_variable.items() if value == variables()[name]] == []


def test_what_is_given_wins_over_the_environment_and_that_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("TALLYFRAME_S3_REGION=file\nTALLYFRAME_WORKER_CONCURRENCY=2\nAWS_ACCESS_KEY_ID=file\n")
    monkeypatch.setenv("TALLYFRAME_S3_REGION", "environment")
    monkeypatch.setenv("TALLYFRAME_WORKER_CONCURRENCY", "3")
    settings = load_settings(s3_region="given")
    assert settings.storage.s3.region == "given"
    assert settings.workers.concurrency == 3
    assert settings.storage.s3.access_key_id.get_secret_value() == "file"


def test_the_problems_of_all_groups_are_said_at_once(file: Path) -> None:
    assert not file.exists()
    with pytest.raises(SettingsError) as caught:
        load_settings(auth_issuer="https://issuer.example", heartbeat_seconds=20, storage="cloudinary")
    starts = ["TALLYFRAME_AUTH_AUDIENCE or", "CLOUDINARY_URL: is not set", "TALLYFRAME_HEARTBEAT_SECONDS: must"]
    for line, start in zip(str(caught.value).splitlines(), starts, strict=True):
        assert line.startswith(start)


def test_what_is_needed_is_named(file: Path) -> None:
    assert not file.exists()
    with pytest.raises(SettingsError, match=r"^TALLYFRAME_REDIS_URL: is not set$"):
        load_settings(needs=("database_url", "redis_url"), database_url="postgresql://h/d")


def test_a_misspelt_name_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="lease_second"):
        load_settings(lease_second=3)


def test_a_variable_of_the_catalogue_needs_no_field(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = Entry("acme", "acme", {"text": "acme-1"}, (("ACME_API_KEY", "TALLYFRAME_ACME_REGION"),))
    monkeypatch.setattr(model, "CATALOG", (acme, *CATALOG))
    monkeypatch.setattr(model, "BY_NAME", {**BY_NAME, "acme": acme})
    file.write_text("ACME_API_KEY=canary-of-acme\n")
    monkeypatch.setenv("TALLYFRAME_ACME_REGION", "north")
    settings = load_settings()
    assert settings.variable("ACME_API_KEY") == "canary-of-acme"
    assert settings.variable("TALLYFRAME_ACME_REGION") == "north"
    assert settings.providers_for("text") == ("acme",)
    assert not settings.replaced(acme_api_key="").has_access(acme)
    assert "canary" not in repr(settings)
    assert "canary" not in hidden("the key is canary-of-acme")


def test_a_copy_has_other_values_is_checked_and_leaves_the_rest(file: Path) -> None:
    file.write_text('TALLYFRAME_SIGNUP_CREDITS=7\nTALLYFRAME_VENDOR_PRICES=\'{"a": {"second": 1}}\'\n')
    settings = load_settings(data_dir="here")
    file.unlink()
    copy = settings.replaced(provider_poll=0.1)
    assert copy.providers.poll == 0.1
    assert {**copy.by_variable, "TALLYFRAME_PROVIDER_POLL": 5.0} == settings.by_variable
    with pytest.raises(ValidationError):
        settings.replaced(provider_poll=0)


def test_nothing_can_be_changed_afterwards() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.money.signup_credits = 1_000  # type: ignore[misc]  # as it should be
    with pytest.raises(ValidationError):
        settings.money = Settings.model_construct().money  # type: ignore[misc]  # the same
