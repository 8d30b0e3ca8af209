"""Where settings are read: the environment of this process, and a file `.env` in the working folder."""

import os
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
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


#: Variables that clients read, as the examples of the README do; and those that Kubernetes sets for a service which is
#: called `tallyframe` or `tallyframe-api`.
_OF_OTHERS = re.compile(
    r"TALLYFRAME_(URL|KEY)|TALLYFRAME(_\w+)?_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_\w+)?)?)"
)
_PREFIX = "TALLYFRAME_"
#: What others call what we need, too. It is meant for us where ours isn't set.
_BARE = ("DATABASE_URL", "REDIS_URL")


def unread(known: Collection[str], in_file: Collection[str]) -> list[str]:
    """Return a line for each variable that looks like one of ours and isn't, with the nearest name; values don't show.

    `known`: the variables that are read, in upper case; case doesn't matter. `in_file`: those in `.env`. What nobody
    reads may be meant for another version, such as the one before, so it stops nothing.
    """
    lines, given = [], dict.fromkeys([*os.environ, *(name.upper() for name in in_file)])
    are_set = {name.upper() for name in given}
    by_rest = {name.removeprefix(_PREFIX): name for name in known}
    for name in given:
        rest = name.upper() if name in _BARE and _PREFIX + name not in are_set else _rest(name.upper())
        if rest is not None and name.upper() not in known and not _OF_OTHERS.fullmatch(name.upper()):
            # Without the prefix, which is alike in all and would make any two of them similar.
            near = get_close_matches(rest, by_rest, n=1, cutoff=0.8)
            where = "" if name in os.environ else " in .env"
            meant = f" Did you mean {by_rest[near[0]]}?" if near else " docs/settings.md lists all settings."
            lines.append(f"{name}{where}: there is no such setting, so it changes nothing.{meant}")
    return lines


def _rest(name: str) -> str | None:
    """Return what follows our prefix, which may be misspelt; None where it is another one."""
    first, _, rest = name.partition("_")
    if first == "TALLY":  # as in TALLY_FRAME_ENV
        second, _, rest = rest.partition("_")
        first += second
    return rest if get_close_matches(first, [_PREFIX[:-1]], cutoff=0.85) else None
