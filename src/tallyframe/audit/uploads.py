"""Files of uploads that have no row: a process died between storing a picture and writing its row.

They are found by listing, so not where a storage can't be listed. They are removed only if the settings say so, only
when they are named as our uploads and a day old by that name, and only while most of the old uploads there do have
rows: else this may be another installation's storage, or an old copy of the database.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
import structlog

from tallyframe.assets.tables import assets, erased_files
from tallyframe.audit.base import MOST, Example, Finding, Invariant, View
from tallyframe.storages.base import EXTENSIONS, NoListing, Storage

log = structlog.get_logger()

FOLDER = "uploads"
OLD = timedelta(days=1)
#: Files that one round removes at most, per storage.
BATCH = 1000

_endings = "|".join(EXTENSIONS.values())
_NAME = re.compile(
    rf"{FOLDER}/([0-9a-f]{{8}}-[0-9a-f]{{4}}-7[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}})\.({_endings})"
)


class UploadsWithoutRow(Invariant):
    """What costs disk and nobody can delete: its user doesn't even see it."""

    name = "uploads_without_row"
    meaning = "Files of uploads that are a day old and that nothing refers to; they cost disk, not credits."
    is_counted = True
    every = 24 * 3600.0

    async def check(self, view: View) -> Finding:
        """List them, and remove them if the settings say so. Raises StorageError."""
        findings = [await _of(view, storage) for storage in view.storages.by_name.values()]
        examples = [example for finding in findings for example in finding.examples]
        checked = sum(finding.checked for finding in findings)
        return Finding(checked, sum(finding.violations for finding in findings), examples[:MOST])


async def _of(view: View, storage: Storage) -> Finding:
    checked, lost = 0, list[str]()
    try:
        async for page in storage.listed(FOLDER):
            old = await _old(view, page)
            checked += len(old)
            lost += await _without_row(view, storage.name, old)
    except NoListing as error:
        return Finding(0, 0, [Example(storage.name, str(error))])
    removed = await _remove(view, storage, lost) if view.limits.removes_uploads and 2 * len(lost) < checked else 0
    left = lost[removed:]
    return Finding(checked, len(left), [Example(key, f"{storage.name} has it, no row does") for key in left[:MOST]])


async def _old(view: View, keys: Sequence[str]) -> list[str]:
    """Return the keys that are named as uploads are, with an id that was made long ago."""
    now = (await view.reader.execute(sa.select(sa.func.now()))).scalar_one()
    before = int((now - OLD).timestamp() * 1000)
    named = [(key, found[1]) for key in keys if (found := _NAME.fullmatch(key))]
    return sorted(key for key, name in named if _made_at(UUID(name)) < before)


def _made_at(upload: UUID) -> int:
    """Return the time in a UUIDv7, its first 48 bits, in milliseconds since 1970: in a name that may be any year."""
    return upload.int >> 80


async def _without_row(view: View, storage: str, keys: Sequence[str]) -> list[str]:
    """Return those of the keys that neither an asset has, nor a file that is still to be erased."""
    known = set[str]()
    for table in (assets, erased_files):
        query = sa.select(table.c.key).where(table.c.storage == storage, table.c.key.in_(keys))
        known.update((await view.reader.execute(query)).scalars())
    return [key for key in keys if key not in known]


async def _remove(view: View, storage: Storage, keys: Sequence[str]) -> int:
    """Remove the first of the keys, if there is still no row; return how many."""
    gone = keys[:BATCH]
    for key in await _without_row(view, storage.name, gone):
        await storage.delete(key)
        log.info("upload_removed", storage=storage.name, key=key)
    return len(gone)
