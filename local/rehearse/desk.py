"""Where devices get a certificate for a key of their own making: stands for the EST server (RFC 7030) of a fleet's PKI.

Who may ask for which name an EST server knows from TLS; here each device has a window of its own.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID

from device.credential import Credential
from device.errors import SourceUnavailable
from device.ports import Hint
from local.rehearse.pki import CertificateAuthority, Validity, signing_request, thumbprint

BACKDATED = timedelta(minutes=10)
LEAF_DAYS = 90


class Desk:
    """Signs with whichever CA is appointed; may be used by several threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._issuer: CertificateAuthority | None = None
        self.issued: dict[str, tuple[str, ...]] = {}
        """Each leaf that was signed → the CAs above it, its issuer first; SHA-256 thumbprints."""

    @property
    def issuer(self) -> CertificateAuthority | None:
        """The CA that signs now; None before the first was appointed."""
        return self._issuer

    def appoint(self, issuer: CertificateAuthority) -> None:
        """Let this CA sign from now on; whoever has a certificate of another one may ask for a new one."""
        self._issuer = issuer

    def enroll(self, name: str, request: x509.CertificateSigningRequest) -> bytes:
        """The chain for a request, PEM, leaf first (RFC 7030, section 4.2).

        ValueError when it is not for `name`, or nobody signs.
        """
        issuer = self._issuer
        asked = [one.value for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if issuer is None or asked != [name]:
            raise ValueError(f"nothing is signed here for {name}")
        now = self._now().replace(microsecond=0)
        chain = issuer.sign(request, Validity(now - BACKDATED, now + timedelta(days=LEAF_DAYS)))
        leaf = thumbprint(x509.load_pem_x509_certificate(chain))
        self.issued[leaf] = tuple(map(thumbprint, (issuer.certificate, *issuer.above)))
        return chain


class DeskSource:
    """A device's way to its certificates (a `device.ports.CertificateSource`): one key for each CA that signs."""

    def __init__(self, desk: Desk, registration_id: str) -> None:
        self._desk = desk
        self._id = registration_id
        self._lock = threading.Lock()
        self._newest: Credential | None = None
        self._signed_by: CertificateAuthority | None = None

    def newest(self, hint: Hint | None) -> Credential | None:
        """What this device got last; a new one once another CA signs. Raises SourceUnavailable."""
        with self._lock:
            issuer = self._desk.issuer
            if issuer is not None and issuer is not self._signed_by:
                self._newest, self._signed_by = self._enroll(), issuer
            return self._newest

    def _enroll(self) -> Credential:
        key, request = signing_request(self._id)
        try:
            return Credential.from_pem(key + self._desk.enroll(self._id, request))
        except ValueError as error:
            raise SourceUnavailable(str(error)) from None
