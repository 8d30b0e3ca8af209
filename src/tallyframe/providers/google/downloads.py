"""Fetching a finished video from Google's Files API, where it stays for about two days.

A result names its file by an address, with or without `?alt=media`. Whatever host that is, the SDK asks the configured
one, so the key goes nowhere else; here an address that isn't of the Files API at all ends the matter before.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from google.genai import errors, types

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Media
from tallyframe.providers.failures import words
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.failures import asking_failed
from tallyframe.providers.received import received_video

#: Where results are said to be, also if `base_url` is a proxy in front of it.
_GOOGLE = ("https", "generativelanguage.googleapis.com")
_FILE = re.compile(
    r"(?:(?:.*/)?(?P<version>v\d\w{0,15})/|(?:.*/)?)files/(?P<id>[A-Za-z0-9][\w-]{0,127})(?::download)?", re.ASCII
)
_GONE = "may not exist"  # with 403: a file that has been removed looks like one of somebody else


async def fetch_video(google: Google, address: str, *, hide: Iterable[str] = ()) -> Media:
    """Download a result and look at it.

    `address` is "https://…/files/<id>…" or "files/<id>". Raises ProviderError: retryable when asking failed or what
    came isn't an MP4; spent when there is no such file, it is too large, or the address is none of the Files API.
    """
    hidden = [google.access.api_key, *hide]
    name, version = _file(google, address, hidden)
    try:
        async with google.deadline():
            await google.ready()
            options = types.HttpOptions(api_version=version or google.api_version)
            data = await google.client.aio.files.download(
                file=name, config=types.DownloadFileConfig(http_options=options)
            )
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
        if isinstance(error, errors.APIError) and error.code == HTTPStatus.FORBIDDEN and _GONE in str(error.message):
            said = words(f"HTTP {error.code}:", error.message, hide=hidden)
            raise ProviderError(FailureCode.PROVIDER_REJECTED, spent=True, operator_message=said) from None
        raise asking_failed(error, hide=hidden) from None
    try:
        return await received_video(data)
    except ProviderError as error:  # it is paid, and what came may be a proxy's word: ask again, and not elsewhere
        raise ProviderError(error.code, retryable=True, operator_message=error.operator_message) from None


async def unpack_video(data: str) -> Media:
    """Look at a result that came inside an answer, in standard base64. Raises ProviderError (spent) if it is none."""
    try:
        film = await asyncio.to_thread(base64.b64decode, data, validate=True)
    except (binascii.Error, ValueError):
        said = "The video is no base64."
        raise ProviderError(FailureCode.PROVIDER_REJECTED, spent=True, operator_message=said) from None
    return await inline_video(film)


async def inline_video(film: bytes) -> Media:
    """Look at a result that came inside an answer: it is paid, and asking again would bring the same.

    Raises ProviderError (spent) if it is no video.
    """
    try:
        return await received_video(film)
    except ProviderError as error:
        raise ProviderError(error.code, spent=True, operator_message=error.operator_message) from None


def _file(google: Google, address: str, hide: Iterable[str]) -> tuple[str, str | None]:
    """Return the file's name as "files/<id>", and the API version that its address names."""
    base = urlsplit(google.base_url)
    try:
        scheme, host, path, *_ = urlsplit(address)
    except ValueError:  # no address at all
        scheme, host, path = "?", "", ""
    ours = (scheme, host) in {("", ""), _GOOGLE, (base.scheme, base.netloc)}
    match = _FILE.fullmatch(path)
    if google.access.vertex or not ours or not match:
        advice = "Unset the bucket for results." if scheme == "gs" else ""
        said = words(advice, "The video is not in the Files API but at", address, hide=hide)
        raise ProviderError(FailureCode.PROVIDER_REJECTED, spent=True, operator_message=said)
    return f"files/{match['id']}", match["version"]
