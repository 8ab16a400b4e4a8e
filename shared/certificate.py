"""What a certificate says, and whether one may replace another. Pure: bytes in, values out.

Thumbprints are upper-case hex without separators; every name says which hash. DPS shows SHA-1 in its portal,
writes SHA-256 to the hub and gives both over its API, Key Vault knows only SHA-1, so both are carried.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import BadInput
from shared.names import as_dps_writes

MIN_RSA_BITS = 2048
"""Smallest RSA modulus accepted (NIST SP 800-57: 112-bit strength)."""

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Elliptic curves that Key Vault issues and IoT Hub's TLS accepts."""


@dataclass(frozen=True)
class Certificate:
    """The public facts of one X.509 certificate."""

    der: bytes
    sha1_thumbprint: str
    sha256_thumbprint: str
    common_name: str | None
    not_before: datetime
    not_after: datetime
    key: str
    """Key type and size as people say it: ``RSA-2048``, ``EC secp256r1``."""
    public_key_sha256: str
    """SHA-256 of the subject public key info: equal means the key was reused."""
    is_ca: bool
    allows_client_auth: bool
    subject: str
    """As DPS writes names, like ``CN=dev-01, O=Example``."""
    issuer: str

    @property
    def pem(self) -> str:
        """The certificate in PEM, as DPS takes it."""
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM).decode("ascii")


def normalize_thumbprint(thumbprint: str) -> str:
    """Upper-case hex without separators: the form in which thumbprints are compared."""
    return thumbprint.replace(":", "").replace(" ", "").upper()


def parse_certificate(der: bytes) -> Certificate:
    """Read one DER certificate.

    Raises:
        BadInput: it is not a certificate, or one whose fields cannot be read. Some certificates load and fail
            only when a field is read, so every field is read here and nowhere else.
    """
    try:
        return _read(der)
    except Exception as error:  # noqa: BLE001 - hostile bytes make the parser raise many types; all mean the same
        raise BadInput(f"not a readable X.509 certificate ({type(error).__name__})") from None


def _read(der: bytes) -> Certificate:
    certificate = x509.load_der_x509_certificate(der)
    public_key = certificate.public_key()
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    extensions = certificate.extensions
    return Certificate(
        der=der,
        sha1_thumbprint=hashlib.sha1(der, usedforsecurity=False).hexdigest().upper(),
        sha256_thumbprint=hashlib.sha256(der).hexdigest().upper(),
        common_name=str(names[-1].value) if names else None,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key=describe_key(public_key),
        public_key_sha256=hashlib.sha256(
            public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).hexdigest(),
        is_ca=_is_ca(extensions),
        allows_client_auth=_allows_client_auth(extensions),
        subject=as_dps_writes(certificate.subject),
        issuer=as_dps_writes(certificate.issuer),
    )


def describe_key(key: object) -> str:
    """A public key's type and size as people say it, e.g. ``RSA-2048``."""
    match key:
        case rsa.RSAPublicKey():
            return f"RSA-{key.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return "EdDSA"
        case _:
            return type(key).__name__.lstrip("_")


def _is_ca(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _allows_client_auth(extensions: x509.Extensions) -> bool:
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True  # RFC 5280 4.2.1.12: without the extension any use is allowed
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def problems_of_key(key: str) -> list[str]:
    """Why a key of this description (``Certificate.key``) is not acceptable; empty when it is."""
    kind, _, size = key.replace("EC ", "EC-").partition("-")
    if kind == "RSA":
        return [] if int(size) >= MIN_RSA_BITS else [f"its key is {key}, smaller than RSA-{MIN_RSA_BITS}"]
    if kind == "EC":
        return [] if size in CURVES else [f"its key is on curve {size}, not one of {', '.join(CURVES)}"]
    return [f"its key type is {key}, not RSA or EC"]


def problems_of_successor(
    incoming: Certificate, *, registration_id: str, outgoing: "Outgoing", now: datetime, skew: timedelta
) -> list[str]:
    """Every reason why ``incoming`` must not take over from ``outgoing`` near its expiry; empty when it may."""
    problems = problems_of_replacement(
        incoming, registration_id=registration_id, leaving=(outgoing,), now=now, skew=skew
    )
    if incoming.not_after <= outgoing.not_after:
        problems.append(
            f"it ends on {incoming.not_after:%Y-%m-%d %H:%M:%SZ}, not later than the outgoing one"
            f" ({outgoing.not_after:%Y-%m-%d %H:%M:%SZ})"
        )
    return problems


def problems_of_replacement(
    incoming: Certificate, *, registration_id: str, leaving: Sequence["Outgoing"], now: datetime, skew: timedelta
) -> list[str]:
    """Every reason why ``incoming`` must not let the device in instead of those that leave; empty when it may.

    DPS checks the common name only when the device registers, and the hub never does, so a certificate that
    would lock the device out is accepted by both at upload (azure-docs concepts-x509-attestation; live tests of
    azure-iot-cli-extension). Here is the only place where it is caught in time.
    """
    problems: list[str] = []
    if incoming.common_name is None:
        problems.append("it has no common name")
    elif incoming.common_name.lower() != registration_id.lower():
        problems.append(f"its common name is {incoming.common_name!r}, not the registration ID {registration_id!r}")
    if any(one.public_key_sha256 == incoming.public_key_sha256 for one in leaving):
        problems.append("it has the outgoing certificate's key; a rollover needs a new key")
    problems += problems_of_key(incoming.key)
    if incoming.is_ca:
        problems.append("it is a CA certificate, not an end-entity certificate")
    if not incoming.allows_client_auth:
        problems.append("its extended key usage does not allow client authentication")
    if incoming.not_before > now + skew:
        problems.append(f"it is not valid before {incoming.not_before:%Y-%m-%d %H:%M:%SZ}")
    if incoming.not_after <= now:
        problems.append(f"it expired on {incoming.not_after:%Y-%m-%d %H:%M:%SZ}")
    return problems


@dataclass(frozen=True)
class Outgoing:
    """What is known of the outgoing certificate: DPS never gives certificates back, only their facts.

    ``public_key_sha256`` is known when the vault still holds that version, else None.
    """

    sha1_thumbprint: str
    sha256_thumbprint: str
    not_after: datetime
    public_key_sha256: str | None = None
    subject: str | None = None
    """As DPS writes names, like ``CN=dev-01, O=Example``; None where it was not kept."""
    issuer: str | None = None

    def with_key(self, public_key_sha256: str | None) -> "Outgoing":
        """The same, with its public key where that was not known."""
        return self if self.public_key_sha256 else replace(self, public_key_sha256=public_key_sha256)

    @property
    def known_as(self) -> str:
        """SHA-256, or SHA-1 where nobody tells the other."""
        return self.sha256_thumbprint or self.sha1_thumbprint

    @property
    def self_issued(self) -> bool | None:
        """Whether the certificate names itself as its issuer; None when the names are not known."""
        return is_self_issued(self.subject, self.issuer)


class Thumbprints(Protocol):
    """A certificate, known by its hashes."""

    @property
    def sha1_thumbprint(self) -> str: ...

    @property
    def sha256_thumbprint(self) -> str:
        """Empty where nobody tells it: Resource Manager shows SHA-1 alone."""


def is_same(one: Thumbprints, other: Thumbprints) -> bool:
    """Whether the two are one certificate: by SHA-256 where both tell it, else by SHA-1."""
    if one.sha256_thumbprint and other.sha256_thumbprint:
        return one.sha256_thumbprint == other.sha256_thumbprint
    return bool(one.sha1_thumbprint) and one.sha1_thumbprint == other.sha1_thumbprint


def is_among(one: Thumbprints, others: Iterable[Thumbprints]) -> bool:
    """Whether it is one of these certificates."""
    return any(is_same(one, other) for other in others)


def is_self_issued(subject: str | None, issuer: str | None) -> bool | None:
    """Whether these are the names of a certificate that no CA issued; None when one of them is not known."""
    return None if subject is None or issuer is None else subject == issuer


def is_near_expiry(
    not_before: datetime, not_after: datetime, now: datetime, *, window: timedelta, share: float
) -> bool:
    """Whether a certificate should be rolled now.

    It should when what remains is at most ``window`` and at most ``share`` of its lifetime. The share keeps a
    certificate that lives shorter than the window from being "near expiry" at birth, which would roll it for
    ever; Key Vault's own event is fixed at 30 days (azure-docs event-schema-key-vault).
    """
    return not_after - now <= min(window, (not_after - not_before) * share)
