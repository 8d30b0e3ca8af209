import datetime as dt
import logging
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tallyframe.assets import fetch
from tallyframe.assets.fetch import fetch_picture
from tallyframe.errors import ValidationFailed
from tallyframe.tls import client_context
from tests.support.fetching import NOT_FETCHED, PICTURE, sends, stub, to_stub


def certificate(folder: Path, name: str) -> Path:
    """Write a key and a certificate for `name`, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "both.pem"
    file.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


async def test_tls_asks_for_the_name_and_checks_it_although_the_address_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path, "pictures.example")
    server, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    server.load_cert_chain(pem)
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=pem)
    monkeypatch.setattr(fetch, "client_context", lambda **_: trusting)
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)  # the stub's side of a failed handshake
    async with stub(sends("200 OK", PICTURE), server) as port:

        async def secure(host: str) -> bytes:
            url = f"https://{host}:{port}/"
            return await fetch_picture(url, max_bytes=10**6, deadline=5, resolve=to_stub, ports=(port,))

        assert await secure("pictures.example") == PICTURE
        with pytest.raises(ValidationFailed) as caught:
            await secure("other.example")
    assert caught.value.detail == f"{NOT_FETCHED}."
    assert names == ["pictures.example", "other.example"]


def test_the_default_tls_context_checks_certificates() -> None:
    context = client_context(trust_env=False)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
