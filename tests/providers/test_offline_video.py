"""The videos of the offline provider, decoded for real."""

import itertools
from io import BytesIO

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, Media, Provider, Ticket, VideoTask
from tallyframe.providers.offline import OfflineProvider
from tests.support.tasks import Given

FIRST = Call("gen-1-try-1", 1)
COLOURS = ("red", "lime", "blue", "yellow")


def quarters(size: tuple[int, int] = (400, 400)) -> Media:
    """A PNG with another colour in each quarter."""
    picture, (half, middle) = Image.new("RGB", size), (size[0] // 2, size[1] // 2)
    for number, colour in enumerate(COLOURS):
        left, top = number % 2 * half, number // 2 * middle
        picture.paste(colour, (left, top, left + half, top + middle))
    out = BytesIO()
    picture.save(out, "PNG")
    return Media(out.getvalue(), "image/png", *size)


def order(prompt: str, aspect_ratio: str, seconds: int, first_frame: Media | None = None) -> VideoTask:
    return VideoTask(prompt, aspect_ratio, seconds, (Given(first_frame),) if first_frame else ())


async def film(task: VideoTask) -> Media:
    """Order with one provider and collect with another, as after a restart."""
    asked: Provider = OfflineProvider()
    ticket = await asked.start(task, FIRST)
    assert isinstance(ticket, Ticket)
    assert ticket.poll_after == 0.2
    restarted: Provider = OfflineProvider()
    made = await restarted.collect(ticket.value, task, Call("gen-1-try-2", 2))
    assert isinstance(made, Media)
    return made


def frames(media: Media) -> list[Image.Image]:
    with av.open(BytesIO(media.data), "r") as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def difference(one: Image.Image, two: Image.Image) -> float:
    """The mean difference of two pictures' channels, from 0 to 255."""
    dependencies = ImageStat.Stat(ImageChops.difference(one, two)).mean
    return sum(dependencies) / len(dependencies)


@pytest.mark.parametrize(
    ("aspect_ratio", "size"),
    [
        *(("9:16", (720, 1280)), ("16:9", (1280, 720)), ("1:1", (720, 720))),
        *(("4:5", (720, 900)), ("3:4", (720, 960))),
    ],
)
async def test_mp4_of_the_asked_ratio_and_length(aspect_ratio: str, size: tuple[int, int]) -> None:
    media = await film(order("A cup", aspect_ratio, 1))
    assert (media.content_type, media.width, media.height, media.duration_seconds) == ("video/mp4", *size, 1.0)
    with av.open(BytesIO(media.data), "r") as container:
        stream = container.streams.video[0]
        assert "mp4" in container.format.name
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, float(stream.average_rate or 0)) == (*size, 24.0)
        assert container.duration == av.time_base
        assert len(list(container.decode(stream))) == 24


async def test_length_is_exact() -> None:
    media = await film(order("A cup", "1:1", 3, quarters()))
    with av.open(BytesIO(media.data), "r") as container:
        assert container.duration == 3 * av.time_base
        assert container.streams.video[0].frames == 72
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([number / 24 for number in range(72)])


async def test_the_index_comes_first_so_that_browsers_start_at_once() -> None:
    data = (await film(order("A cup", "1:1", 1))).data
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("first_frame", [None, quarters()])
async def test_frames_move(first_frame: Media | None) -> None:
    shown = frames(await film(order("A cup", "16:9", 1, first_frame)))
    assert difference(shown[0], shown[-1]) > 2
    assert all(difference(one, two) > 0.02 for one, two in itertools.pairwise(shown))


async def test_the_first_frame_is_the_picture_given_with_a_label() -> None:
    given = quarters((720, 720))
    first = frames(await film(order("A cup", "1:1", 1, given)))[0]
    below = (0, 100, 720, 720)
    assert difference(first.crop(below), Image.open(BytesIO(given.data)).crop(below)) < 4
    dark = first.crop((60, 40, 240, 64)).convert("L").point(lambda value: 255 if value < 45 else 0)
    assert ImageStat.Stat(dark).mean[0] > 100


@pytest.mark.parametrize("size", [(2000, 100), (100, 2000), (1, 1), (333, 777)])
async def test_a_first_frame_of_any_shape_fills_the_video(size: tuple[int, int]) -> None:
    shown = frames(await film(order("A cup", "9:16", 1, quarters(size))))
    assert all(picture.size == (720, 1280) for picture in shown)


@pytest.mark.parametrize("first_frame", [None, quarters()])
async def test_same_order_same_bytes(first_frame: Media | None) -> None:
    task = order("A cup", "1:1", 1, first_frame)
    assert await film(task) == await film(task)


@pytest.mark.parametrize("task", [order("A", "2:1", 1), order("A", "1:1", 0), order("A", "1:1", 61)])
async def test_unusable_orders_are_invalid_input_at_once(task: VideoTask) -> None:
    with pytest.raises(ProviderError) as error:
        await OfflineProvider().start(task, FIRST)
    assert (error.value.code, error.value.retryable) == (FailureCode.INVALID_INPUT, False)


async def test_an_unreadable_first_frame_is_invalid_input() -> None:
    with pytest.raises(ProviderError) as error:
        await film(order("A cup", "1:1", 1, Media(b"no picture", "image/png", 1, 1)))
    assert error.value.code == FailureCode.INVALID_INPUT
