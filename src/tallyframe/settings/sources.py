"""Where settings are read: the environment of this process, and a file `.env` in the working folder."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from tallyframe.settings.group import Place, nested


class Variables(PydanticBaseSettingsSource):
    """Reads every variable that has a place in the groups; a variable's name says nothing about its group."""

    def __init__(
        self, settings: type[BaseSettings], places: Mapping[str, Place], source: PydanticBaseSettingsSource
    ) -> None:
        """`places`: by variable. `source`: of pydantic-settings, for the environment or for the file."""
        super().__init__(settings)
        assert isinstance(source, EnvSettingsSource)  # noqa: S101  # both are
        self._places, self._found = places, source.env_vars

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401, ARG002  # the port
        """Return nothing: the whole comes at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values that are set, each in its place."""
        found = {place: self._found.get(variable.lower()) for variable, place in self._places.items()}
        return nested({place: value for place, value in found.items() if value is not None})


def environment() -> dict[str, str]:
    """Return the environment, for child processes."""
    return dict(os.environ)


def export(values: Mapping[str, str]) -> None:
    """Set settings for this process and its children, by the variable's name in lower case without `TALLYFRAME_`."""
    os.environ.update({f"TALLYFRAME_{name.upper()}": value for name, value in values.items()})
