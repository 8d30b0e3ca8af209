"""What things cost users, in credits."""

import os
from pathlib import Path

from pydantic import Field

from tallyframe.settings.group import Group
from tallyframe.settings.values import Prices


class MoneySettings(Group):
    """Credits that are given and taken."""

    signup_credits: int = Field(20, alias="TALLYFRAME_SIGNUP_CREDITS", ge=0, le=1_000_000)
    prices: Prices = Field({}, alias="TALLYFRAME_PRICES")  # credits by operation, over its own price
    #: Folder for the ledger's digest of the day; without it, its root is only logged.
    digest_dir: str = Field("", alias="TALLYFRAME_DIGEST_DIR")

    def folder_problems(self) -> list[str]:
        """Return a line if the folder of digests can't be written to; only workers do."""
        if not self.digest_dir or (Path(self.digest_dir).is_dir() and os.access(self.digest_dir, os.W_OK | os.X_OK)):
            return []
        found = "this user may not write into" if Path(self.digest_dir).is_dir() else "there is no folder"
        return [f"TALLYFRAME_DIGEST_DIR: {found} {self.digest_dir!r}. Make it for the user of the worker, or unset it"]
