"""The CA certificates of the DPS through Resource Manager: rules of each call, and the JSON.

Shapes, etags and times are recorded: azure-cli, src/azure-cli/azure/cli/command_modules/iot/tests/latest/recordings/
test_dps_certificate_lifecycle.yaml (2021 and 2022, api-versions 2020-03-01 and 2021-10-15).
"""

import base64
import binascii
import re
import secrets
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from local.azure import x509
from local.azure.arm.refusals import (
    BadCertificate,
    CertificateNotFound,
    CertificateReferenced,
    EtagMismatch,
    NotPossessed,
)
from local.azure.dps import chains
from local.azure.dps.ca_certificates import NEVER, CaCertificate
from local.azure.dps.stamps import matches

if TYPE_CHECKING:
    from local.azure.world import World

MOST = 25  # docs: about-iot-dps, quotas
# docs (how-to-verify-certificates, CLI reference): alphanumeric, "-", ".", "_"; at most 256
_NAME = re.compile(r"[A-Za-z0-9._-]{1,256}")


class ArmCertificates:
    """What the calls of `.../certificates` do."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def all(self) -> list[CaCertificate]:
        """Every certificate; the list has no pages."""
        return self._world.dps.ca_certificates.all()

    def get(self, name: str) -> CaCertificate:
        """The certificate of this name; CertificateNotFound otherwise."""
        found = self._world.dps.ca_certificates.get(name)
        if found is None:
            raise CertificateNotFound(name)
        return found

    def put(self, name: str, sent: Any, if_match: str | None, if_none_match: str | None) -> CaCertificate:
        """Create or replace. The etag of what is replaced is required (REST reference)."""
        if not _NAME.fullmatch(name):
            raise BadCertificate(f"The certificate name {name!r} is invalid.")
        current = self._world.dps.ca_certificates.get(name)
        if current is not None and (if_none_match == "*" or if_match is None or not matches(if_match, current.etag)):
            raise EtagMismatch
        if current is None and len(self.all()) >= MOST:
            raise BadCertificate(f"There are {MOST} certificates already.")
        text, verified = _asked(sent)
        der = _der(text)
        self._check_dates(der)
        return self._keep(CaCertificate(current.name if current else name, der, verified, text))

    def delete(self, name: str, if_match: str | None) -> bool:
        """Whether there was one to delete. Groups that name it dangle, unless the knob forbids it."""
        self._required(if_match)
        found = self._world.dps.ca_certificates.get(name)
        if found is None:
            return False
        self._check(found, if_match)
        if self._world.knobs.ca_delete_while_referenced == "conflict" and self._referenced(found.name):
            raise CertificateReferenced(found.name)
        self._world.dps.ca_certificates.delete(name)
        return True

    def generate_code(self, name: str, if_match: str | None) -> CaCertificate:
        """A new code of 48 hex digits, in place of an earlier one; the etag changes with it (azure-cli#13098)."""
        found = self._as_read(name, if_match)
        return self._keep(replace(found, code=secrets.token_hex(24).upper()))

    def verify(self, name: str, sent: Any, if_match: str | None) -> CaCertificate:
        """Take the proof: a certificate whose common name is the code, signed by the CA's key."""
        found = self._as_read(name, if_match)
        proof = _der(_asked(sent)[0])
        if not found.code or (x509.common_name(proof) or "").upper() != found.code:
            raise NotPossessed("The subject of the certificate is not the verification code.")
        if not chains.issued_by(proof, found.der):
            issuer = x509.certificate_info(proof)["issuerName"]
            raise NotPossessed(f"Issuer certificate '{issuer}' cannot be found in the certificate chain.")
        start, end = x509.validity(proof)
        if not start <= self._world.clock.now() <= end:
            raise NotPossessed("The certificate is not valid now.")
        return self._keep(replace(found, verified=True, code=""))

    def shown(self, certificate: CaCertificate, *, code: bool = False) -> dict[str, Any]:
        """A certificate as the API shows it. Recorded: the content comes back with a verification code only."""
        content = code or self._world.knobs.arm_shows_certificate
        properties = {
            "subject": x509.common_name(certificate.der) or "",
            "expiry": _http_date(x509.validity(certificate.der)[1]),
            "thumbprint": x509.sha1_thumbprint(certificate.der),
            "isVerified": certificate.verified,
            "created": _http_date(NEVER),
            "updated": _http_date(certificate.updated),
            "certificate": (certificate.text or base64.b64encode(certificate.der).decode()) if content else None,
        }
        names = self._world.names
        dps = names.resource_id("Microsoft.Devices/provisioningServices", names.dps_name)
        return {
            "properties": ({"verificationCode": certificate.code} if code else {}) | properties,
            "id": f"{dps}/certificates/{certificate.name}",
            "name": certificate.name,
            "type": "Microsoft.Devices/provisioningServices/Certificates",
            "etag": certificate.etag,
        }

    def _as_read(self, name: str, if_match: str | None) -> CaCertificate:
        self._required(if_match)
        found = self.get(name)
        self._check(found, if_match)
        return found

    def _required(self, if_match: str | None) -> None:
        if if_match is None:
            raise BadCertificate("The header If-Match is required.")

    def _check(self, found: CaCertificate, if_match: str | None) -> None:
        if not matches(if_match or "", found.etag):
            raise EtagMismatch

    def _check_dates(self, der: bytes) -> None:
        expired = x509.validity(der)[1] < self._world.clock.now()
        if expired and self._world.knobs.expired_ca_at_upload == "refuse":
            raise BadCertificate("The certificate has expired.")

    def _keep(self, certificate: CaCertificate) -> CaCertificate:
        return self._world.dps.keep_ca(certificate)

    def _referenced(self, name: str) -> bool:
        groups = self._world.dps.groups.all()
        return any(name.lower() in (one.lower() for one in g.attestation.ca_names.values()) for _, g in groups)


def _asked(sent: Any) -> tuple[str, bool]:
    """Certificate and flag of a body: within `properties` (today), or flat (api-versions up to 2021-10-15)."""
    asked = sent.get("properties", sent) if isinstance(sent, dict) else None
    if not isinstance(asked, dict) or not isinstance(asked.get("certificate"), str):
        raise BadCertificate("The certificate must be specified.")
    return asked["certificate"], asked.get("isVerified") is True


def _der(text: str) -> bytes:
    """Base64 of DER, base64 of PEM, or PEM; line ends inside the base64 as older clients sent them."""
    try:
        if "-----BEGIN" not in text:
            base64.b64decode("".join(text.split()), validate=True)
        return x509.parse_certificate(text)
    except (ValueError, binascii.Error) as error:
        raise BadCertificate(f"The certificate is invalid: {error}.") from None


def _http_date(when: datetime) -> str:
    """RFC 1123, as recorded: "Fri, 06 May 2022 17:50:01 GMT". Not strftime: year 1 must have four digits."""
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[when.weekday()]
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{day}, {when.day:02} {months[when.month - 1]} {when.year:04} {when:%H:%M:%S} GMT"
