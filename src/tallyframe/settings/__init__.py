"""Every setting, read once from the environment (and `.env`) by the entry points. Nothing else reads the environment.

Settings are in groups, a file per topic; each field names its variable. Tallyframe's own variables start with
TALLYFRAME_; those of other products keep the names that these document.
"""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource

from tallyframe.redaction import hide
from tallyframe.settings.group import keyword
from tallyframe.settings.model import Settings, in_place, places
from tallyframe.settings.sources import environment, export, unread

__all__ = ["Settings", "SettingsError", "environment", "export", "load_settings", "unknown_variables"]


class SettingsError(Exception):
    """The settings are wrong. The message has one line per problem, each naming its variable."""


def load_settings(*, needs: Sequence[str] = (), **overrides: object) -> Settings:
    """Read the settings; `overrides` win over the environment.

    Both name a setting by its variable in lower case without TALLYFRAME_, as in `lease_seconds=3`; an unknown name
    raises KeyError. Raise SettingsError, one line per problem, also when one of `needs` is not set.
    """
    in_file()
    try:
        settings = Settings(**in_place(overrides))
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            variables = [part for part in problem["loc"] if part in places()]
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{variables[0]}: {message}" if variables else message)
        raise SettingsError("\n".join(lines)) from None
    hide(settings.secrets())
    by_keyword = {keyword(variable): variable for variable in places()}
    missing = [by_keyword[name] for name in needs if not settings.variable(by_keyword[name])]
    if missing:
        raise SettingsError("\n".join(f"{variable}: is not set" for variable in missing))
    return settings


def unknown_variables() -> list[str]:
    """Return a line for each variable of the environment or `.env` that is meant for us, and that nobody reads.

    Raises SettingsError where `.env` can't be read.
    """
    return unread(places().keys(), in_file())


def in_file() -> Mapping[str, str | None]:
    """Return what `.env` has, by variable in lower case. Raises SettingsError where it can't be read."""
    try:
        found = DotEnvSettingsSource(Settings).env_vars
    except UnicodeError:
        raise SettingsError(NO_TEXT) from None
    except OSError as error:
        raise SettingsError(f".env: can't be read ({error.strerror}). Correct its rights, or remove it.") from None
    if any("\0" in f"{name}{value}" for name, value in found.items()):  # UTF-16, where each other byte is a zero
        raise SettingsError(NO_TEXT)
    return found


NO_TEXT = ".env: is no text in UTF-8. Save it in that encoding, and not as UTF-16 or Latin-1."
