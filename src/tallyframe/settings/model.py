"""The groups as one object, and what is to be known of several groups at once."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tallyframe.catalog import BY_NAME, CAPABILITIES, CATALOG, OFFLINE, Capability, Entry
from tallyframe.settings.audit import AuditSettings
from tallyframe.settings.auth import AuthSettings
from tallyframe.settings.group import Group, Place, keyword, leaves, nested
from tallyframe.settings.limits import LimitSettings, RetentionSettings
from tallyframe.settings.money import MoneySettings
from tallyframe.settings.observability import ObservabilitySettings
from tallyframe.settings.pictures import PictureSettings
from tallyframe.settings.providers import ProviderSettings
from tallyframe.settings.requests import RequestSettings
from tallyframe.settings.server import ServerSettings
from tallyframe.settings.sources import Variables
from tallyframe.settings.storage import StorageSettings
from tallyframe.settings.workers import GenerationSettings, WorkerSettings

#: Hosts of addresses that are only good on this machine.
THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})


class Settings(BaseSettings):
    """All settings with their defaults and units. Frozen; secrets don't show in `repr`."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8-sig", frozen=True)

    server: ServerSettings = ServerSettings()
    requests: RequestSettings = RequestSettings()
    auth: AuthSettings = AuthSettings()
    money: MoneySettings = MoneySettings()
    limits: LimitSettings = LimitSettings()
    pictures: PictureSettings = PictureSettings()
    retention: RetentionSettings = RetentionSettings()
    providers: ProviderSettings = ProviderSettings()
    storage: StorageSettings = StorageSettings()
    generations: GenerationSettings = GenerationSettings()
    workers: WorkerSettings = WorkerSettings()
    audit: AuditSettings = AuditSettings()
    observability: ObservabilitySettings = ObservabilitySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # there are none
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read a variable per field, instead of one per group that would hold JSON."""
        found = (Variables(settings_cls, places(), source) for source in (env_settings, dotenv_settings))
        return init_settings, *found

    @model_validator(mode="after")
    def _agree(self) -> Self:
        groups = [group for _, group in self if isinstance(group, Group)]
        problems = [line for group in groups for line in group.problems()]
        problems += [*self._provider_problems(), *self._production_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _provider_problems(self) -> list[str]:
        problems = []
        for capability in CAPABILITIES:
            serving = self.providers_for(capability)
            if {pair.split("=")[0] for pair in self.providers.models_for(capability) if "=" in pair} - set(serving):
                name = f"TALLYFRAME_{capability.upper()}_MODEL"
                problems.append(f"{name}: one of its models names a provider that is not listed")
            for entry in (BY_NAME[name] for name in serving if not self.has_access(BY_NAME[name])):
                missing = next(name for name in entry.needs[0] if not self.variable(name))
                problems.append(f"{missing}: is not set, and {entry.name!r} needs it")
        return list(dict.fromkeys(problems))

    def _production_problems(self) -> list[str]:
        needed: tuple[Capability, ...] = ("image", "video")
        missing = [f"TALLYFRAME_{each.upper()}_PROVIDERS" for each in needed if not self.providers_for(each)]
        unnamed = "must be named in production without a GEMINI_API_KEY: nothing falls back to 'offline'"
        # In production, addresses that carry keys or tell who signs in must be https.
        addresses = {
            "TALLYFRAME_AUTH_ISSUER": self.auth.issuer if not self.auth.jwks_url else "",
            "TALLYFRAME_AUTH_JWKS_URL": self.auth.jwks_url,
            "TALLYFRAME_GEMINI_BASE_URL": self.providers.google.base_url,
            "TALLYFRAME_OPENAI_BASE_URL": self.providers.openai.base_url,
            "TALLYFRAME_CLOUDINARY_UPLOAD_PREFIX": self.storage.cloudinary.upload_prefix,
        }
        is_open = {
            name: url.startswith("http://") and urlsplit(url).hostname not in THIS_MACHINE
            for name, url in addresses.items()
        }
        opened = [name for name in addresses if is_open[name] and self.server.env == "production"]
        readable = "must be https in production, but on this machine"
        return [f"{name}: {unnamed}" for name in missing] + [f"{name}: {readable}" for name in opened]

    @cached_property
    def by_variable(self) -> Mapping[str, object]:
        """Every value by its variable."""
        return {variable: value for (*_, variable), value in leaves(self)}

    def variable(self, name: str) -> str:
        """Return the value of a variable, such as one that the catalogue names; empty where it isn't set."""
        value = self.by_variable.get(name)
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")

    def secrets(self) -> list[str]:
        """Return every secret value, and the passwords inside of URLs, for the logs to hide."""
        values = self.by_variable.values()
        many = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
        found = [item.get_secret_value() for item in many if isinstance(item, SecretStr)]
        passwords = [password for text in found if (password := _password(text))]
        return [*found, *passwords, *(unquote(password) for password in passwords)]

    def replaced(self, **changes: object) -> "Settings":
        """Return a copy with other values, which are named as for `load_settings`. Raises ValidationError."""
        return Settings(**in_place({keyword(name): value for name, value in self.by_variable.items()} | changes))

    def has_access(self, entry: Entry) -> bool:
        """Tell whether all is set that a provider needs."""
        return not entry.needs or any(all(self.variable(name) for name in row) for row in entry.needs)

    def providers_for(self, capability: Capability) -> tuple[str, ...]:
        """Return the names of those who serve a capability, in order.

        Where none is named: the first of the catalogue that has what it needs, else offline; in production nobody.
        """
        usual = (each.name for each in CATALOG if capability in each.models and each.needs and self.has_access(each))
        fallback = () if self.server.env == "production" else (OFFLINE,)
        return self.providers.named_for(capability) or tuple(usual)[:1] or fallback

    def model_of(self, provider: str, capability: Capability) -> str:
        """Return the model that a provider is to use: as set for it, or its default."""
        entry = BY_NAME[provider]
        model = {**entry.models, **(entry.vertex_models if self.providers.google.vertex else {})}[capability]
        for name in self.providers.models_for(capability):
            of, separator, given = name.partition("=")
            if separator and of == provider:
                model = given
            elif not separator and provider == self.providers_for(capability)[0]:
                model = name
        return model


def places() -> dict[str, Place]:
    """Return every variable with the place of its value: those of fields, and the others that the catalogue names."""
    fields = {place[-1]: place for place, _ in leaves(Settings.model_construct())}
    others = {name for entry in CATALOG for row in entry.needs for name in row} - fields.keys()
    return fields | {name: ("providers", "variables", name) for name in others}


def in_place(values: Mapping[str, object]) -> dict[str, Any]:
    """Return values, given by keyword, as dicts of groups. Raises KeyError for a name that no setting has."""
    known = {keyword(variable): place for variable, place in places().items()}
    return nested({known[name]: value for name, value in values.items()})


def _password(text: str) -> str | None:
    try:
        return urlsplit(text).password
    except ValueError:  # not a URL at all
        return None
