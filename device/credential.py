"""A credential: one private key and the certificate chain that belongs to it, leaf first."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from device.errors import NotACredential

_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Credential:
    """A key pair with its certificate chain; made by :meth:`from_pem` or :meth:`from_pfx`.

    ``sha256`` is the SHA-256 thumbprint of the leaf, 64 upper-case hex digits, as DPS and the hub write it.
    ``pem`` holds the key and then the chain, leaf first, in one text: a file with it can never be a key of one
    certificate beside another certificate. It is left out of ``repr`` because it holds the private key.
    """

    pem: bytes = field(repr=False)
    sha256: str
    common_name: str
    not_before: datetime
    not_after: datetime

    @classmethod
    def from_pem(cls, text: bytes) -> Credential:
        """Read a private key and its chain from PEM blocks in any order.

        Raises:
            NotACredential: no or more than one private key, an encrypted one, or no certificate for it.
        """
        keys = list(_KEY.finditer(text))
        if len(keys) != 1:
            raise NotACredential(f"{len(keys)} private keys where one is needed")
        try:
            key = load_pem_private_key(keys[0].group(), password=None)
            chain = x509.load_pem_x509_certificates(text)
        except (ValueError, TypeError) as error:  # TypeError: the key is encrypted
            raise NotACredential(f"not readable as PEM: {type(error).__name__}") from None
        if len(chain) != text.count(b"-----BEGIN CERTIFICATE-----"):
            raise NotACredential("a certificate of the chain is cut off")
        return cls._of(key, chain)

    @classmethod
    def from_pfx(cls, data: bytes) -> Credential:
        """Read PKCS#12 without a password, the form in which Key Vault hands out a certificate's secret.

        Raises:
            NotACredential: unreadable, protected by a password, or without key or certificate.
        """
        try:
            key, leaf, others = pkcs12.load_key_and_certificates(data, None)
        except (ValueError, TypeError) as error:
            raise NotACredential(f"not readable as PKCS#12: {type(error).__name__}") from None
        if key is None or leaf is None:
            raise NotACredential("the PKCS#12 holds no key with its certificate")
        return cls._of(key, [leaf, *others])

    @classmethod
    def _of(cls, key: PrivateKeyTypes, chain: list[x509.Certificate]) -> Credential:
        own = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        try:
            leaf = next(c for c in chain if _public_key(c) == own)
            names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            validity = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        except StopIteration:
            raise NotACredential("no certificate belongs to the private key") from None
        except ValueError:  # a certificate may parse and still hold fields that cannot be read
            raise NotACredential("the certificate cannot be read") from None
        others = [c for c in chain if c is not leaf]
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem += b"".join(c.public_bytes(Encoding.PEM) for c in [leaf, *others])
        sha256 = hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest().upper()
        return cls(pem, sha256, str(names[0].value) if names else "", *validity)

    def fault(self, registration_id: str, now: datetime) -> str | None:
        """Say why this credential cannot be used by the device at ``now`` (aware, UTC), or None if it can.

        DPS takes the common name for the registration ID, without regard to case
        (azure-docs concepts-service, "Registration ID").
        """
        if self.common_name.casefold() != registration_id.casefold():
            return f"its common name {self.common_name!r} is not the registration ID"
        if now < self.not_before:
            return f"not valid before {self.not_before:%Y-%m-%dT%H:%M:%SZ}"
        if now >= self.not_after:
            return f"expired at {self.not_after:%Y-%m-%dT%H:%M:%SZ}"
        return None


def _public_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
