"""Whether a JPEG has all scans, and the last of them all its data.

A decoder tells of neither: it shows grey for what is missing, and counts warnings that Pillow does not pass on.
"""

from io import BytesIO

from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

#: Kinds of frames (ITU-T T.81, table B.1): those whose coefficients come in several scans, and those that are
#: arithmetic coded.
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset(range(0xC9, 0xD0)) - {0xCC}

#: Pixels of a picture that is always decoded twice, which shows a single missing bit. Of larger ones with an end, it
#: would show too little for its time: they are decoded once, and up to `_AHEAD` missing bytes can be overlooked.
_TWICE = 5_000_000
#: Bytes that a Huffman decoder reads ahead: libjpeg fills a register of 64 bits.
_AHEAD = 8

#: Bytes of zeros that may well be the end of the data, or follow it.
_FEW = 16

_END = b"\xff\xd9"
_RST0, _RESTARTS = 0xD0, b"\xff\xdd"
#: Data that a decoder shows if it still asks for some: other bits than the zeros that it takes for missing ones, from
#: the first on, and none that no table has a code for.
_FILLER = b"\xb5" + bytes(37 * index * index % 127 for index in range(1, 4_096))
#: An arithmetic coder leaves zeros out at the end (T.81, D.1.8), so that these may be missing.
_OMITTED = bytes(8)


class Coded:
    """A JPEG as its decoder has to get it: `header` is all in front of the scans, `scans` all up to the last one's end.

    `kind` is the marker of the frame, `start` where in `scans` the data of the last one starts, and `ended` tells if
    the file had an end behind it.
    """

    def __init__(self, header: bytes, scans: bytes, kind: int, start: int, *, ended: bool) -> None:
        self._header, self._scans, self._kind, self._start, self._ended = header, scans, kind, start, ended

    def opened(self) -> JpegImageFile:
        """Return the picture, its pixels not decoded yet. Raises whatever Pillow raises."""
        return self._with(self._scans, _END)

    def decoded(self) -> Image.Image:
        """Return the decoded picture. Raises ValueError if data is missing, and whatever Pillow raises.

        It is whole if what follows its data makes no difference to its pixels.
        """
        image, zeros = self.opened(), self._scans.endswith(bytes(_FEW), self._start)
        if self._ended and image.width * image.height > _TWICE and not zeros:
            watched = self._watched()
            if watched is not None:
                return watched
        image.load()
        if self._change(image, self._scans).getbbox():
            raise ValueError("the data of the last scan is cut")
        if zeros and self._has_zeros_for_data(image):
            raise ValueError("zeros are in the place of the scan's data")
        return image

    def _has_zeros_for_data(self, image: JpegImageFile) -> bool:
        """Say whether more than a few zeros at the end show something, and more than a few follow that.

        Behind a whole picture they show nothing, except for an area of one colour: that may be coded as zeros.
        """
        by_parts = self._kind not in _PROGRESSIVE and self._scans[4] < len(image.layer)  # those that miss tell of a cut
        if by_parts or self._change(image, self._scans[:-_FEW]).getbbox():
            return False
        bare = self._scans[: self._start] + self._scans[self._start :].rstrip(b"\0") + bytes(_FEW)
        change = self._change(image, bare)
        box, (width, height) = change.getbbox(), image.size
        if box is None:
            return False
        row = 8 * max(layer[2] for layer in image.layer)  # pixels that are coded before those below them
        top, below = box[1] // row * row, min(box[1] // row * row + row, height)
        left = (change.crop((0, top, width, below)).getbbox() or box)[0]
        boxes = ((left + 2, top + 2, width, below), (0, below + 2, width, height))  # colours reach a pixel further
        return any(image.crop(box).getcolors(1) is None for box in boxes if box[0] < box[2] and box[1] < box[3])

    def _change(self, image: Image.Image, scans: bytes) -> Image.Image:
        """Return how pixels would differ from `image` if other data followed these scans."""
        other = self._with(scans, self._filler(scans))
        other.load()
        return ImageChops.difference(image, other)

    def _filler(self, scans: bytes) -> bytes:
        """Return data, and a restart with such data for each that may come next."""
        last = max(range(8), key=lambda turn: scans.rfind(bytes([0xFF, _RST0 + turn])))
        next_one = last + 1 if bytes([0xFF, _RST0 + last]) in scans else 0
        filler = (_OMITTED if self._kind in _ARITHMETIC else b"") + _FILLER
        restarts = (bytes([0xFF, _RST0 + (next_one + turn) % 8]) + filler for turn in range(8))
        stuffed = b"\0" if scans.endswith(b"\xff") else b""  # else it would start a marker
        return b"".join([stuffed, filler, *restarts, _END])

    def _watched(self) -> Image.Image | None:
        """Decode as `opened`, but give the end only when the decoder has all pixels; None if it asks for more data.

        Pillow's decoder stops by itself behind the last row, if there is one scan. If there are several, libjpeg passes
        over each byte between the last one and the end at once; within a scan, it waits until it can fill its register.
        In front of a restart it passes over bytes as well: so those that have restarts are none of these.
        """
        file = self._header + self._scans
        image = self._with(self._scans, b"")
        image.load_prepare()
        ((name, box, _, arguments),) = image.tile
        decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)  # noqa: SLF001  # as `load` does it
        try:
            decoder.setimage(image.im, box)
            rest, pieces = b"", [file, bytes(_AHEAD), b"\0", b"\0", b"\0", _END]
            for number, piece in enumerate(pieces):
                taken, status = decoder.decode(rest + piece)
                rest = (rest + piece)[taken:]
                if taken < 0 or (rest and number > 1):
                    break
        finally:
            decoder.cleanup()
        image.tile, image.readonly = [], 0
        passed_over = number == len(pieces) - 1 and _RESTARTS not in file
        return image if taken < 0 and status == 0 and (number <= 1 or passed_over) else None

    def _with(self, scans: bytes, end: bytes) -> JpegImageFile:
        return JpegImageFile(BytesIO(b"".join([self._header, scans, end])))


def has_all_scans(kind: int, frame: bytes, scans: list[bytes]) -> bool:
    """Say whether the scans have all components, a progressive picture's also all bits of all coefficients.

    `kind` is the marker of the frame, `frame` what follows its length, and `scans` the same of each scan (ITU-T T.81,
    B.2.2 and B.2.3).
    """
    at_once = kind not in _PROGRESSIVE
    wanted = {(part, at) for part in frame[6 : 6 + 3 * frame[5] : 3] for at in range(1 if at_once else 64)}
    for scan in scans:
        count = scan[0]
        first, last, bits = (0, 0, 0) if at_once else scan[1 + 2 * count : 4 + 2 * count]
        if bits & 15 == 0:  # the lowest bit comes in this scan
            wanted -= {(part, at) for part in scan[1 : 1 + 2 * count : 2] for at in range(first, last + 1)}
    return not wanted
