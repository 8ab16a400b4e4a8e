"""Certificates for the device tests: made on the spot, EC P-256, self-signed unless a signer is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import NameOID

from device.credential import Credential


class Issued(NamedTuple):
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def pem(self) -> bytes:
        return self.key_pem + self.certificate_pem + b"".join(c.public_bytes(Encoding.PEM) for c in self.chain)

    @property
    def pfx(self) -> bytes:
        return pkcs12.serialize_key_and_certificates(None, self.key, self.certificate, self.chain, NoEncryption())

    @property
    def credential(self) -> Credential:
        return Credential.from_pem(self.pem)


def issue(
    common_name: str = "dev1",
    *,
    age: timedelta = timedelta(hours=1),
    life: timedelta = timedelta(days=90),
    now: datetime | None = None,
    signer: Issued | None = None,
    ca: bool = False,
) -> Issued:
    """Make a certificate that became valid ``age`` ago and is valid for ``life``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    begin = (now or datetime.now(UTC)) - age
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + life)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer.key if signer else key, hashes.SHA256())
    )
    return Issued(key, certificate, (signer.certificate, *signer.chain) if signer else ())
