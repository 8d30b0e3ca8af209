"""How many input pictures an API process fetches and decodes at once, in all and for one user."""

from pydantic import Field

from tallyframe.settings.group import Group
from tallyframe.settings.values import Seconds


class PictureSettings(Group):
    """Fetching and decoding of input pictures. All numbers are per API process."""

    #: Pictures fetched by their address at once, and threads that look up their host names.
    fetches: int = Field(32, alias="TALLYFRAME_PICTURE_FETCHES", ge=1, le=1_000)
    #: The same of one user.
    fetches_per_user: int = Field(8, alias="TALLYFRAME_PICTURE_FETCHES_PER_USER", ge=1, le=1_000)
    #: Processes that decode pictures; each may take 0.5 GB.
    decoders: int = Field(2, alias="TALLYFRAME_PICTURE_DECODERS", ge=1, le=64)
    #: Of these, how many may work for one user at once.
    decoders_per_user: int = Field(1, alias="TALLYFRAME_PICTURE_DECODERS_PER_USER", ge=1, le=64)
    #: Seconds of a processor that one picture may take.
    cpu_seconds: Seconds = Field(30.0, alias="TALLYFRAME_PICTURE_CPU_SECONDS")
    #: Pictures that wait to be fetched, and as many that wait to be decoded.
    waiting: int = Field(32, alias="TALLYFRAME_PICTURES_WAITING", ge=1, le=10_000)
    #: The same of one user.
    waiting_per_user: int = Field(16, alias="TALLYFRAME_PICTURES_WAITING_PER_USER", ge=1, le=10_000)
    #: Seconds that a picture waits at most.
    wait: Seconds = Field(30.0, alias="TALLYFRAME_PICTURE_WAIT")
