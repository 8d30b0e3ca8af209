"""Acme's adapter."""

from collections.abc import Mapping
from typing import Any

import httpx

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, Data, Offer, Task, TextTask, of_kind
from tallyframe.providers.structured import read_structured, strict_schema

ADDRESS = "http://acme.invalid"


class Acme:
    """Writes."""

    name: str = "acme"
    repeatable: bool = False

    def __init__(self, key: str, offers: Mapping[Capability, Offer], timeout: float) -> None:
        self.offers = offers
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(base_url=ADDRESS, headers=headers, timeout=timeout, trust_env=False)

    async def start(self, task: Task, call: Call) -> Data:
        """Have it written."""
        order = of_kind(task, TextTask)
        asked = {"key": call.key, "instructions": order.instructions, "prompt": order.prompt}
        said = await self._ask("POST", "/v1/write", {**asked, "schema": strict_schema(order.answer)})
        call.usage.output_tokens = said.get("tokens")
        return read_structured(said.get("text"), order.answer)

    async def collect(self, ticket: str, task: Task, call: Call) -> Data:  # the port
        """Raise ProviderError: there are no tickets."""
        raise ProviderError(FailureCode.PROVIDER_REJECTED)

    async def cancel(self, ticket: str) -> bool:  # the port
        """Say no."""
        return False

    async def probe(self, capability: Capability) -> str:  # the port
        """Ask who we are."""
        return f"writes for {(await self._ask('GET', '/v1/whoami')).get('name')}"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.ConnectError:
            raise ProviderError(FailureCode.PROVIDER_UNAVAILABLE, retryable=True) from None
        except httpx.HTTPError:
            raise ProviderError(FailureCode.PROVIDER_UNAVAILABLE, in_doubt=True) from None
        match answer.status_code:
            case 200:
                said: dict[str, Any] = answer.json()
                return said
            case 401:
                raise ProviderError(FailureCode.INTERNAL, alarm=True, operator_message="Acme does not know the key.")
            case 451:
                raise ProviderError(FailureCode.CONTENT_POLICY, operator_message="Acme refuses.")
        status = f"HTTP {answer.status_code}"
        raise ProviderError(FailureCode.PROVIDER_UNAVAILABLE, retryable=True, operator_message=status)
