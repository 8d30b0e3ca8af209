"""Sentry and OpenTelemetry get what they should when they are configured, and no secret."""

import signal
import subprocess
import sys

import httpx

from tests.support.cast import Member
from tests.support.collector import collecting
from tests.support.processes import Processes

CRASH = """
from tallyframe import observe
from tallyframe.settings import load_settings
import sentry_sdk
observe.start(load_settings(), "worker")
try:
    {}["a bug, with tf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789ab in its message"]
except KeyError as error:
    observe.report(error)
sentry_sdk.flush(5)
"""


def test_sentry_gets_the_bug_without_the_secret(processes: Processes) -> None:
    with collecting() as sentry:
        environment = processes.environment(SENTRY_DSN=sentry.url.replace("//", "//public@") + "/1")
        subprocess.run([sys.executable, "-c", CRASH], env=environment, check=True, timeout=90)
        event = sentry.until(b"KeyError")
    assert b"a bug, with [hidden] in its message" in event
    assert b"tf_AbCd" not in event
    assert b"worker" in event


async def test_traces_of_request_and_generation(alice: Member, processes: Processes) -> None:
    with collecting() as collector:
        api, url = await processes.api(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        worker = await processes.worker(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {alice.key}"}) as client:
            assert (await client.post("/v1/projects", json={"kind": "image", "prompt": "a cup"})).status_code == 202
        await worker.until_logged("generation_left")
        for process in (api, worker):
            process.send(signal.SIGTERM)
            await process.wait()
        assert b"tallyframe-api" in collector.until(b"POST /v1/projects")
        spans = collector.until(b"run_generation")
    assert b"tallyframe-worker" in spans
    assert b"succeeded" in spans
    assert {path for path, _ in collector.received} == {"/v1/traces"}
