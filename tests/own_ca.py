"""A CA and a device's certificate in the in-memory vault, for tests of what the CA issues."""

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from shared.certificate import Certificate, parse_certificate
from shared.issuing import IssuerKey
from shared.tags import CA_TAG
from tests.certificates import NOW
from tests.fakes import Kept, World

ROOT, ISSUING, LEAF = "root", "issuing-ca", "dev-01-cert"
_RSA = rsa.generate_private_key(65537, 2048)
"""One RSA key for all tests: making one takes a while."""


def p256() -> IssuerKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_2048() -> IssuerKey:
    return _RSA


def made(
    name: str,
    key: IssuerKey,
    *,
    by: tuple[Certificate, IssuerKey] | None = None,
    ca: bool = True,
    length: int | None = None,
    usage: bool | None = None,
    starts: datetime = NOW - timedelta(days=300),
    ends: datetime = NOW + timedelta(days=3000),
) -> Certificate:
    """A certificate; ``usage`` says whether it may sign certificates, None leaves the extension out."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = x509.load_der_x509_certificate(by[0].der).subject if by else subject
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), starts, ends
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=length), critical=True)
    if usage is not None:
        flags = [True, False, False, False, False, usage, usage, False, False]
        builder = builder.add_extension(x509.KeyUsage(*flags), critical=True)
    signed = builder.sign(by[1] if by else key, hashes.SHA256())
    return parse_certificate(signed.public_bytes(Encoding.DER))


def keep(
    world: World, name: str, certificate: Certificate, key: IssuerKey, *, ca: str = "", new: Callable[[], IssuerKey]
) -> None:
    """Put it into the vault, with issuer Unknown, and the CA that its tag names."""
    world.vault.kept[name] = Kept(
        [certificate],
        tags={CA_TAG: ca} if ca else {},
        keys={certificate.sha256_thumbprint: key},
        asks_for_signature=new,
    )


def set_up(world: World, make_key: Callable[[], IssuerKey] = p256) -> Certificate:
    """A root, an issuing CA, and a leaf of ``dev-01`` that ends in 30 days; the leaf."""
    root_key, ca_key, leaf_key = make_key(), make_key(), p256()
    root = made("Fleet Root", root_key)
    issuing = made("Fleet Issuing CA", ca_key, by=(root, root_key), length=0, ends=NOW + timedelta(days=900))
    leaf = made("dev-01", leaf_key, by=(issuing, ca_key), ca=False, ends=NOW + timedelta(days=30))
    keep(world, ROOT, root, root_key, new=make_key)
    keep(world, ISSUING, issuing, ca_key, ca=ROOT, new=p256)
    keep(world, LEAF, leaf, leaf_key, ca=ISSUING, new=p256)
    return leaf
