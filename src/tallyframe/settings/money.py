"""What things cost users, in credits."""

from pydantic import Field

from tallyframe.settings.group import Group
from tallyframe.settings.values import Prices


class MoneySettings(Group):
    """Credits that are given and taken."""

    signup_credits: int = Field(20, alias="TALLYFRAME_SIGNUP_CREDITS", ge=0, le=1_000_000)
    prices: Prices = Field({}, alias="TALLYFRAME_PRICES")  # credits by operation, over its own price
    #: Folder for the ledger's digest of the day; without it, its root is only logged.
    digest_dir: str = Field("", alias="TALLYFRAME_DIGEST_DIR")
