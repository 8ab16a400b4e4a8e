"""Certificates made for a test: real X.509, small keys, any dates."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""The time at which tests play unless they move the clock."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Made:
    """A certificate with its private key."""

    der: bytes
    key: PrivateKey

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The private key in PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def a_certificate(
    common_name: str | None = "dev-01",
    *,
    starts: datetime = NOW - timedelta(days=335),
    ends: datetime = NOW + timedelta(days=30),
    key: PrivateKey | None = None,
    ca: bool | None = False,
    server_only: bool = False,
) -> Made:
    """A self-signed certificate; ``ca`` None leaves the basic constraints out."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    name = x509.Name(attributes)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), starts, ends)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if server_only:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(usage, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(key, algorithm).public_bytes(Encoding.DER), key)


@cache
def generation(number: int, common_name: str = "dev-01") -> Made:
    """The certificate of one year of a device's life: generation 0 ends in 30 days, 1 a year later, and so on.

    Each comes 40 days before the last one's end.
    """
    end = NOW + timedelta(days=30)
    starts = end - timedelta(days=365) if number == 0 else end + timedelta(days=365 * (number - 1) - 40)
    return a_certificate(common_name, starts=starts, ends=end + timedelta(days=365 * number))


def a_ca(
    common_name: str = "Factory CA",
    issuer: Made | None = None,
    *,
    starts: datetime = NOW - timedelta(days=335),
    ends: datetime = NOW + timedelta(days=30),
    key: PrivateKey | None = None,
    ca: bool | None = True,
    path_length: int | None = None,
    signs: bool | None = None,
) -> Made:
    """A CA certificate, by ``issuer`` or self-signed; ``signs`` None leaves the key usage out, ``ca`` None the basic
    constraints."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    issuer_name = x509.load_der_x509_certificate(issuer.der).subject if issuer else name
    builder = x509.CertificateBuilder(issuer_name, name, key.public_key(), x509.random_serial_number(), starts, ends)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), True)
    if signs is not None:
        others = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=signs, crl_sign=signs, decipher_only=False, **others
        )
        builder = builder.add_extension(usage, critical=True)
    signer = issuer.key if issuer else key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(signer, algorithm).public_bytes(Encoding.DER), key)
