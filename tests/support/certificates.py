"""Certificates of a server for tests, made here: the server's own, its authority's, and another authority's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    certificate: Path
    key: Path
    authority: Path
    other_authority: Path


def certificates(folder: Path, name: str, address: str) -> Certificates:
    """Make them as files of the folder, for a server of that name and IP address."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(name), x509.IPAddress(ip_address(address))]
    ours, ours_key = _authority("ours")
    other, _ = _authority("other")
    own = _begun(name, ours.subject, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    contents = {
        "server.crt": own.sign(ours_key, hashes.SHA256()).public_bytes(pem),
        "server.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
        "ours.pem": ours.public_bytes(pem),
        "other.pem": other.public_bytes(pem),
    }
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return Certificates(*(folder / file for file in contents))


def _authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begun = _begun(name, subject, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return begun.sign(key, hashes.SHA256()), key


def _begun(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
