"""Commands that run the service: `dev`, `api`, `worker` and `demo`."""

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tallyframe.cli.context import DEFAULT_DATA_DIR, DataDir, run_async, settings_for
from tallyframe.settings import environment, load_settings


def dev(port: Annotated[int, typer.Option(min=1, max=65535)] = 8000, data_dir: Path = DEFAULT_DATA_DIR) -> None:
    """Run everything: Postgres, Valkey, migrations, API and worker, until Ctrl-C. The data stays in the folder."""
    from tallyframe.commands.dev import prepare, welcome, worker_ready
    from tallyframe.embedded.stack import Plan, run
    from tallyframe.logs import configure_logs

    load_settings()  # reports a mistake in them before anything starts
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
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    data_dir: DataDir = None,
) -> None:
    """Run the HTTP API."""
    import uvicorn

    from tallyframe.logs import configure_logs
    from tallyframe.main import check

    settings = settings_for(data_dir, "database_url", "redis_url")
    check(settings)  # reports a mistake once, in a line, before each process would
    configure_logs(settings.observability.log_format, settings.observability.log_level, "api")
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
        timeout_graceful_shutdown=15,  # seconds for requests that are under way
    )


def worker(data_dir: DataDir = None) -> None:
    """Run one worker process. Run as many as you like, on as many machines as you like."""
    from tallyframe.logs import configure_logs
    from tallyframe.worker import run_worker

    settings = settings_for(data_dir, "database_url", "redis_url")
    configure_logs(settings.observability.log_format, settings.observability.log_level, "worker")
    run_async(run_worker(settings))


def demo(data_dir: Path = DEFAULT_DATA_DIR / "demo") -> None:
    """Make one image from two sample photos and one video from it, and print the ledger."""
    from tallyframe.demo.run import run_demo

    asyncio.run(run_demo(data_dir))
