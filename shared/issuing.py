"""What a CA of ours issues: to whom it may, and what the certificate says. Pure: the CA's key signs elsewhere.

Certificates follow RFC 5280: a leaf is for client authentication and nothing else, an intermediate signs certificates
no further down than the one before it did. None outlives its issuer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.certificate import Certificate, describe_key, problems_of_key
from shared.errors import BadInput

BACKDATED = timedelta(minutes=10)
"""How long before now a certificate begins, for devices whose clock is slow; Key Vault's own do the same (recorded)."""
PROOF_LASTS = timedelta(hours=12)
SERIAL_BYTES = 20
"""As many as RFC 5280 4.1.2.2 allows; the first bit is left zero, for the number must be positive."""

type IssuerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""Whoever holds it: a key in the vault is used through the same interface, and never read."""
type SubjectKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
type Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512


@dataclass(frozen=True)
class SigningRequest:
    """What the vault wants to have signed (issuer Unknown)."""

    csr: bytes
    """PKCS#10, DER."""
    months: int
    """How long the certificate's policy wants it to be valid."""


@dataclass(frozen=True)
class Wanted:
    """What is to be issued."""

    common_name: str
    """The registration ID of a leaf (azure-docs concepts-x509-attestation); of an intermediate, the name it had."""
    ca: bool
    before: Certificate | None
    """The version that the new one takes the place of, if any."""
    outlives: bool = True
    """Whether it must end later than that one: not where that one is compromised, and its end means nothing."""


def problems_of_issuing(request: SigningRequest, wanted: Wanted, issuer: Certificate, now: datetime) -> list[str]:
    """Every reason why ``issuer`` must not issue what is ``wanted`` on this request; empty when it may.

    Raises:
        BadInput: the request cannot be read.
    """
    return [*_problems_of_request(_read(request.csr), wanted), *_problems_of_issuer(issuer, wanted, request, now)]


def _read(csr: bytes) -> x509.CertificateSigningRequest:
    try:
        return x509.load_der_x509_csr(csr)
    except ValueError:
        raise BadInput("the vault's signing request cannot be read") from None


def _problems_of_request(request: x509.CertificateSigningRequest, wanted: Wanted) -> list[str]:
    problems = [] if request.is_signature_valid else ["the request is not signed by its own key"]
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = str(names[-1].value) if names else None
    if found is None or found.lower() != wanted.common_name.lower():
        problems.append(f"the request is for the common name {found!r}, not for {wanted.common_name!r}")
    key = request.public_key()
    problems += problems_of_key(describe_key(key))
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if wanted.before is not None and spki == _public_bytes(wanted.before):
        problems.append("the request has the key of the version before; the vault's policy must not reuse keys")
    return problems


def _problems_of_issuer(issuer: Certificate, wanted: Wanted, request: SigningRequest, now: datetime) -> list[str]:
    problems = []
    if not issuer.is_ca:
        problems.append("the issuer is no CA certificate")
    if not _signs_certificates(issuer):
        problems.append("the issuer's key usage does not allow to sign certificates")
    if not issuer.not_before <= now < issuer.not_after:
        problems.append(f"the issuer is valid from {issuer.not_before:%Y-%m-%d} to {issuer.not_after:%Y-%m-%d} only")
    if wanted.ca and _path_length(issuer) == 0:
        problems.append("the issuer may issue end-entity certificates only (path length 0)")
    end = ends(request, issuer, now)
    if wanted.outlives and wanted.before is not None and now < end <= wanted.before.not_after:
        problems.append(
            f"what the issuer issues would end on {end:%Y-%m-%d %H:%M:%SZ}, no later than what it takes the place of:"
            " the issuer, or the policy's validity, ends too soon"
        )
    return problems


def ends(request: SigningRequest, issuer: Certificate, now: datetime) -> datetime:
    """When a certificate issued now ends: after the policy's months, or with its issuer."""
    return min(months_later(now.replace(microsecond=0), request.months), issuer.not_after)


def months_later(when: datetime, months: int) -> datetime:
    """The same day so many months later, or the last day of that month."""
    years, month = divmod(when.month - 1 + months, 12)
    first = when.replace(year=when.year + years, month=month + 1, day=1)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(when.day, last.day))


def certificate_of(
    request: SigningRequest, wanted: Wanted, issuer: Certificate, now: datetime, serial: int
) -> x509.CertificateBuilder:
    """The certificate to be signed by the issuer's key; the subject is the request's, the extensions are ours."""
    asked = _read(request.csr)
    builder = _certificate(asked.subject, _subject_key(asked), issuer, now, ends(request, issuer, now), serial)
    if wanted.ca:
        length = _path_length_of_next(wanted.before, issuer)
        return builder.add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True).add_extension(
            _usage(key_cert_sign=True, crl_sign=True), critical=True
        )
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )


def proof_of(code: str, key: SubjectKey, issuer: Certificate, now: datetime, serial: int) -> x509.CertificateBuilder:
    """The proof that somebody holds the issuer's key: a certificate with the verification code as its common name
    (azure-docs how-to-verify-certificates)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, code)])
    end = min(now.replace(microsecond=0) + PROOF_LASTS, issuer.not_after)
    builder = _certificate(subject, key, issuer, now, end, serial)
    return builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)


def _certificate(
    subject: x509.Name, key: SubjectKey, issuer: Certificate, now: datetime, end: datetime, serial: int
) -> x509.CertificateBuilder:
    above = x509.load_der_x509_certificate(issuer.der)
    begin = max(now.replace(microsecond=0) - BACKDATED, issuer.not_before)
    return (
        x509.CertificateBuilder(above.subject, subject, key, serial, begin, end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key_identifier(above), critical=False)
    )


def serial_of(random: bytes) -> int:
    """A serial number from ``SERIAL_BYTES`` of randomness."""
    return int.from_bytes(random) >> 1


def hash_of(issuer: Certificate) -> Hash:
    """What an issuer's signatures are made over: Key Vault knows one hash for each curve (docs about-keys-details)."""
    sizes: dict[str, Hash] = {"EC secp384r1": hashes.SHA384(), "EC secp521r1": hashes.SHA512()}
    return sizes.get(issuer.key, hashes.SHA256())


def issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether ``issuer`` signed it, by name and signature."""
    try:
        x509.load_der_x509_certificate(certificate.der).verify_directly_issued_by(
            x509.load_der_x509_certificate(issuer.der)
        )
    except Exception:  # noqa: BLE001 - whatever the parser or the key says, it means no
        return False
    return True


def is_root(certificate: Certificate) -> bool:
    """Whether it issued itself: a chain ends there, and devices do not send it along."""
    parsed = x509.load_der_x509_certificate(certificate.der)
    return parsed.subject == parsed.issuer


def _subject_key(request: x509.CertificateSigningRequest) -> SubjectKey:
    key = request.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise BadInput("the vault's signing request has a key that is neither RSA nor EC")
    return key


def _public_bytes(certificate: Certificate) -> bytes:
    key = x509.load_der_x509_certificate(certificate.der).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _path_length_of_next(before: Certificate | None, issuer: Certificate) -> int | None:
    """What the one before had, so that the chains below it stay good; 0 where there was none; and less than its
    issuer's (RFC 5280 4.2.1.9)."""
    above = _path_length(issuer)
    had = _path_length(before) if before is not None and before.is_ca else 0
    limits = [limit for limit in (None if above is None else above - 1, had) if limit is not None]
    return min(limits, default=None)


def _path_length(certificate: Certificate) -> int | None:
    """None: as many CA certificates below as one likes."""
    parsed = x509.load_der_x509_certificate(certificate.der)
    try:
        return parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        return None


def _signs_certificates(certificate: Certificate) -> bool:
    parsed = x509.load_der_x509_certificate(certificate.der)
    try:
        return parsed.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True  # RFC 5280 4.2.1.3: without the extension any use is allowed


def _usage(**used: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise BadInput("the issuer has a key that is neither RSA nor EC") from None
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
