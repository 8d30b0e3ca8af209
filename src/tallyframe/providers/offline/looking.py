"""What can truly be said of a picture without a model: size, shape, main colour, and whether it is light or dark."""

from dataclasses import dataclass
from itertools import chain

from PIL import Image, ImageStat

from tallyframe.imaging.formats import MAX_SIDE
from tallyframe.providers.base import Media
from tallyframe.providers.fitting import small_on_white

_ENOUGH = (64, 64)  # pixels to find a main colour by
_SQUARE = 1.05  # up to this ratio of its sides

#: What people call it -> red, green and blue.
_COLOURS = (
    *(("black", 0x101010), ("grey", 0x808080), ("white", 0xF5F5F5), ("red", 0xE01515), ("red", 0x901818)),
    *(("orange", 0xF08020), ("brown", 0x704020), ("brown", 0xA07050), ("yellow", 0xF0E020), ("beige", 0xD8C8A8)),
    *(("green", 0x10E010), ("green", 0x207030), ("green", 0x80A060), ("teal", 0x108080), ("turquoise", 0x40D0D0)),
    *(("blue", 0x1515E0), ("blue", 0x183070), ("blue", 0x70A0E0), ("purple", 0x802090), ("pink", 0xF090B0)),
    ("pink", 0xF010F0),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture that was looked at. Width and height in pixels, upright."""

    width: int
    height: int
    shape: str  # portrait, landscape or square
    colour: str
    tone: str  # light or dark

    @property
    def words(self) -> tuple[str, str, str]:
        """Each fact that is one word."""
        return self.colour, self.shape, self.tone

    def __str__(self) -> str:
        return f"{self.tone} {self.shape}, {self.width} x {self.height} pixels, mostly {self.colour}"


def look_at(media: Media) -> Seen:
    """Decode a picture and tell what it is like. Takes CPU time: call it in a thread.

    Raises ProviderError (invalid_input) if it can't be decoded.
    """
    picture = small_on_white(media.data, MAX_SIDE)
    width, height = picture.size
    picture.thumbnail(_ENOUGH, Image.Resampling.BOX)
    shape = "landscape" if width > height else "portrait"
    if 1 / _SQUARE <= width / height <= _SQUARE:
        shape = "square"
    tone = "light" if ImageStat.Stat(picture.convert("L")).mean[0] >= 128 else "dark"  # noqa: PLR2004 - the middle
    return Seen(width, height, shape, _main_colour(picture), tone)


def _main_colour(picture: Image.Image) -> str:
    palette = Image.new("P", (1, 1))
    palette.putpalette(list(chain.from_iterable(value.to_bytes(3) for _, value in _COLOURS)))
    counts = dict.fromkeys((name for name, _ in _COLOURS), 0)
    for (name, _), count in zip(
        _COLOURS, picture.quantize(palette=palette, dither=Image.Dither.NONE).histogram(), strict=False
    ):
        counts[name] += count
    return max(counts, key=lambda name: counts[name])
