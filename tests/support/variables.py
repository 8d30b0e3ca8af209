"""Every setting as the variable that sets it, with its default: what the pages are compared with.

Nothing else in the tests of the pages knows how the code keeps its settings.
"""

from pydantic import SecretStr

from tallyframe.settings import Settings


def defaults() -> dict[str, object]:
    """The variables in the order of the code, each with its default."""
    return {
        str(field.validation_alias or f"TALLYFRAME_{name.upper()}"): field.get_default()
        for name, field in Settings.model_fields.items()
        if name != "variables"  # it holds other variables, and is none itself
    }


def shown(default: object) -> str:
    """A default as the tables write it."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default in ("", ()):
        return "—"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
