"""Videos: a camera that slowly comes closer to a picture or a landscape. H.264 in MP4, by PyAV."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image, ImageOps

from tallyframe.providers.base import Media, VideoTask
from tallyframe.providers.offline import lettering, scenery
from tallyframe.providers.offline.picture import open_picture

#: aspect ratio -> width and height in pixels, even as yuv420p wants them
VIDEO_SIZES = {
    "1:1": (720, 720),
    "9:16": (720, 1280),
    "16:9": (1280, 720),
    "4:5": (720, 900),
    "3:4": (720, 960),
}
FRAMES_PER_SECOND = 24

_CLOSER = 0.1  # how much nearer the last frame is than the first one, which shows all
_TO_THE_SIDE = (
    0.25  # where the camera goes, from 0 (left) to 1 (right); it goes up or down to the text, so that it stays
)

# A camera that only glides needs no search for cuts and fades: a fifth of the encoder's time for the same picture.
_ENCODER = {"preset": "superfast", "crf": "27", "x264-params": "scenecut=0:weightp=0:b-adapt=0"}

# RGB to Y'CbCr of BT.709, limited range: what players take HD for, whether or not they read the flags.
_BT709 = (0.1826, 0.6142, 0.0620, 16, -0.1006, -0.3386, 0.4392, 128, 0.4392, -0.3989, -0.0403, 128)


def shoot_video(order: VideoTask, first_frame: Media | None, prompt: str) -> Media:
    """Film the first frame of a checked order, or a landscape made of the prompt (without cards), and give the MP4.

    Raises ProviderError (invalid_input) if the first frame can't be decoded. Takes CPU time: call it in a thread.
    """
    size = VIDEO_SIZES[order.aspect_ratio]
    if first_frame:
        scene, down = ImageOps.fit(open_picture(first_frame, size), size, Image.Resampling.BICUBIC), 0.1
        lettering.write_label(scene, min(size) // 20)  # at the top: an image made offline has its own at the bottom
    else:
        scene, down = scenery.landscape(prompt, size), 0.9
        lettering.write_caption(scene, prompt)
    data = _encode(_frames(scene, down, FRAMES_PER_SECOND * order.duration_seconds), size)
    return Media(data, "video/mp4", *size, float(order.duration_seconds))


def _frames(scene: Image.Image, down: float, count: int) -> Iterator[av.VideoFrame]:
    """Render frame by frame, in Y'CbCr from the start: half the pixels of RGB, and nothing left to convert.

    `down` is where the camera goes, from 0 (top) to 1.
    """
    luma, blue, red = scene.convert("RGB", _BT709).split()
    planes = (luma, blue.reduce(2), red.reduce(2))
    for number in range(count):
        frame = av.VideoFrame(*scene.size, "yuv420p")
        frame.pts = number
        seen = 1 / (1 + _CLOSER * number / max(1, count - 1))
        for target, plane in zip(frame.planes, planes, strict=True):
            left, top = plane.width * (1 - seen) * _TO_THE_SIDE, plane.height * (1 - seen) * down
            window = (left, top, left + plane.width * seen, top + plane.height * seen)
            shown = plane.resize((target.width, target.height), Image.Resampling.BILINEAR, window)
            target.update(shown.crop((0, 0, target.line_size, target.height)).tobytes())
        yield frame


def _encode(frames: Iterable[av.VideoFrame], size: tuple[int, int]) -> bytes:
    # Into a file, since "faststart" reads what it has written to move the index to the front.
    with tempfile.TemporaryDirectory(prefix="tallyframe-") as folder:
        path = Path(folder) / "video.mp4"
        with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as film:
            stream = film.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_ENCODER)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_count = 1  # x264 notes it in the file, so the bytes would depend on the machine
            stream.codec_context.color_range = ColorRange.MPEG
            stream.codec_context.colorspace = Colorspace.ITU709
            stream.codec_context.color_primaries = ColorPrimaries.BT709
            stream.codec_context.color_trc = ColorTrc.BT709
            for frame in frames:
                film.mux(stream.encode(frame))
            film.mux(stream.encode())
        return path.read_bytes()
