"""What vendors send back, looked at before it is taken for media: known by content, and whole.

A vendor's word on the type is not asked; some name one and send another. A picture is read as one from outside is:
damage that costs no pixels, such as a wrong check sum of a comment, is no reason to order it again.
"""

from io import BytesIO

import av
from av.video.stream import VideoStream

from tallyframe.errors import FailureCode, ProviderError, TooLarge, ValidationFailed
from tallyframe.imaging.formats import MAX_SIDE, DamagedPictureError, kind_of, open_picture, upright
from tallyframe.providers.base import Media
from tallyframe.providers.media_threads import MEDIA_THREADS


def received_image(data: bytes, *, max_pixels: int = 40_000_000) -> Media:
    """Return the JPEG, PNG or WebP in `data` as it is, with its width and height in pixels.

    It is decoded once to see that it is whole; the size is checked before that. CPU-bound, about 12 bytes of memory per
    pixel, WebP 20: call it in a thread. Raises ProviderError (provider_rejected, retryable) for anything else, damaged
    pixels and more than `max_pixels` of them; nothing in it is of the picture's content.
    """
    kind = kind_of(data)
    if kind is None:
        raise _no_image(f"its {len(data):,} bytes are neither JPEG, PNG nor WebP")
    try:
        picture = open_picture(kind, data, MAX_SIDE**2)
        width, height = picture.size
        fits = width * height <= max_pixels
        if fits:
            upright(picture)
    except (TooLarge, ValidationFailed) as error:
        raise _no_image(error.detail) from None
    except DamagedPictureError as error:
        raise _no_image(f"this {kind} picture is damaged ({error})") from error
    if not fits:
        raise _no_image(f"it has {width:,} x {height:,} pixels; at most {max_pixels:,} are accepted")
    return Media(data, f"image/{kind.lower()}", width, height)


async def received_video(data: bytes) -> Media:
    """Return the MP4 in `data` as it is, with width and height in pixels and its length in seconds.

    Its first frame is decoded, in a thread. Raises ProviderError (provider_rejected, final) for anything else.
    """
    return await MEDIA_THREADS.run(_video, data)


def _video(data: bytes) -> Media:
    if data[4:8] != b"ftyp" or not _is_whole(data):
        raise _no_video(f"its {len(data):,} bytes are no complete MP4")
    try:
        with av.open(BytesIO(data), "r", format="mp4") as container:
            stream: VideoStream | None = next(iter(container.streams.video), None)
            frame = next(container.decode(stream)) if stream is not None else None
            length = (container.duration or 0) / av.time_base
    except MemoryError:
        raise
    except Exception as error:  # whatever a decoder raises over damaged bytes, it means the same
        raise _no_video(f"this MP4 can't be opened ({type(error).__name__})") from error
    if frame is None:
        raise _no_video("this MP4 has no video in it")
    if not length:
        raise _no_video("this MP4 has no length")
    return Media(data, "video/mp4", frame.width, frame.height, length)


def _is_whole(data: bytes) -> bool:
    """Walk over the boxes that an MP4 is a row of (ISO/IEC 14496-12, 4.2): none may end after the data does.

    A decoder would not tell: with the index in front, as for streaming, it opens half a film like a whole one.
    """
    position = 0
    while position + 8 <= len(data):
        size, header = int.from_bytes(data[position : position + 4], "big"), 8
        if size == 1:  # 64 bits follow the name
            size, header = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        if size == 0:  # up to the end
            return True
        position += max(size, header)
    return position <= len(data)


def _no_image(why: str) -> ProviderError:
    return ProviderError(
        FailureCode.PROVIDER_REJECTED, retryable=True, operator_message=f"The image can't be used: {why}."
    )


def _no_video(why: str) -> ProviderError:
    return ProviderError(FailureCode.PROVIDER_REJECTED, operator_message=f"The video can't be used: {why}.")
