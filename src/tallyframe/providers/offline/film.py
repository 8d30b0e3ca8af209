"""Videos: a slow pan and zoom over a picture or a landscape. H.264 in MP4, by PyAV."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from PIL import Image

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Media, VideoTask
from tallyframe.providers.offline import lettering, scenery
from tallyframe.providers.offline.picture import darken_below, open_picture

#: aspect ratio -> width and height in pixels, even as yuv420p wants them
VIDEO_SIZES = {
    "1:1": (720, 720),
    "9:16": (720, 1280),
    "16:9": (1280, 720),
    "4:5": (720, 900),
    "3:4": (720, 960),
}
FRAMES_PER_SECOND = 24
MAX_SECONDS = 60

_CLOSER = 1.15  # the zoom of the last frame; the first one's is 1
_TALLEST = 2  # a picture that is more than this much too long for the video is cut

# A camera that only glides needs no search for cuts and fades: a fifth of the encoder's time for the same picture.
_ENCODER = {"preset": "superfast", "crf": "27", "x264-params": "scenecut=0:weightp=0:b-adapt=0"}

# RGB to Y'CbCr of BT.709, limited range: what players take HD for, whether or not they read the flags.
_BT709 = (0.1826, 0.6142, 0.0620, 16, -0.1006, -0.3386, 0.4392, 128, 0.4392, -0.3989, -0.0403, 128)

Window = tuple[float, float, float, float]  # left, top, right, bottom; as shares of the picture


@dataclass(frozen=True, slots=True)
class Overlay:
    """What stands still before the moving picture: its three planes, and how opaque each is, at `corner` (pixels)."""

    corner: tuple[int, int]
    planes: list[Image.Image]
    masks: list[Image.Image]


def check_video(order: VideoTask) -> None:
    """Raise ProviderError (invalid_input) for an aspect ratio or a length that is not offered."""
    if order.aspect_ratio not in VIDEO_SIZES:
        raise ProviderError(FailureCode.INVALID_INPUT, f"The aspect ratio must be one of {', '.join(VIDEO_SIZES)}.")
    if not 1 <= order.duration_seconds <= MAX_SECONDS:
        raise ProviderError(FailureCode.INVALID_INPUT, f"A video lasts from 1 to {MAX_SECONDS} seconds.")


def shoot_video(order: VideoTask, first_frame: Media | None, prompt: str) -> Media:
    """Film the first frame of a checked order, or a landscape made of the prompt (without cards), and give the MP4.

    Raises ProviderError (invalid_input) if the first frame can't be decoded. Takes CPU time: call it in a thread.
    """
    size = VIDEO_SIZES[order.aspect_ratio]
    scene, overlay = _stage(first_frame, prompt, size)
    count = FRAMES_PER_SECOND * order.duration_seconds
    data = _encode(_frames(scene, overlay, size, count), size)
    return Media(data, "video/mp4", *size, float(order.duration_seconds))


def _stage(first_frame: Media | None, prompt: str, size: tuple[int, int]) -> tuple[Image.Image, Overlay]:
    """Make what the camera moves over, and what stands still before it."""
    still = Image.new("RGBA", size)
    if first_frame is None:
        scene = scenery.landscape(prompt, size)
        darken_below(scene, prompt)
        lettering.write_caption(still, prompt)
    else:
        scene = _cover(open_picture(first_frame, size), size)
        lettering.write_label_above(still)  # at the top: an image made offline has its own label at the bottom
    return scene, _overlay(still)


def _cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a picture so that the video's window just fits into it: enlarging from there is cheaper than reducing."""
    wide, high = picture.width / size[0], picture.height / size[1]
    least = min(wide, high)
    share = (min(1.0, _TALLEST * least / wide), min(1.0, _TALLEST * least / high))
    box = _window_box((0.5 - share[0] / 2, 0.5 - share[1] / 2, 0.5 + share[0] / 2, 0.5 + share[1] / 2), picture)
    target = (round(size[0] * wide * share[0] / least), round(size[1] * high * share[1] / least))
    return picture.resize(target, Image.Resampling.BICUBIC, box)


def _overlay(still: Image.Image) -> Overlay:
    # Cut to what is drawn on, at even pixels as the colour planes have half of them: pasting is paid per frame.
    left, top, right, bottom = still.getbbox() or (0, 0, 2, 2)
    drawn = still.crop((left // 2 * 2, top // 2 * 2, (right + 1) // 2 * 2, (bottom + 1) // 2 * 2))
    mask = drawn.getchannel("A")
    half = mask.reduce(2)
    return Overlay((left // 2 * 2, top // 2 * 2), _planes(drawn.convert("RGB")), [mask, half, half])


def _planes(picture: Image.Image) -> list[Image.Image]:
    """Split RGB into Y, Cb and Cr, the latter two at half the width and height."""
    luma, blue, red = picture.convert("RGB", _BT709).split()
    return [luma, blue.reduce(2), red.reduce(2)]


def _frames(scene: Image.Image, overlay: Overlay, size: tuple[int, int], count: int) -> Iterator[av.VideoFrame]:
    """Render frame by frame, in Y'CbCr from the start: half the pixels of RGB, and nothing left to convert."""
    planes = _planes(scene)
    for number in range(count):
        frame = av.VideoFrame(*size, "yuv420p")
        frame.pts = number
        window = _window(scene, size, number / max(1, count - 1))
        for index, plane in enumerate(planes):
            _fill(frame, index, plane, window, overlay)
        yield frame


def _window(scene: Image.Image, size: tuple[int, int], time: float) -> Window:
    """What the camera sees at a time from 0 to 1: it comes closer, rises and goes right by half of the way there is."""
    wide, high = scene.width / size[0], scene.height / size[1]
    zoom = min(wide, high) / (1 + (_CLOSER - 1) * time)
    width, height = zoom / wide, zoom / high
    along = 0.25 + 0.5 * time
    left, top = (1 - width) * along, (1 - height) * (1 - along)
    return left, top, left + width, top + height


def _window_box(window: Window, plane: Image.Image) -> Window:
    left, top, right, bottom = window
    return (
        max(0.0, left * plane.width),
        max(0.0, top * plane.height),
        min(float(plane.width), right * plane.width),
        min(float(plane.height), bottom * plane.height),
    )


def _fill(frame: av.VideoFrame, index: int, plane: Image.Image, window: Window, overlay: Overlay) -> None:
    target = frame.planes[index]
    seen = plane.resize((target.width, target.height), Image.Resampling.BILINEAR, _window_box(window, plane))
    shrink = frame.width // target.width
    corner = (overlay.corner[0] // shrink, overlay.corner[1] // shrink)
    seen.paste(overlay.planes[index], corner, overlay.masks[index])
    target.update(seen.crop((0, 0, target.line_size, target.height)).tobytes())


def _encode(frames: Iterable[av.VideoFrame], size: tuple[int, int]) -> bytes:
    # Into a file, since "faststart" reads what it has written to move the index to the front.
    with tempfile.TemporaryDirectory(prefix="tallyframe-") as folder:
        path = Path(folder) / "video.mp4"
        with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as film:
            stream = film.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_ENCODER)
            _set_up(stream, size)
            for frame in frames:
                film.mux(stream.encode(frame))
            film.mux(stream.encode())
        return path.read_bytes()


def _set_up(stream: VideoStream, size: tuple[int, int]) -> None:
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1  # x264 notes it in the file, so the bytes would depend on the machine
    stream.codec_context.color_range = ColorRange.MPEG
    stream.codec_context.colorspace = Colorspace.ITU709
    stream.codec_context.color_primaries = ColorPrimaries.BT709
    stream.codec_context.color_trc = ColorTrc.BT709
