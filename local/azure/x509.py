"""Certificates in text and bytes: reading them, and describing them the way DPS does.

Some certificates parse and fail only when a field is read (24 of the files in cryptography-vectors); here every
such failure is a ValueError, at the door.
"""

import base64
import binascii
import hashlib
import re
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
# .NET's short names of attribute types (System.Security.Cryptography.X509Certificates, X500NameEncoder).
_NET_NAMES = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "S",
    NameOID.COUNTRY_NAME: "C",
    NameOID.STREET_ADDRESS: "STREET",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.EMAIL_ADDRESS: "E",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.TITLE: "T",
    NameOID.GIVEN_NAME: "G",
    NameOID.SURNAME: "SN",
    NameOID.INITIALS: "I",
    NameOID.DN_QUALIFIER: "dnQualifier",
    ObjectIdentifier("0.9.2342.19200300.100.1.1"): "UID",
}


def parse_certificate(text: str) -> bytes:
    """The DER of the one certificate that `text` holds: PEM (its first block), base64 of DER, or base64 of PEM.

    ValueError for anything else: garbage, nothing, text that also holds a key or another kind of block, and
    certificates whose fields cannot be read.
    """
    der = _der(text)
    certificate_info(der)
    return der


def _der(text: str) -> bytes:
    text = text.removeprefix("\ufeff").strip()
    if "-----BEGIN" in text:
        return _from_pem(text)
    raw = _base64(text)
    inner = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
    if inner.startswith(b"-----BEGIN"):
        return _from_pem(inner.decode("utf-8", errors="replace"))
    if not raw:
        raise ValueError("there is no certificate")
    return raw


def _from_pem(text: str) -> bytes:
    blocks = _PEM_BLOCK.findall(text)
    if not blocks:
        raise ValueError("the PEM text has no complete block")
    if any(label != "CERTIFICATE" for label, _ in blocks):
        raise ValueError("the PEM text holds something that is not a certificate")
    return _base64(blocks[0][1])


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the text is neither PEM nor base64") from None


def certificate_info(der: bytes) -> dict[str, Any]:
    """The `info` object that DPS shows for a certificate (REST: X509CertificateInfo). ValueError if unreadable.

    Thumbprints and serial number in upper-case hex, times in UTC without fraction and names as .NET writes them,
    as recorded from the service.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        return {
            "subjectName": net_name(certificate.subject),
            "sha1Thumbprint": sha1_thumbprint(der),
            "sha256Thumbprint": sha256_thumbprint(der),
            "issuerName": net_name(certificate.issuer),
            "notBeforeUtc": _moment(certificate.not_valid_before_utc),
            "notAfterUtc": _moment(certificate.not_valid_after_utc),
            "serialNumber": _hex(certificate.serial_number),
            "version": certificate.version.value + 1,
        }
    except Exception as error:  # noqa: BLE001  any failure of the parser means the same: not a certificate we can read
        raise ValueError(f"not a readable certificate: {type(error).__name__}") from None


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _hex(number: int) -> str:
    """The serial number's bytes as .NET shows them: with the leading zero of a high first bit, or a sign's FF."""
    length = (number + (number < 0)).bit_length() // 8 + 1
    return number.to_bytes(length, "big", signed=True).hex().upper()


def net_name(name: x509.Name) -> str:
    """A distinguished name as X500DistinguishedName.Name of .NET gives it: most specific part first."""
    return ", ".join(" + ".join(_net_attribute(part) for part in rdn) for rdn in reversed(list(name.rdns)))


def _net_attribute(part: x509.NameAttribute[Any]) -> str:
    label = _NET_NAMES.get(part.oid, f"OID.{part.oid.dotted_string}")
    value = part.value if isinstance(part.value, str) else part.value.hex().upper()
    if value != value.strip() or not value or any(sign in value for sign in ',+"\n\r=<>#;'):
        value = '"' + value.replace('"', '""') + '"'
    return f"{label}={value}"


def sha256_thumbprint(der: bytes) -> str:
    """SHA-256 of the DER, 64 upper-case hex digits: what DPS and hub compare."""
    return hashlib.sha256(der).hexdigest().upper()


def sha1_thumbprint(der: bytes) -> str:
    """SHA-1 of the DER, 40 upper-case hex digits: what Key Vault calls x5t."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def common_name(der: bytes) -> str | None:
    """The subject's common name (the last one when there are several), or None. ValueError if unreadable."""
    try:
        names = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except Exception as error:  # noqa: BLE001  as in certificate_info
        raise ValueError(f"not a readable certificate: {type(error).__name__}") from None
    return str(names[-1].value) if names else None


def validity(der: bytes) -> tuple[datetime, datetime]:
    """Not-before and not-after, aware UTC, both inclusive. ValueError if unreadable."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception as error:  # noqa: BLE001  as in certificate_info
        raise ValueError(f"not a readable certificate: {type(error).__name__}") from None
