"""The settings of vendors and storages, with what they must have in common."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from tallyframe.setting_types import (
    DEFAULT_MODELS,
    VERTEX_MODELS,
    CommaList,
    ImageProviders,
    Seconds,
    Url,
    VendorPrices,
    VideoProviders,
)


class VendorSettings(BaseSettings):
    """Who makes media and where they are kept; a part of `Settings`."""

    # Vendors
    image_providers: ImageProviders = ()  # in the order in which they are tried
    video_providers: VideoProviders = ()
    image_model: CommaList = ()  # of the first provider; or a list of provider=model
    video_model: CommaList = ()
    image_size: Literal["512", "1K", "2K", "4K"] = "1K"
    gemini_api_key: SecretStr = Field(SecretStr(""), validation_alias="GEMINI_API_KEY")
    gemini_base_url: Url = ""
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
        problems = [f"{name}: one of its models names a provider that is not listed" for name in self._stray_models()]
        google = [name for name in (*self.providers_for_images, *self.providers_for_videos) if name != "offline"]
        if google and not self.has_google_access:
            return [*problems, f"GEMINI_API_KEY: is not set, and {google[0]!r} needs it"]
        return problems

    @property
    def has_google_access(self) -> bool:
        """Tell whether there is a key, or in Vertex mode a project."""
        in_cloud = self.vertex and self.google_cloud_project
        return bool(self.gemini_api_key.get_secret_value() or in_cloud)

    def _stray_models(self) -> list[str]:
        listed = {
            "TALLYFRAME_IMAGE_MODEL": (self.image_model, self.providers_for_images),
            "TALLYFRAME_VIDEO_MODEL": (self.video_model, self.providers_for_videos),
        }
        named = {name: {pair.split("=")[0] for pair in pairs if "=" in pair} for name, (pairs, _) in listed.items()}
        return [name for name, (_, providers) in listed.items() if named[name] - set(providers)]

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

    @property
    def providers_for_images(self) -> tuple[str, ...]:
        """The ordered provider names for images; when none is named, Gemini if there is a key, else offline."""
        return self.image_providers or (("gemini",) if self.has_google_access else ("offline",))

    @property
    def providers_for_videos(self) -> tuple[str, ...]:
        """The ordered provider names for videos; when none is named, Omni if there is a key, else offline."""
        return self.video_providers or (("omni",) if self.has_google_access else ("offline",))

    def model_of(self, provider: str) -> str:
        """Return the model that a provider is to use: as set for it, or its default."""
        models = dict(VERTEX_MODELS if self.vertex else DEFAULT_MODELS)
        for names, providers in (
            (self.image_model, self.providers_for_images),
            (self.video_model, self.providers_for_videos),
        ):
            for name in names:
                provider_name, separator, model = name.partition("=")
                models[provider_name if separator else providers[0]] = model if separator else name
        return models[provider]

    @property
    def storage_in_use(self) -> Literal["local", "cloudinary", "s3"]:
        """Where new files go: as set, or what is configured."""
        if self.storage:
            return self.storage
        return "cloudinary" if self.cloudinary_url.get_secret_value() else "s3" if self.s3_bucket else "local"
