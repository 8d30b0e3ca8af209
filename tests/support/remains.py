"""What there is in the tables and in the media folder: a refused request must not have changed it."""

from dataclasses import dataclass
from typing import Any

import httpx

from tallyframe.settings import Settings

TABLES = ("users", "accounts", "api_keys", "projects", "project_images", "generations", "generation_steps", "assets")
MONEY = ("ledger_entries", "outbox")
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "request_id"}


@dataclass(frozen=True)
class World:
    owner: Any
    settings: Settings

    async def remains(self) -> dict[str, object]:
        """Count all rows and list all media files."""
        found: dict[str, object] = {"files": self.files()}
        for table in (*TABLES, *MONEY):
            found[table] = await self.owner.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  # names are above
        return {**found, "balance": await self.owner.fetchval("SELECT sum(balance) FROM accounts")}

    def files(self) -> list[str]:
        """List what is in the media folder, half-written files too."""
        media = self.settings.server.data_dir / "media"
        return sorted(str(path.relative_to(media)) for path in media.rglob("*") if not path.is_dir())


def problem(answer: httpx.Response, status: int, code: str, case: object = "") -> dict[str, Any]:
    """Check that the answer is this problem, as RFC 9457 and our contract have it; return its body."""
    said = f"{case}: {answer.status_code} {answer.text[:500]}"
    assert answer.status_code == status, said
    assert answer.headers["content-type"] == "application/problem+json", said
    body: dict[str, Any] = answer.json()
    assert set(body) >= PROBLEM_KEYS, said
    assert (body["status"], body["code"]) == (status, code), said
    assert body["request_id"] == answer.headers["x-request-id"], said
    assert body["type"].endswith(f":{code}"), said
    assert isinstance(body["title"], str), said
    assert len(body["detail"]) > 10, said
    return body
