"""Files of uploads that have no row: a process died between storing a picture and writing its row.

They are found by listing the storage, where it can be listed. They are removed only if the settings say so, only if
they are named as our uploads and a day old by that name, and only while most of the old uploads there do have rows:
otherwise this may be another installation's storage, or an old copy of the database.
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
    """Files that cost disk and that no user can delete, because no user sees them."""

    name = "uploads_without_row"
    meaning = "Files of uploads that are a day old and that nothing refers to; they cost disk, not credits."
    is_counted = True
    every = 24 * 3600.0

    async def check(self, view: View) -> Finding:
        """List them, and remove them if the settings say so. Raises StorageError."""
        findings = [await _look_through(view, storage) for storage in view.storages.by_name.values()]
        examples = [example for finding in findings for example in finding.examples]
        checked = sum(finding.checked for finding in findings)
        return Finding(checked, sum(finding.violations for finding in findings), examples[:MOST])


async def _look_through(view: View, storage: Storage) -> Finding:
    checked, lost = 0, list[str]()
    try:
        async for page in storage.listed(FOLDER):
            old = await _old(view, page)
            checked += len(old)
            lost += await _without_row(view, storage.name, old)
    except NoListing as error:
        return Finding(0, 0, [Example(storage.name, str(error))])
    if view.limits.removes_uploads and 2 * len(lost) < checked:
        some, lost = lost[:BATCH], lost[BATCH:]
        for key in await _without_row(view, storage.name, some):  # again: a row may have come meanwhile
            await storage.delete(key)
            log.info("upload_removed", storage=storage.name, key=key)
    return Finding(checked, len(lost), [Example(key, f"{storage.name} has it, no row does") for key in lost[:MOST]])


async def _old(view: View, keys: Sequence[str]) -> list[str]:
    """Return the keys that are named as uploads are, with an id that was made long ago."""
    now = (await view.reader.execute(sa.select(sa.func.now()))).scalar_one()
    before = int((now - OLD).timestamp() * 1000)
    named = [(key, UUID(found[1])) for key in keys if (found := _NAME.fullmatch(key))]
    # The first 48 bits of a UUIDv7 are milliseconds since 1970. In a forged name that may be a year beyond datetime's.
    return sorted(key for key, upload in named if upload.int >> 80 < before)


async def _without_row(view: View, storage: str, keys: Sequence[str]) -> list[str]:
    """Return the keys that belong neither to an asset nor to a file that is still to be erased."""
    known = set[str]()
    for table in (assets, erased_files):
        query = sa.select(table.c.key).where(table.c.storage == storage, table.c.key.in_(keys))
        known.update((await view.reader.execute(query)).scalars())
    return [key for key in keys if key not in known]
