"""Every operation that can be bought, by name, and what each costs."""

from collections.abc import Mapping
from typing import Any

from tallyframe.credits import Credits, whole_credits
from tallyframe.operations.base import Operation, Operations
from tallyframe.operations.image import Image
from tallyframe.operations.pictures import check_names
from tallyframe.operations.video import Video
from tallyframe.settings import Settings, SettingsError

OPERATIONS: tuple[Operation[Any], ...] = (
    Image(),
    Video(),
)


def operations(settings: Settings) -> Operations:
    """Return those whose capabilities somebody serves here. Raises TypeError for one whose pictures can't be found."""
    for operation in OPERATIONS:
        check_names(operation.fields)
    served = (each for each in OPERATIONS if all(settings.providers_for(capability) for capability in each.uses))
    return {operation.name: operation for operation in served}


def price_list(settings: Settings) -> Mapping[str, Credits]:
    """Return the credits per operation: the defaults, with TALLYFRAME_PRICES over them. Raises SettingsError."""
    defaults = {operation.name: whole_credits(operation.default_price) for operation in OPERATIONS}
    unknown = sorted(set(settings.money.prices) - set(defaults))
    if unknown:
        said = f"known are: {', '.join(defaults)}"
        lines = (f"TALLYFRAME_PRICES: unknown operation {name!r}; {said}" for name in unknown)
        raise SettingsError("\n".join(lines))
    return defaults | {name: whole_credits(price) for name, price in settings.money.prices.items()}
