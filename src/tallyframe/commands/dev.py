"""What `tallyframe dev` does beside starting programs: migrations, keys, a look at the worker, and the welcome."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tallyframe.accounts import keys, users
from tallyframe.accounts.keys import secret_hash
from tallyframe.accounts.session_tokens import Identity
from tallyframe.accounts.users import LOCAL
from tallyframe.commands.users import add_user, database
from tallyframe.errors import Unavailable
from tallyframe.migrate import migrate
from tallyframe.workers.heartbeat import present

_CREDITS = 10_000  # of a new development user
_USERS = {"admin_api_key": ("admin@localhost", True), "api_key": ("dev@localhost", False)}


async def prepare(data_dir: Path, database_url: str) -> Mapping[str, str]:
    """Migrate the database, and return the API keys of the two development users: `admin_api_key` and `api_key`.

    They are kept in keys.json (mode 0600); those that are missing there, or no longer work, are made.
    """
    await asyncio.to_thread(migrate, database_url)
    path = data_dir / "keys.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    async with database(database_url) as db:
        for name, (email, admin) in _USERS.items():
            if name in known and await keys.owner(db, secret_hash(known[name])):
                continue
            async with db.reading() as reader:
                is_new = await users.find(reader, Identity(LOCAL, email, email, None)) is None
            _, known[name] = await add_user(
                db, email, admin=admin, member=admin, credits_given=_CREDITS if is_new else None, signup_credits=0
            )
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(known, file)
    fresh.replace(path)
    return known


async def worker_ready(database_url: str) -> bool:
    """Return whether a worker has shown a sign of life."""
    try:
        async with database(database_url) as db:
            return bool(await present(db))
    except Unavailable:
        return False


def welcome(stack: Mapping[str, str]) -> str:
    """Return what is printed when the stack is ready, from the content of stack.json."""
    return (
        f"\n  Tallyframe is ready at  {stack['url']}\n"
        f"  API docs                {stack['url']}/docs\n"
        f"  API key                 {stack['api_key']}\n"
        f"  Admin API key           {stack['admin_api_key']}\n"
        "  Stop with               Ctrl-C\n"
    )
