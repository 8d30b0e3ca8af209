"""Who makes media and texts, how they are called, and the access to each vendor."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from tallyframe.catalog import Capability
from tallyframe.settings.group import Group
from tallyframe.settings.values import CommaList, Seconds, Url, VendorPrices, known_providers


class GoogleSettings(Group):
    """Google, for the providers gemini, omni and veo."""

    api_key: SecretStr = Field(SecretStr(""), alias="GEMINI_API_KEY")
    base_url: Url = Field("", alias="TALLYFRAME_GEMINI_BASE_URL")
    image_size: Literal["512", "1K", "2K", "4K"] = Field("1K", alias="TALLYFRAME_IMAGE_SIZE")
    vertex: bool = Field(default=False, alias="TALLYFRAME_VERTEX")  # Google's Enterprise mode
    cloud_project: str = Field("", alias="GOOGLE_CLOUD_PROJECT")
    cloud_location: str = Field("", alias="GOOGLE_CLOUD_LOCATION")


class OpenAISettings(Group):
    """OpenAI, for the provider openai."""

    api_key: SecretStr = Field(SecretStr(""), alias="OPENAI_API_KEY")
    base_url: Url = Field("", alias="TALLYFRAME_OPENAI_BASE_URL")


class ProviderSettings(Group):
    """Who serves which capability, in the order in which they are tried, and with which model."""

    image_providers: Annotated[CommaList, known_providers("image")] = Field((), alias="TALLYFRAME_IMAGE_PROVIDERS")
    video_providers: Annotated[CommaList, known_providers("video")] = Field((), alias="TALLYFRAME_VIDEO_PROVIDERS")
    text_providers: Annotated[CommaList, known_providers("text")] = Field((), alias="TALLYFRAME_TEXT_PROVIDERS")
    vision_providers: Annotated[CommaList, known_providers("vision")] = Field((), alias="TALLYFRAME_VISION_PROVIDERS")
    # The model of the first provider; or a list of provider=model
    image_model: CommaList = Field((), alias="TALLYFRAME_IMAGE_MODEL")
    video_model: CommaList = Field((), alias="TALLYFRAME_VIDEO_MODEL")
    text_model: CommaList = Field((), alias="TALLYFRAME_TEXT_MODEL")
    vision_model: CommaList = Field((), alias="TALLYFRAME_VISION_MODEL")

    google: GoogleSettings = GoogleSettings()
    openai: OpenAISettings = OpenAISettings()
    variables: dict[str, SecretStr] = Field({})  # those that the catalogue names and that have no field, by name

    timeout: Seconds = Field(120.0, alias="TALLYFRAME_PROVIDER_TIMEOUT")  # seconds per call
    #: Seconds between looks at a vendor's ticket.
    poll: Annotated[float, Field(ge=0.05, le=600)] = Field(5.0, alias="TALLYFRAME_PROVIDER_POLL")
    #: Calls in flight per vendor, of all workers together.
    concurrency: int = Field(8, alias="TALLYFRAME_PROVIDER_CONCURRENCY", ge=1, le=1000)
    #: Failures in a row that open the circuit of a provider's model.
    breaker_failures: int = Field(5, alias="TALLYFRAME_BREAKER_FAILURES", ge=1, le=1000)
    #: Seconds that it stays open before one order may try again.
    breaker_cooldown: Seconds = Field(30.0, alias="TALLYFRAME_BREAKER_COOLDOWN")
    vendor_prices: VendorPrices = Field({}, alias="TALLYFRAME_VENDOR_PRICES")

    def named_for(self, capability: Capability) -> tuple[str, ...]:
        """Return the providers that are named for a capability, in order."""
        names: tuple[str, ...] = getattr(self, f"{capability}_providers")
        return names

    def models_for(self, capability: Capability) -> tuple[str, ...]:
        """Return what is set as its model: a model, or pairs provider=model."""
        models: tuple[str, ...] = getattr(self, f"{capability}_model")
        return models
