"""One request of a client, and what the client knows about it afterwards."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import time
from typing import Any

import httpx

from chaos.history import FREE, OF_GENERATIONS, History, Line, Outcome

_NOT_YET = ("request_in_progress", "rate_limited")  # refusals that say nothing about the order: send it again
_SERVER_ERROR, _REDIRECT = 500, 300


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its line of the history, and its body; empty if there was none."""

    line: Line
    body: dict[str, Any]


class Requests:
    """Sends a user's requests to any of the API processes, as a load balancer would, and writes each down.

    `timeout` is the seconds after which a client gives up.
    """

    def __init__(self, key: str, apis: dict[str, str], history: History, lot: random.Random, *, timeout: float) -> None:
        self._apis = apis
        self._history = history
        self._lot = lot
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self,
        line: Line,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        raw: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send once, to the API process that the line names, or to any. Never raises: the answer says what happened.

        `raw` is sent as it is, in place of `body`; without `headers`, the line's key is the Idempotency-Key.
        """
        api = line.api or self._lot.choice(list(self._apis))
        if headers is None:
            headers = {"Idempotency-Key": line.key} if line.key else {}
        line = replace(line, api=api, sent=time())
        try:
            response = await self._http.request(method, self._apis[api] + path, json=body, content=raw, headers=headers)
        except httpx.HTTPError as error:
            return self._keep(replace(line, code=type(error).__name__), {})
        return self._read(line, response)

    def _read(self, line: Line, response: httpx.Response) -> Answer:
        try:
            body = response.json() if response.content else {}
        except ValueError:  # cut short, and HTTP has not noticed
            return self._keep(replace(line, status=response.status_code, code="no JSON"), {})
        status, code = response.status_code, str(body.get("code", ""))
        outcome: Outcome = "ok" if status < _REDIRECT else "refused"
        if status >= _SERVER_ERROR or code in _NOT_YET:
            outcome = "info"
        read = replace(
            line,
            status=status,
            code=code,
            outcome=outcome,
            replayed=response.headers.get("Idempotent-Replayed") == "true",
        )
        if outcome == "ok" and (line.op in FREE or line.op in OF_GENERATIONS):
            read = replace(read, generation=body.get("id", line.generation), generation_status=body.get("status", ""))
        elif outcome == "ok":
            generation = body.get("generation") or {}
            read = replace(
                read,
                project=body.get("id", line.project),
                status_sequence=body.get("status_sequence", 0),
                generation=generation.get("id", ""),
                generation_status=generation.get("status", ""),
            )
        return self._keep(read, body)

    def _keep(self, line: Line, body: dict[str, Any]) -> Answer:
        line = replace(line, answered=time())
        self._history.add(line)
        return Answer(line, body)
