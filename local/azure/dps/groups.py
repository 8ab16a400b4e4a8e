"""Enrollment groups: every device whose certificate chain leads to a certificate in one of two slots."""

from typing import Any

from local.azure.dps.entries import Entries, Entry


class Groups(Entries):
    """By group ID. X.509 attestation is `signingCertificates`, or `caReferences` to CA certificates by name."""

    kind = "EnrollmentGroup"
    id_member = "enrollmentGroupId"
    x509_members = ("signingCertificates", "caReferences")

    def particulars(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Groups have no device ID: a member's is its registration ID."""
        return {}

    def trusting(self, thumbprint: str, ca_names: set[str], lag_s: float) -> list[Entry]:
        """The groups with that certificate (SHA-256) in a slot, or that name it.

        `ca_names` are the names it has among the CA certificates, in lower case.
        """
        by_name = [
            entry
            for entry in self.as_seen(lag_s)
            if {name.lower() for name in entry.attestation.ca_names.values()} & ca_names
        ]
        return [*self.holding(thumbprint, lag_s), *by_name]
