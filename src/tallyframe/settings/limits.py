"""How much one user, one picture and one answer may take, and how long records are kept."""

from pydantic import Field

from tallyframe.settings.group import Group
from tallyframe.settings.values import Seconds

_MIB = 1024 * 1024


class LimitSettings(Group):
    """Upper limits."""

    max_active_generations: int = Field(1000, alias="TALLYFRAME_MAX_ACTIVE_GENERATIONS", ge=1, le=100_000)  # per user
    max_video_seconds: int = Field(8, alias="TALLYFRAME_MAX_VIDEO_SECONDS", ge=1, le=60)
    #: Bytes per picture.
    max_upload_bytes: int = Field(5 * _MIB, alias="TALLYFRAME_MAX_UPLOAD_BYTES", ge=1024, le=100 * _MIB)
    #: Uploads of one user for later orders, and their bytes together.
    max_assets: int = Field(1000, alias="TALLYFRAME_MAX_ASSETS", ge=1, le=1_000_000)
    max_asset_bytes: int = Field(1024 * _MIB, alias="TALLYFRAME_MAX_ASSET_BYTES", ge=1024, le=1024 * 1024 * _MIB)
    #: Pixels per picture.
    max_image_pixels: int = Field(40_000_000, alias="TALLYFRAME_MAX_IMAGE_PIXELS", ge=10_000, le=500_000_000)
    #: Seconds for a picture that is given by its URL.
    fetch_timeout: Seconds = Field(10.0, alias="TALLYFRAME_FETCH_TIMEOUT")
    #: Bytes of a vendor's answer.
    max_media_bytes: int = Field(100 * _MIB, alias="TALLYFRAME_MAX_MEDIA_BYTES", ge=1024, le=2048 * _MIB)


class RetentionSettings(Group):
    """How long records are kept that nothing else needs."""

    #: Days that an upload stays which nothing uses.
    unused_asset_days: int = Field(30, alias="TALLYFRAME_UNUSED_ASSET_DAYS", ge=1, le=36_500)
    #: Hours that an Idempotency-Key is kept.
    idempotency_hours: int = Field(24, alias="TALLYFRAME_IDEMPOTENCY_HOURS", ge=1, le=8760)
    #: Days that a webhook's event is known when it comes again.
    webhook_events_days: int = Field(30, alias="TALLYFRAME_WEBHOOK_EVENTS_DAYS", ge=2, le=36_500)
    #: Days that a vendor call stays in the log.
    ai_operations_days: int = Field(90, alias="TALLYFRAME_AI_OPERATIONS_DAYS", ge=1, le=36_500)
