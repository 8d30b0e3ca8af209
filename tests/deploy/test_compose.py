"""The shape of docker-compose.yml, and that its health checks tell the truth about real processes."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from tallyframe.cli import app
from tallyframe.embedded import Servers
from tallyframe.settings import Settings, load_settings
from tests.support.processes import Processes
from tests.support.variables import variables

ROOT = Path(__file__).parents[2]
OURS = ("migrate", "api", "worker")
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_it_has_the_five_services_and_ours_are_one_image() -> None:
    assert set(SERVICES) == {*OURS, "postgres", "redis"}
    assert len({(SERVICES[name]["image"], SERVICES[name]["build"]) for name in OURS}) == 1
    assert SERVICES["postgres"]["image"].startswith("postgres:18")
    assert SERVICES["redis"]["image"].startswith("redis:")


def test_every_service_that_stays_has_a_health_check_and_starts_again() -> None:
    for name, service in SERVICES.items():
        if name == "migrate":
            assert service["healthcheck"] == {"disable": True}
            assert service["restart"] == "no"
        else:
            assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
            assert service["healthcheck"].keys() >= {"interval", "timeout", "start_period", "retries"}
            assert service["restart"] == "unless-stopped"


def test_the_order_of_the_start_is_servers_migrations_processes() -> None:
    conditions = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    ready = {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }
    assert conditions["migrate"] == {"postgres": "service_healthy"}
    assert conditions["api"] == conditions["worker"] == ready
    assert conditions["postgres"] == conditions["redis"] == {}


def test_nothing_is_kept_in_a_container() -> None:
    declared = yaml.safe_load(COMPOSE)["volumes"].keys()
    mounted = {name: service.get("volumes", []) for name, service in SERVICES.items()}
    assert {entry.split(":")[0] for entries in mounted.values() for entry in entries} == declared
    assert mounted["postgres"] == ["postgres:/var/lib/postgresql"]  # where the image of 18 has its data
    assert mounted["redis"] == ["redis:/data"]
    assert mounted["api"] == mounted["worker"] == ["media:/data"]
    assert SERVICES["api"]["environment"]["TALLYFRAME_DATA_DIR"] == "/data"


def test_redis_keeps_what_it_is_told_and_throws_nothing_away() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_the_worker_can_be_scaled() -> None:
    assert not SERVICES["worker"].keys() & {"container_name", "hostname", "ports"}
    assert "container_name" not in COMPOSE


def test_only_the_api_is_published_and_only_on_this_machine() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]
    assert SERVICES["api"]["ports"] == ["${API_ADDRESS:-127.0.0.1}:${API_PORT:-8000}:8000"]


def test_secrets_are_asked_for_and_never_written_down() -> None:
    assert set(re.findall(r"\$\{POSTGRES_PASSWORD([^}]*)\}", COMPOSE)) == {":?put it into .env, letters and digits"}
    assert not re.search(r"(?i)(password|secret\w*|key)\w*: (?!\$\{)\S", COMPOSE)


def test_every_setting_it_names_exists() -> None:
    assert set(re.findall(r"TALLYFRAME_[A-Z_]*[A-Z]", COMPOSE)) <= set(variables())
    assert SERVICES["api"]["environment"]["TALLYFRAME_ENV"] == "${TALLYFRAME_ENV:-development}"


def test_every_command_it_runs_exists() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, not seen by its type
    for name in OURS:
        command, *options = SERVICES[name]["command"]
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known


def test_a_stopping_process_has_the_time_it_may_take() -> None:
    assert seconds(SERVICES["worker"]["stop_grace_period"]) >= load_settings().workers.shutdown_grace + 5
    assert seconds(SERVICES["api"]["stop_grace_period"]) > 15  # what uvicorn gives requests that are under way


def check(name: str, settings: Settings, url: str = "") -> bool:
    """Run the health check of a service as Docker would: by its exit code."""
    _, _, option, script = SERVICES[name]["healthcheck"]["test"]
    script = script.replace("http://127.0.0.1:8000", url) if url else script
    environment = {"PATH": "/usr/bin:/bin", "TALLYFRAME_DATABASE_URL": settings.server.database_url.get_secret_value()}
    command = [sys.executable, option, script]
    return subprocess.run(command, env=environment, capture_output=True, timeout=90, check=False).returncode == 0


async def test_the_workers_health_check_tells_a_living_one_from_none(processes: Processes, settings: Settings) -> None:
    assert not check("worker", settings)
    worker = await processes.worker()
    assert check("worker", settings)
    worker.send(signal.SIGTERM)
    assert await worker.wait() == 0


async def test_the_apis_health_check_tells_ready_from_dead(processes: Processes, settings: Settings) -> None:
    api, url = await processes.api()
    assert check("api", settings, url)
    api.popen.kill()
    await api.wait()
    assert not check("api", settings, url)


@pytest.mark.parametrize("env", ["development", "production"])
async def test_what_it_sets_is_accepted(env: str, servers: Servers) -> None:
    """The values as compose would fill them in, with the other settings that production asks for."""
    given = {
        name.removeprefix("TALLYFRAME_").lower(): re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", value)
        for name, value in SERVICES["api"]["environment"].items()
        if "$" not in value or ":-" in value
    }
    given["public_url"] = re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", given["public_url"])
    more = {"image_providers": "offline", "video_providers": "offline"}
    settings = load_settings(**{**given, "env": env, "database_url": servers.database_url, **more})
    assert settings.server.public_url == "http://127.0.0.1:8000"
    assert settings.server.data_dir == Path("/data")
