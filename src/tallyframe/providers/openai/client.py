"""The one way to OpenAI: its client over a transport that keeps the key at home and answers in bounds.

What the SDK would take from the environment is passed explicitly or left out: OPENAI_API_KEY, OPENAI_ADMIN_KEY,
OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_WEBHOOK_SECRET, OPENAI_BASE_URL, OPENAI_CUSTOM_HEADERS, OPENAI_LOG and proxies.
Only the certificate authorities (SSL_CERT_FILE, SSL_CERT_DIR) come from there. Facts: source of openai 3.57.0.
"""

import logging
import re
from dataclasses import dataclass, field

import httpx2
from openai import AsyncOpenAI, Omit, __version__

from tallyframe.providers.transport import GuardedTransport, check_address

OPENAI = "https://api.openai.com/v1"
#: Bytes of an answer, at most. The longest have 128,000 tokens: some 0.6 MB of text, of which JSON may escape all.
MOST_BYTES = 8 * 2**20

_VERSION = re.compile(r"v\d\w*")


@dataclass(frozen=True, slots=True)
class OpenAIAccess:
    """How to reach OpenAI. `base_url` is the address of its API, with or without the version; None is OpenAI's own."""

    api_key: str = field(repr=False)
    base_url: str | None = None
    timeout: float = 120.0  # seconds, for a whole call
    max_bytes: int = MOST_BYTES  # of one response; never more than MOST_BYTES


class _Client(AsyncOpenAI):
    """The SDK's client, which sends no header that the environment asks for: organization, project, custom ones."""

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        """Return the headers of every request, but for the key."""
        agent = f"AsyncOpenAI/Python {__version__}"
        return {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": agent}


def make_client(access: OpenAIAccess) -> AsyncOpenAI:
    """Return a client that sends each request once; used in one event loop, closed with `close`.

    Raises ValueError if the access can't work whatever OpenAI says.
    """
    if access.timeout <= 0 or access.max_bytes <= 0:
        raise ValueError("The timeout and the limit on bytes must be above zero.")
    if not access.api_key.isascii() or not access.api_key.isprintable() or not access.api_key.strip():
        raise ValueError("OpenAI takes an API key of printable ASCII characters.")
    check_address(access.base_url or OPENAI, "OpenAI")
    base_url = versioned(access.base_url or OPENAI)
    transport = GuardedTransport(base_url, max_bytes=min(access.max_bytes, MOST_BYTES), timeout=access.timeout)
    client = _Client(
        api_key=access.api_key,
        admin_api_key="",
        organization="",
        project="",
        webhook_secret="",
        base_url=base_url,
        timeout=access.timeout,
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False),
    )
    logging.getLogger("openai").setLevel(logging.WARNING)  # OPENAI_LOG may have set another
    return client


def versioned(base_url: str) -> str:
    """Return the address with `/v1` behind it, unless a part of its path is a version already, such as `v1beta`."""
    url = httpx2.URL(base_url)
    if any(_VERSION.fullmatch(part) for part in url.path.split("/")):
        return base_url
    return f"{base_url.rstrip('/')}/v1"
