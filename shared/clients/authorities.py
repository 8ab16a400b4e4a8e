"""The CA certificates of the DPS, through Azure Resource Manager (azure-mgmt-iothubprovisioningservices 2.1).

Arguments go by keyword only: their order differs from method to method. These calls are not charged as operations of
DPS (azure-docs about-iot-dps).
"""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.mgmt.iothubprovisioningservices.models import (
    CertificateProperties,
    CertificateResponse,
    VerificationCodeRequest,
)
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from shared.authority import DpsCertificate
from shared.certificate import Certificate, parse_certificate
from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.clients.resource_manager import parts_of, resource_manager
from shared.errors import BadInput, NotFound, ServiceRefused, ServiceUnavailable
from shared.settings import Settings

AS_READ = MatchConditions.IfNotModified


class AuthoritiesClient:
    """Lists, uploads, verifies and deletes CA certificates of one DPS."""

    def __init__(
        self, settings: Settings, resource_id: str, credential: TokenCredential, limits: Limits = LIMITS
    ) -> None:
        subscription, group, name = parts_of(resource_id)
        self._api = resource_manager(settings, credential, subscription, limits).dps_certificate
        self._dps: dict[str, Any] = {"resource_group_name": group, "provisioning_service_name": name}

    def all(self) -> list[DpsCertificate]:
        """Every CA certificate; there are no pages, for there are 25 at most.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        with answers_of("Resource Manager", "the list of CA certificates"):
            return [_read(one) for one in self._api.list(**self._dps).value or []]

    def get(self, name: str) -> DpsCertificate | None:
        """The one of this name; None when there is none.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        try:
            with answers_of("Resource Manager", f"GET CA certificate {name}"):
                return _read(self._api.get(certificate_name=name, **self._dps))
        except NotFound:
            return None

    def put(self, name: str, certificate: Certificate, *, verified: bool, read: DpsCertificate | None) -> None:
        """Upload it, under a name that is free or over what was read; sent as base64 of PEM (recorded of azure-cli).

        Raises:
            Conflict, ServiceUnavailable, ServiceRefused.
        """
        properties = CertificateProperties(certificate=certificate.pem.encode(), is_verified=verified)
        with answers_of("Resource Manager", f"PUT CA certificate {name}"):
            self._api.create_or_update(
                certificate_name=name,
                certificate_description=CertificateResponse(properties=properties),
                etag=read.etag if read else None,
                match_condition=AS_READ if read else MatchConditions.IfMissing,
                **self._dps,
            )

    def verification_code(self, read: DpsCertificate) -> tuple[str, DpsCertificate]:
        """A new code, and what was read with the ETag that it has now.

        Raises:
            Conflict, NotFound, ServiceUnavailable, ServiceRefused.
        """
        with answers_of("Resource Manager", f"POST verification code of CA certificate {read.name}"):
            found = self._api.generate_verification_code(
                certificate_name=read.name, etag=read.etag, match_condition=AS_READ, **self._dps
            )
        code = found.properties.verification_code if found.properties else None
        if not code or not found.etag:
            raise ServiceUnavailable(f"Resource Manager gave no verification code for the CA certificate {read.name}")
        return code, replace(read, etag=found.etag)

    def verify(self, read: DpsCertificate, proof_pem: str) -> None:
        """Show the proof.

        Raises:
            Conflict, NotFound, ServiceUnavailable; ServiceRefused: also when the proof is none.
        """
        with answers_of("Resource Manager", f"POST proof of CA certificate {read.name}"):
            self._api.verify_certificate(
                certificate_name=read.name,
                request=VerificationCodeRequest(certificate=base64.b64encode(proof_pem.encode()).decode()),
                etag=read.etag,
                match_condition=AS_READ,
                **self._dps,
            )

    def delete(self, read: DpsCertificate) -> None:
        """Delete what was read.

        Raises:
            Conflict, ServiceUnavailable, ServiceRefused.
        """
        with answers_of("Resource Manager", f"DELETE CA certificate {read.name}"):
            self._api.delete(certificate_name=read.name, etag=read.etag, match_condition=AS_READ, **self._dps)


def _read(found: Any) -> DpsCertificate:
    properties = found.properties
    return DpsCertificate(
        name=str(found.name),
        certificate=_certificate(properties.certificate),
        verified=bool(properties.is_verified),
        etag=str(found.etag),
        thumbprint=str(properties.thumbprint or "").upper(),
        common_name=str(properties.subject or ""),
        expires=_aware(properties.expiry),
    )


def _aware(when: datetime | None) -> datetime | None:
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when


def _certificate(sent: bytes | None) -> Certificate | None:
    """What was uploaded, as it was: PEM or DER. One that cannot be read is as good as none."""
    try:
        if not sent:
            return None
        pem = sent.lstrip(b"\xef\xbb\xbf \t\r\n")
        if pem.startswith(b"-----BEGIN"):
            return parse_certificate(load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
        return parse_certificate(sent)
    except (ValueError, BadInput):
        return None


class NoAuthorities:
    """What stands in where no DPS resource is named in the settings; each call is refused with what is missing."""

    def all(self) -> list[DpsCertificate]:
        raise _missing()

    def get(self, name: str) -> DpsCertificate | None:
        raise _missing()

    def put(self, name: str, certificate: Certificate, *, verified: bool, read: DpsCertificate | None) -> None:
        raise _missing()

    def verification_code(self, read: DpsCertificate) -> tuple[str, DpsCertificate]:
        raise _missing()

    def verify(self, read: DpsCertificate, proof_pem: str) -> None:
        raise _missing()

    def delete(self, read: DpsCertificate) -> None:
        raise _missing()


def _missing() -> ServiceRefused:
    return ServiceRefused("the CA certificates of the DPS cannot be looked at: the setting DPS_RESOURCE_ID is missing")
