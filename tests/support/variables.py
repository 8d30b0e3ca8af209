"""Every setting as the variable that sets it, with its default: what the pages are compared with.

Nothing else in the tests of the pages knows how the code keeps its settings.
"""

from pydantic import SecretStr

from tallyframe.settings import Settings
from tallyframe.settings.model import places


def variables() -> dict[str, object]:
    """The variables, each with its default: those of fields, and those that only the catalogue of providers names."""
    return {**dict.fromkeys(places(), ""), **Settings.model_construct().by_variable}


def shown(default: object) -> str:
    """A default as the tables write it."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default in ("", ()):
        return "—"
    if isinstance(default, tuple):
        return f"`{', '.join(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
