"""The PKI of a fleet's owner: roots, intermediates, and what they sign. Keys live in memory; randomness aside, pure.

EC P-256 throughout. Extensions are those of RFC 5280, section 4.2, that a CA and a client certificate must have.
"""

from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

type PublicKey = ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class Validity:
    """Aware, UTC, both inclusive."""

    begins: datetime
    ends: datetime

    def within(self, other: "Validity") -> "Validity":
        """As much of it as lies in the other."""
        return Validity(max(self.begins, other.begins), min(self.ends, other.ends))


@dataclass(frozen=True)
class CertificateAuthority:
    """A CA with its key. `above` are the certificates over it, the root last; a root has none."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    above: tuple[x509.Certificate, ...] = ()

    @property
    def common_name(self) -> str:
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def sha256(self) -> str:
        """Thumbprint, upper-case hex."""
        return thumbprint(self.certificate)

    @property
    def sha1(self) -> str:
        """The same by SHA-1, which is all that ARM shows of a CA certificate."""
        return self.certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303  nothing is secured by it

    @property
    def validity(self) -> Validity:
        return Validity(self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc)

    @property
    def pfx(self) -> bytes:
        """Key, certificate and what is above it, PKCS #12 without a password: what a vault imports."""
        name = self.common_name.encode()
        return serialize_key_and_certificates(name, self.key, self.certificate, self.above, NoEncryption())

    def subordinate(self, common_name: str, validity: Validity) -> "CertificateAuthority":
        """An intermediate CA with a key of its own, below this one."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(_named(common_name), key.public_key(), validity, ca=True)
        return CertificateAuthority(certificate, key, (self.certificate, *self.above))

    def sign(self, request: x509.CertificateSigningRequest, validity: Validity) -> bytes:
        """A client certificate for who made the request: PEM, leaf first, then every CA but the root.

        ValueError when the request was not signed with its own key, or asks for no EC key.
        """
        key = request.public_key()
        if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("the request does not prove that its sender holds an EC key")
        return _pem(self._signed(request.subject, key, validity, ca=False), *self._sent_along())

    def forge(self, common_name: str, validity: Validity) -> bytes:
        """Key and chain for anybody: what whoever has this CA's key can make. PEM; never to be logged."""
        key, request = signing_request(common_name)
        return key + self.sign(request, validity)

    def prove(self, code: str, validity: Validity) -> bytes:
        """PEM of the certificate with the code as common name that proves possession of the key.

        azure-docs how-to-verify-certificates, "Manual verification".
        """
        key = ec.generate_private_key(ec.SECP256R1())
        return _pem(self._signed(_named(code), key.public_key(), validity, ca=False))

    def _sent_along(self) -> tuple[x509.Certificate, ...]:
        """The chain above a leaf, without the root, which nobody needs to send."""
        return (self.certificate, *self.above[:-1]) if self.above else ()

    def _signed(self, subject: x509.Name, key: PublicKey, validity: Validity, *, ca: bool) -> x509.Certificate:
        span = validity.within(self.validity)
        return _certificate(subject, key, self.certificate.subject, self.key, span, ca=ca)


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-256, upper-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def ders_of(chain: bytes) -> list[bytes]:
    """The certificates of a PEM text, each as DER."""
    return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(chain)]


def make_root(common_name: str, validity: Validity) -> CertificateAuthority:
    """A self-signed root."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _named(common_name)
    return CertificateAuthority(_certificate(name, key.public_key(), name, key, validity, ca=True), key)


def signing_request(common_name: str) -> tuple[bytes, x509.CertificateSigningRequest]:
    """A new key (PEM, PKCS #8; never to be logged) and the request (PKCS #10) for a certificate of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(_named(common_name))
    return _key_pem(key), builder.sign(key, hashes.SHA256())


def _certificate(
    subject: x509.Name,
    key: PublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    span: Validity,
    *,
    ca: bool,
) -> x509.Certificate:
    serial = x509.random_serial_number()
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder(issuer, subject, key, serial, span.begins, span.ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_usage(ca=ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(aki, critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,  # a CA that proves possession signs more than certificates
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
