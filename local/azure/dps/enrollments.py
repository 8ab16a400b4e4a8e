"""Individual enrollments: one device, known by its leaf certificate in one of two slots."""

from typing import Any

from local.azure.dps.entries import Entries
from local.azure.dps.refusals import BadRequest


class Enrollments(Entries):
    """By registration ID. X.509 attestation is `clientCertificates` (REST: X509Attestation)."""

    kind = "Enrollment"
    id_member = "registrationId"
    x509_members = ("clientCertificates",)

    def particulars(self, sent: dict[str, Any]) -> dict[str, Any]:
        """The device ID; the registration ID when none is given (azure-docs concepts-service)."""
        device_id = sent.get("deviceId") or sent["registrationId"]
        if not isinstance(device_id, str):
            raise BadRequest("deviceId must be text.")
        return {"deviceId": device_id}
