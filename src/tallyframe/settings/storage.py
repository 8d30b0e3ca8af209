"""Where media are kept."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from tallyframe.settings.group import Group
from tallyframe.settings.values import Seconds, Url


class CloudinarySettings(Group):
    """An account at Cloudinary."""

    url: SecretStr = Field(SecretStr(""), alias="CLOUDINARY_URL")
    upload_prefix: Url = Field("", alias="TALLYFRAME_CLOUDINARY_UPLOAD_PREFIX")
    delivery_url: Url = Field("", alias="TALLYFRAME_CLOUDINARY_DELIVERY_URL")


class S3Settings(Group):
    """A bucket of an S3-compatible service."""

    endpoint_url: Url = Field("", alias="TALLYFRAME_S3_ENDPOINT_URL")
    bucket: str = Field("", alias="TALLYFRAME_S3_BUCKET")
    region: str = Field("auto", alias="TALLYFRAME_S3_REGION")
    public_url: Url = Field("", alias="TALLYFRAME_S3_PUBLIC_URL")  # of a public bucket; empty: addresses are signed
    #: Seconds that a signed address works.
    url_lifetime: Annotated[float, Field(ge=60, le=7 * 24 * 3600)] = Field(3600.0, alias="TALLYFRAME_S3_URL_LIFETIME")
    access_key_id: SecretStr = Field(SecretStr(""), alias="AWS_ACCESS_KEY_ID")
    secret_access_key: SecretStr = Field(SecretStr(""), alias="AWS_SECRET_ACCESS_KEY")


class StorageSettings(Group):
    """The storage for new files, and those that are configured."""

    kind: Literal["", "local", "cloudinary", "s3"] = Field("", alias="TALLYFRAME_STORAGE")
    timeout: Seconds = Field(60.0, alias="TALLYFRAME_STORAGE_TIMEOUT")  # seconds per call
    cloudinary: CloudinarySettings = CloudinarySettings()
    s3: S3Settings = S3Settings()

    @property
    def in_use(self) -> Literal["local", "cloudinary", "s3"]:
        """Where new files go: as set, or what is configured."""
        if self.kind:
            return self.kind
        return "cloudinary" if self.cloudinary.url.get_secret_value() else "s3" if self.s3.bucket else "local"

    def problems(self) -> list[str]:
        """Return a line for each thing that the storage in use needs and hasn't."""
        needed = {
            "cloudinary": {"CLOUDINARY_URL": self.cloudinary.url.get_secret_value()},
            "s3": {
                "TALLYFRAME_S3_BUCKET": self.s3.bucket,
                "TALLYFRAME_S3_ENDPOINT_URL": self.s3.endpoint_url,
                "AWS_ACCESS_KEY_ID": self.s3.access_key_id.get_secret_value(),
                "AWS_SECRET_ACCESS_KEY": self.s3.secret_access_key.get_secret_value(),
            },
        }
        kind = self.kind or ("s3" if self.s3.bucket else "")
        said = f"is not set, and the storage {kind!r} needs it"
        return [f"{name}: {said}" for name, value in needed.get(kind, {}).items() if not value]
