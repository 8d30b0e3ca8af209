"""Checks the auditor's invariants at the end: during the faults, the auditor in the workers may not have run."""

from chaos.evidence import Row
from chaos.stack import Stack
from tallyframe.audit.base import Invariant, Limits, View
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.db import WORKER_ROLE, Database
from tallyframe.storages.base import Storages
from tallyframe.storages.local import LocalStorage

_PATIENCE = 1.0  # seconds after which a violation is looked at again; all is quiet by now, so little is under way
_TIMEOUT = 30.0  # seconds for one statement
_FILES = 1_000_000  # all of them


async def invariants(stack: Stack) -> list[Row]:
    """Check each invariant. A row: its name, whether it is a mere count, and what it has found, or its exception."""
    storage = LocalStorage(stack.media, next(iter(stack.apis.values())))
    storages = Storages(current=storage, by_name={storage.name: storage}, open_path=storage.open_path)
    db = Database(stack.servers.database_url, role=WORKER_ROLE, pool_size=2, statement_timeout=_TIMEOUT)
    limits = Limits(0.0, _FILES, stack.plan.lease, removes_uploads=False, patience=_PATIENCE)
    try:
        async with db.reading() as reader:
            return [await _check(each, View(reader, storages, limits)) for each in INVARIANTS]
    finally:
        await db.close()


async def _check(invariant: Invariant, view: View) -> Row:
    about = {"name": invariant.name, "is_counted": invariant.is_counted}
    try:
        found = await invariant.check(view)
    except Exception as error:  # noqa: BLE001  # a check that can't be made is a finding, too
        return {**about, "checked": 0, "violations": 1, "examples": [f"it could not look: {error!r}"]}
    examples = [f"{example.subject}: {example.detail}" for example in found.examples]
    return {**about, "checked": found.checked, "violations": found.violations, "examples": examples}
