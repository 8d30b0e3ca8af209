"""Origins, authorized parties and proxies: what can never match is spelt as it comes over the wire, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import uvicorn

from tallyframe.cli.running import api
from tallyframe.settings import SettingsError, load_settings

ORIGINS, PARTIES = "TALLYFRAME_CORS_ORIGINS", "TALLYFRAME_AUTH_AUTHORIZED_PARTIES"
SPELT = {
    "https://app.example.com": "https://app.example.com",
    "https://app.example.com/": "https://app.example.com",
    "HTTPS://App.Example.COM": "https://app.example.com",
    "https://app.example.com:443": "https://app.example.com",
    "https://app.example.com:": "https://app.example.com",
    "http://localhost:80/": "http://localhost",
    "http://localhost:3000": "http://localhost:3000",
    "http://localhost:03000": "http://localhost:3000",
    "https://app.example.com:80": "https://app.example.com:80",
    "http://127.0.0.1:5173": "http://127.0.0.1:5173",
    "http://[0:0:0:0:0:0:0:1]:3000": "http://[::1]:3000",
    "https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
    "capacitor://localhost": "capacitor://localhost",
    "chrome-extension://abcdefgh": "chrome-extension://abcdefgh",
    "tauri://localhost": "tauri://localhost",
    "http://1.2.3.4.": "http://1.2.3.4",
}
#: What can never match → what the line says.
REFUSED = {
    "app.example.com": "write 'https://app.example.com'",
    "App.example.com/": "write 'https://app.example.com'",
    "app.example.com:8443": "write 'https://app.example.com:8443'",
    "localhost:3000": "write 'http://localhost:3000'",
    "https://app.example.com/login": "write 'https://app.example.com'",
    "https://app.example.com?x=1": "write 'https://app.example.com'",
    "https://app.example.com#top": "write 'https://app.example.com'",
    "https://user:hunter2@app.example.com": "write 'https://app.example.com'",
    "https://bücher.example": "Punycode",
    "https://*.example.com": "wildcard",
    "https://": "such as 'https://app.example.com'",
    "https://app example.com": "such as 'https://app.example.com'",
    "https://app.example.com:port": "such as 'https://app.example.com'",
    "https://app.example.com:99999": "such as 'https://app.example.com'",
    "http://[::1": "such as 'https://app.example.com'",
    "http://1.2.3": "no good address",
    "http://app.0x10": "no good address",
    "http://[fe80::1%25eth0]": "interface",
    "ws://app.example.com": "write 'https://app.example.com'",
    "wss://user:hunter2@app.example.com:8443": "write ",
    "wss://localhost:3000": "write 'https://localhost:3000'",
    "https://b%C3%BCcher.example": "Punycode",
    "//": "such as 'https://app.example.com'",
    "ftp://app.example.com": "write 'https://app.example.com'",
    "htps://app.example.com": "write 'https://app.example.com'",
    "//app.example.com": "write 'https://app.example.com'",
    "https:app.example.com": "write 'https://app.example.com'",
    "https:/app.example.com": "write 'https://app.example.com'",
    '["https://app.example.com"]': "such as 'https://app.example.com'",
    "null": "app",
}


@pytest.mark.parametrize("name", [ORIGINS, PARTIES])
@pytest.mark.parametrize("given", SPELT)
def test_what_is_surely_meant_is_spelt_as_browsers_do(name: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"{given}, {SPELT[given]}")
    assert load_settings().by_variable[name] == (SPELT[given],)


@pytest.mark.parametrize("name", [ORIGINS, PARTIES])
@pytest.mark.parametrize("given", REFUSED)
def test_what_never_matches_stops_the_start(name: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"https://good.example, {given}")
    with pytest.raises(SettingsError) as error:
        load_settings()
    [line] = str(error.value).splitlines()
    assert line.startswith(f"{name}: ")
    assert REFUSED[given] in line
    assert "hunter2" not in line


def test_any_origin_is_one_word_and_no_party(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(cors_origins="*").server.cors_origins == ("*",)
    with pytest.raises(SettingsError, match=f"^{PARTIES}: '\\*' never matches"):
        load_settings(auth_authorized_parties="*")


@pytest.mark.parametrize(
    "client", ["my-spa", "Web_Client", "8a7b", "123-abc.apps.googleusercontent.com", "com.example.app", "urn:app:1"]
)
def test_ids_of_clients_are_left_alone(client: str) -> None:
    """Some issuers name in `azp` a client, and no origin."""
    assert load_settings(auth_authorized_parties=client).auth.authorized_parties == (client,)


def asked_of_uvicorn(monkeypatch: pytest.MonkeyPatch, start: Callable[[], None]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    monkeypatch.setenv("TALLYFRAME_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TALLYFRAME_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setattr(uvicorn, "run", lambda *_, **how: asked.update(how))
    monkeypatch.setattr("tallyframe.logs.configure_logs", lambda *_: None)
    start()
    return asked


def test_connections_outlast_a_balancer_and_proxies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = asked_of_uvicorn(monkeypatch, api)
    assert (usual["timeout_keep_alive"], usual["forwarded_allow_ips"]) == (75, ["127.0.0.1"])
    monkeypatch.setenv("TALLYFRAME_KEEP_ALIVE", "620")
    monkeypatch.setenv("TALLYFRAME_TRUSTED_PROXIES", "10.0.0.0/8, fd00::1")
    named = asked_of_uvicorn(monkeypatch, api)
    assert (named["timeout_keep_alive"], named["forwarded_allow_ips"]) == (620, ["10.0.0.0/8", "fd00::1"])


@pytest.mark.parametrize("proxies", ["balancer", "10.0.0.1/8", "*, 10.0.0.1", "10.0.0.256"])
def test_proxies_are_addresses_or_networks(proxies: str) -> None:
    with pytest.raises(SettingsError, match=r"^TALLYFRAME_TRUSTED_PROXIES: .* such as '10\.0\.0\.7'"):
        load_settings(trusted_proxies=proxies)
