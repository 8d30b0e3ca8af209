"""The settings of vendors and storages, with what they must have in common."""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from tallyframe.catalog import BY_NAME, CAPABILITIES, CATALOG, OFFLINE, Capability, Entry
from tallyframe.setting_types import CommaList, Seconds, Url, VendorPrices, known_providers


class CatalogVariables(PydanticBaseSettingsSource):
    """Reads the variables that the catalogue names, so that a new provider's key needs no field of its own."""

    def __init__(self, settings: type[BaseSettings], *sources: EnvSettingsSource) -> None:
        """`sources`: the environment and the file, the first one wins."""
        super().__init__(settings)
        self._sources = sources

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401, ARG002  # the port
        """Return nothing: the whole comes at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return them as the field `variables`."""
        fields = self.settings_cls.model_fields
        own = {str(info.validation_alias or f"TALLYFRAME_{name.upper()}") for name, info in fields.items()}
        named = {name for entry in CATALOG for row in entry.needs for name in row} - own
        values = {name: source.env_vars.get(name.lower()) for source in reversed(self._sources) for name in named}
        return {"variables": {name: value for name, value in values.items() if value}}


class VendorSettings(BaseSettings):
    """Who makes media and where they are kept; a part of `Settings`."""

    env: Literal["development", "production"] = "development"

    # Vendors: who serves which capability, in the order in which they are tried, and with which model
    image_providers: Annotated[CommaList, known_providers("image")] = ()
    video_providers: Annotated[CommaList, known_providers("video")] = ()
    text_providers: Annotated[CommaList, known_providers("text")] = ()
    vision_providers: Annotated[CommaList, known_providers("vision")] = ()
    image_model: CommaList = ()  # of the first provider; or a list of provider=model
    video_model: CommaList = ()
    text_model: CommaList = ()
    vision_model: CommaList = ()
    variables: dict[str, SecretStr] = {}  # those that the catalogue names and that are no field here, by name
    image_size: Literal["512", "1K", "2K", "4K"] = "1K"
    gemini_api_key: SecretStr = Field(SecretStr(""), validation_alias="GEMINI_API_KEY")
    gemini_base_url: Url = ""
    openai_api_key: SecretStr = Field(SecretStr(""), validation_alias="OPENAI_API_KEY")
    openai_base_url: Url = ""
    vertex: bool = False  # Google's Enterprise mode
    google_cloud_project: str = Field("", validation_alias="GOOGLE_CLOUD_PROJECT")
    google_cloud_location: str = Field("", validation_alias="GOOGLE_CLOUD_LOCATION")
    provider_timeout: Seconds = 120.0  # seconds per call
    provider_poll: Annotated[float, Field(ge=0.05, le=600)] = 5.0  # seconds between looks at a vendor's ticket
    provider_concurrency: int = Field(8, ge=1, le=1000)  # calls in flight per vendor, of all workers together
    max_media_bytes: int = Field(100 * 1024 * 1024, ge=1024, le=2 * 1024 * 1024 * 1024)  # bytes of a vendor's answer
    breaker_failures: int = Field(5, ge=1, le=1000)  # failures in a row that open the circuit of a provider's model
    breaker_cooldown: Seconds = 30.0  # seconds that it stays open before one order may try again
    vendor_prices: VendorPrices = {}
    ai_operations_days: int = Field(90, ge=1, le=36_500)  # days that a vendor call stays in the log

    # Storage
    storage: Literal["", "local", "cloudinary", "s3"] = ""  # empty: what is configured, else local
    storage_timeout: Seconds = 60.0  # seconds per call
    cloudinary_url: SecretStr = Field(SecretStr(""), validation_alias="CLOUDINARY_URL")
    cloudinary_upload_prefix: Url = ""
    cloudinary_delivery_url: Url = ""
    s3_endpoint_url: Url = ""
    s3_bucket: str = ""
    s3_region: str = "auto"
    s3_public_url: Url = ""  # of a public bucket; empty: addresses are signed
    s3_url_lifetime: Annotated[float, Field(ge=60, le=7 * 24 * 3600)] = 3600.0  # seconds that a signed address works
    aws_access_key_id: SecretStr = Field(SecretStr(""), validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr = Field(SecretStr(""), validation_alias="AWS_SECRET_ACCESS_KEY")

    def vendor_problems(self) -> list[str]:
        """Return a line for each thing that is missing or contradicts another."""
        problems = []
        for capability in CAPABILITIES:
            named = {pair.split("=")[0] for pair in self._models(capability) if "=" in pair}
            if named - set(self.providers_for(capability)):
                name = f"TALLYFRAME_{capability.upper()}_MODEL"
                problems.append(f"{name}: one of its models names a provider that is not listed")
            problems += [line for name in self.providers_for(capability) if (line := self._missing(BY_NAME[name]))]
        return list(dict.fromkeys(problems))

    def variable(self, name: str) -> str:
        """Return the value of a variable that the catalogue names, or an empty string."""
        if name in self.variables:
            return self.variables[name].get_secret_value()
        for field, info in type(self).model_fields.items():
            if name in {info.validation_alias, f"TALLYFRAME_{field.upper()}"}:
                value = getattr(self, field)
                return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
        return ""

    def has_access(self, entry: Entry) -> bool:
        """Tell whether all is set that a provider needs."""
        return not entry.needs or any(all(self.variable(name) for name in row) for row in entry.needs)

    def _missing(self, entry: Entry) -> str | None:
        if self.has_access(entry):
            return None
        missing = next(name for name in entry.needs[0] if not self.variable(name))
        return f"{missing}: is not set, and {entry.name!r} needs it"

    def _models(self, capability: Capability) -> tuple[str, ...]:
        models: tuple[str, ...] = getattr(self, f"{capability}_model")
        return models

    def storage_problems(self) -> list[str]:
        """Return a line for each thing that the storage in use needs and hasn't."""
        needed = {
            "cloudinary": {"CLOUDINARY_URL": self.cloudinary_url.get_secret_value()},
            "s3": {
                "TALLYFRAME_S3_BUCKET": self.s3_bucket,
                "TALLYFRAME_S3_ENDPOINT_URL": self.s3_endpoint_url,
                "AWS_ACCESS_KEY_ID": self.aws_access_key_id.get_secret_value(),
                "AWS_SECRET_ACCESS_KEY": self.aws_secret_access_key.get_secret_value(),
            },
        }
        kind = self.storage or ("s3" if self.s3_bucket else "")
        return [
            f"{name}: is not set, and the storage {kind!r} needs it"
            for name, v in needed.get(kind, {}).items()
            if not v
        ]

    def providers_for(self, capability: Capability) -> tuple[str, ...]:
        """Return the names of those who serve a capability, in order.

        Where none is named: the first of the catalogue that has what it needs, else offline; in production nobody.
        """
        named: tuple[str, ...] = getattr(self, f"{capability}_providers")
        usual = (each.name for each in CATALOG if capability in each.models and each.needs and self.has_access(each))
        fallback = () if self.env == "production" else (OFFLINE,)
        return named or tuple(usual)[:1] or fallback

    def model_of(self, provider: str, capability: Capability) -> str:
        """Return the model that a provider is to use: as set for it, or its default."""
        entry = BY_NAME[provider]
        model = {**entry.models, **(entry.vertex_models if self.vertex else {})}[capability]
        for name in self._models(capability):
            of, separator, given = name.partition("=")
            if separator and of == provider:
                model = given
            elif not separator and provider == self.providers_for(capability)[0]:
                model = name
        return model

    @property
    def storage_in_use(self) -> Literal["local", "cloudinary", "s3"]:
        """Where new files go: as set, or what is configured."""
        if self.storage:
            return self.storage
        return "cloudinary" if self.cloudinary_url.get_secret_value() else "s3" if self.s3_bucket else "local"
