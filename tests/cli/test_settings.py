"""A bad or missing setting stops the start with one line per problem, naming the variable."""

import pytest

from tallyframe.operations.registry import price_list
from tallyframe.settings import SettingsError, load_settings
from tests.support.processes import Processes


@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        ({"PRICES": '{"image": -1}'}, ["TALLYFRAME_PRICES:"]),
        ({"PRICES": "not json"}, ["TALLYFRAME_PRICES: is not JSON"]),
        ({"SIGNUP_CREDITS": "many", "LOG_FORMAT": "xml"}, ["TALLYFRAME_SIGNUP_CREDITS:", "TALLYFRAME_LOG_FORMAT:"]),
        ({"IMAGE_PROVIDERS": "nobody"}, ["TALLYFRAME_IMAGE_PROVIDERS: unknown provider 'nobody'"]),
        ({"AUTH_ISSUER": "https://issuer.example"}, ["TALLYFRAME_AUTH_AUDIENCE"]),
        ({"HEARTBEAT_SECONDS": "20"}, ["TALLYFRAME_HEARTBEAT_SECONDS:"]),
        (
            {"ENV": "production"},
            ["TALLYFRAME_IMAGE_PROVIDERS:", "TALLYFRAME_VIDEO_PROVIDERS:"],
        ),
    ],
)
def test_each_problem_is_a_line(variables: dict[str, str], lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"TALLYFRAME_{name}", value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    said = str(error.value).splitlines()
    assert len(said) == len(lines)
    for line, start in zip(said, lines, strict=True):
        assert line.startswith(start)


def test_a_price_of_no_operation_is_named() -> None:
    with pytest.raises(SettingsError) as error:
        price_list(load_settings(prices={"vidoe": 1}))
    assert str(error.value) == "TALLYFRAME_PRICES: unknown operation 'vidoe'; known are: image, video"


def test_production_starts_when_everything_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"ENV": "production", "IMAGE_PROVIDERS": "offline", "VIDEO_PROVIDERS": "offline"}
    for name, value in named.items():
        monkeypatch.setenv(f"TALLYFRAME_{name}", value)
    assert load_settings().providers_for("image") == ("offline",)


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYFRAME_DATABASE_URL", "postgresql://u:canary@h/d")
    monkeypatch.setenv("SENTRY_DSN", "https://canary@sentry.example/1")
    assert "canary" not in repr(load_settings())


async def test_a_process_says_it_and_ends(processes: Processes) -> None:
    for command in ("api", "worker", "migrate"):
        process = processes.start(command, TALLYFRAME_DATABASE_URL="", TALLYFRAME_REDIS_URL="")
        assert await process.wait() == 1
        assert process.text.startswith("TALLYFRAME_DATABASE_URL: is not set")
        assert "Traceback" not in process.text
