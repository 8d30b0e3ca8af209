"""The certificate authorities that our httpx clients trust."""

import ssl
from functools import cache

import httpx


@cache
def client_context(*, trust_env: bool) -> ssl.SSLContext:
    """Return a TLS context that checks certificates and host names against certifi's authorities.

    With `trust_env`, SSL_CERT_FILE or SSL_CERT_DIR replaces these. Reading them takes tens of milliseconds, so it is
    done once per process.
    """
    return httpx.create_ssl_context(trust_env=trust_env)
