"""What is offered: is there a provider for an order's shape and length? What is left open is chosen here. Pure."""

from collections.abc import Iterable, Sequence

from tallyframe.errors import ValidationFailed
from tallyframe.providers.base import Offer

#: What an order gets that names none, as far as it is offered.
FAVOURITE_RATIOS = ("1:1", "9:16", "16:9")
FAVOURITE_SECONDS = 6


def choose_ratio(offers: Sequence[Offer], asked: str | None) -> str:
    """Return the aspect ratio asked for, or the first favourite that is offered.

    Raises ValidationFailed where no provider makes what was asked for.
    """
    if asked:
        check_shape(offers, asked)
        return asked
    offered = _ratios(offers)
    return next(ratio for ratio in (*FAVOURITE_RATIOS, *offered) if ratio in offered)


def choose_seconds(offers: Sequence[Offer], ratio: str, asked: int | None, longest: int) -> int:
    """Return the length asked for, or the offered one that is nearest below the favourite and `longest`."""
    offered = _seconds(offers, ratio, longest) or [FAVOURITE_SECONDS]
    usual = [seconds for seconds in offered if seconds <= FAVOURITE_SECONDS]
    return asked or (max(usual) if usual else min(offered))


def check_shape(offers: Sequence[Offer], ratio: str) -> None:
    """Raise ValidationFailed unless some provider makes this aspect ratio."""
    if not any(ratio in offer.aspect_ratios for offer in offers):
        ratios = _listed(_ratios(offers))
        raise ValidationFailed(f"The aspect ratio {ratio} is not offered here: {ratios}.", pointer="/aspect_ratio")


def check_video(offers: Sequence[Offer], ratio: str, seconds: int, longest: int) -> None:
    """Raise ValidationFailed unless some provider makes a video of this aspect ratio and length."""
    check_shape(offers, ratio)
    if seconds > longest or not any(ratio in offer.aspect_ratios and seconds in offer.seconds for offer in offers):
        lengths = _seconds(offers, ratio, longest)
        said = f"can't be made in {longest} seconds or less"
        if lengths:
            is_range = len(lengths) > 1 and lengths == list(range(lengths[0], lengths[-1] + 1))
            words = f"{lengths[0]} to {lengths[-1]}" if is_range else _listed(map(str, lengths))
            said = f"lasts {words} seconds"
        raise ValidationFailed(f"A video of {ratio} {said} here.", pointer="/duration_seconds")


def _ratios(offers: Sequence[Offer]) -> list[str]:
    return list(dict.fromkeys(ratio for offer in offers for ratio in offer.aspect_ratios))


def _seconds(offers: Sequence[Offer], ratio: str, longest: int) -> list[int]:
    able = (offer for offer in offers if ratio in offer.aspect_ratios)
    return sorted({seconds for offer in able for seconds in offer.seconds if seconds <= longest})


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
