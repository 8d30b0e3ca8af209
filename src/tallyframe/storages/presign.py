"""Signs addresses that anybody can read for a limited time: AWS Signature Version 4 in the query string.

The algorithm: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

LONGEST = 7 * 24 * 3600  # seconds; no service signs for longer
_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_NAME = re.compile(r"[\x00-\x1f\x7f/\\]")  # control characters and separators of folders
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Signer:
    """The credentials that addresses are signed with. `region` is "auto" for Cloudflare R2."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str

    def sign_get(self, url: str, *, signed_at: datetime, lifetime: int, query: Mapping[str, str] | None = None) -> str:
        """Return `url` (absolute, path quoted, without a query) with `query` and a signature for GET added.

        It works from `signed_at` for `lifetime` seconds, 1 to 604,800 (7 days). No I/O.
        """
        at = signed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{at[:8]}/{self.region}/s3/aws4_request"
        parameters = {
            **(query or {}),
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": at,
            "X-Amz-Expires": str(lifetime),
            "X-Amz-SignedHeaders": "host",
        }
        pairs = sorted((_quoted(name), _quoted(value)) for name, value in parameters.items())
        canonical_query = "&".join(f"{name}={value}" for name, value in pairs)
        parts = urlsplit(url)
        host = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])  # browsers leave the default port out
        request = f"GET\n{parts.path}\n{canonical_query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        to_sign = f"{_ALGORITHM}\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = b"AWS4" + self.secret_access_key.encode()
        for part in (*scope.split("/"), to_sign):  # each step's result is the next one's key
            signature = hmac.digest(signature, part.encode(), "sha256")
        return f"{url}?{canonical_query}&X-Amz-Signature={signature.hex()}"


def window(now: float, lifetime: int) -> datetime:
    """Round `now` (seconds since 1970) down to half of `lifetime` (seconds, at least 2).

    Addresses signed at this moment are equal for half of their life, so that a browser can cache what it has read, and
    they work for the other half at least.
    """
    half = lifetime // 2
    return datetime.fromtimestamp(now // half * half, tz=UTC)


def attachment(name: str) -> str:
    """Return the Content-Disposition of a download under `name`, which may hold anything (RFC 6266, appendix D)."""
    name = _NO_NAME.sub("_", name)
    return f"attachment; filename=\"{_NOT_PLAIN.sub('_', name)}\"; filename*=UTF-8''{_quoted(name)}"


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
