"""The client of an S3-compatible service: its settings, and its errors in words for an operator."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import S3Store

from tallyframe.storages.presign import Signer

if TYPE_CHECKING:
    from obstore.store import S3Credential  # exists for type checkers only

_RETRIES = 2  # of one request, after a 429, a 5xx or a broken connection
_FIRST_PAUSE = timedelta(seconds=0.1)  # before a retry, more or less; the second is twice as long

_HINTS = {
    "AccessDenied": "the access key may not do this in this bucket",
    "InvalidAccessKeyId": "the access key id is unknown there",
    "NoSuchBucket": "there is no such bucket",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "SignatureDoesNotMatch": "the secret access key is wrong",
}


def web_address(text: str, what: str) -> str:
    """Return the address without a slash at its end. ValueError, which does not quote it, if it is malformed."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or "@" in text:
        raise ValueError(f"{what} has to be like https://host/path, without a user, a query or a fragment.")
    return text.rstrip("/")


def make_client(bucket: str, endpoint: str, signer: Signer, timeout: float) -> S3Store:
    """Return the client. It gets all that it would otherwise take from AWS_* variables, as far as obstore allows."""

    def credential() -> "S3Credential":
        return {
            "access_key_id": signer.access_key_id,
            "secret_access_key": signer.secret_access_key,
            "token": None,
            "expires_at": None,
        }

    return S3Store(
        bucket,
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=signer.region,
        credential_provider=credential,
        virtual_hosted_style_request=False,
        disable_bulk_delete=True,  # the bulk call sends checksum headers, which not every service takes
        skip_signature=False,
        unsigned_payload=False,
        request_payer=False,
        s3_express=False,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "timeout": timedelta(seconds=timeout + 1),  # of one request; the call's own deadline comes first
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=timeout),
            "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": 10 * _FIRST_PAUSE, "base": 2},
        },
    )


def error_code(error: Exception) -> str:
    """Return the service's code of the error, such as "NoSuchBucket"; "" if it has none."""
    found = re.search(r"<Code>(\w{1,60})</Code>", str(error))
    return found[1] if found else ""


def reason(error: Exception) -> str:
    """Say why a call failed, by those few parts of the client's text that are safe to show and mean something."""
    text = str(error)
    if status := re.search(r"status code: (\d{3})", text):
        code = error_code(error)
        hint = f" ({_HINTS[code]})" if code in _HINTS else ""
        return f"the service answers {status[1]} {code}".rstrip() + hint
    kind = re.search(r"\bkind: (\w+)", text)
    kinds = {"Connect": "the endpoint can't be reached", "Timeout": "the endpoint does not answer in time"}
    return kinds.get(kind[1] if kind else "", "the connection broke, or the answer makes no sense")
