"""Commands that run the service: `dev`, `api`, `worker` and `demo`."""

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tallyframe.cli.context import DEFAULT_DATA_DIR, DataDir, run_async, settings_for
from tallyframe.db import API_ROLE
from tallyframe.servers.postgres_url import parse_postgres_url
from tallyframe.servers.redis_url import redis_address
from tallyframe.settings import SettingsError, environment, load_settings

Port = Annotated[int, typer.Option(min=1, max=65535, help="Where the API listens.")]


def dev(
    port: Port = 8000,
    data_dir: Annotated[Path, typer.Option(help="The folder in which all data stays.")] = DEFAULT_DATA_DIR,
) -> None:
    """Run everything: Postgres, Valkey, migrations, API and worker, until Ctrl-C. The data stays in the folder."""
    from tallyframe.commands.dev import prepare, welcome, worker_ready
    from tallyframe.embedded.stack import Plan, run
    from tallyframe.logs import configure_logs

    settings = load_settings()  # reports a mistake in them before anything starts
    if problems := settings.money.folder_problems():
        raise SettingsError("\n".join(problems))
    configure_logs("console", "info", "dev")
    command = [sys.executable, "-m", "tallyframe"]
    plan = Plan(
        data_dir=data_dir.absolute(),
        port=port,
        api=[*command, "api", "--port", str(port)],
        worker=[*command, "worker"],
        env={"TALLYFRAME_LOG_FORMAT": "console", **environment()},
        prepare=partial(prepare, data_dir.absolute()),
        worker_ready=worker_ready,
        on_ready=lambda stack: print(welcome(stack), flush=True),
    )
    asyncio.run(run(plan))


def api(
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    data_dir: DataDir = None,
) -> None:
    """Run the HTTP API."""
    import structlog
    import uvicorn

    from tallyframe.logs import configure_logs
    from tallyframe.main import check

    settings = settings_for(data_dir, "database_url", "redis_url")
    check(settings)  # reports a mistake once, in a line, before each process would
    configure_logs(settings.observability.log_format, settings.observability.log_level, "api")
    server = settings.server
    log = structlog.get_logger()
    log.info(
        "api_starting",
        address=f"http://{f'[{host}]' if ':' in host else host}:{port}",
        processes=workers,
        postgres=parse_postgres_url(server.traffic, API_ROLE).address,
        redis=redis_address(server.redis_url.get_secret_value()),
    )
    uvicorn.run(
        "tallyframe.main:serve",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        http="tallyframe.api.connections:Connection",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.server.keep_alive,
        forwarded_allow_ips=list(settings.server.trusted_proxies),
        timeout_graceful_shutdown=15,  # seconds for requests that are under way
    )


def worker(data_dir: DataDir = None) -> None:
    """Run one worker process. Run as many as you like, on as many machines as you like."""
    from tallyframe.logs import configure_logs
    from tallyframe.worker import run_worker

    settings = settings_for(data_dir, "database_url", "redis_url")
    configure_logs(settings.observability.log_format, settings.observability.log_level, "worker")
    run_async(run_worker(settings))


def demo(
    data_dir: Annotated[Path, typer.Option(help="The folder in which all data stays.")] = DEFAULT_DATA_DIR / "demo",
) -> None:
    """Make one image from two sample photos and one video from it, and print the ledger."""
    from tallyframe.demo.run import run_demo

    asyncio.run(run_demo(data_dir))
