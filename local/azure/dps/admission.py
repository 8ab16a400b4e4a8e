"""Which entry decides over a device, and whether it is let in.

azure-docs how-to-revoke-device-access-portal and concepts-x509-attestation: the chain is walked from the leaf
to the root, and the first entry found decides, enabled or disabled. What the messages mean is from issues:
"CA certificate not found." (AzureIoTDPSCertificates#3, azure-iot-sdk-java#203), "Signing certificate info did
not match chain elements." (azure-iot-sdk-node#532, iotedge#2739).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from local.azure import x509
from local.azure.dps import chains
from local.azure.dps.ca_certificates import CaCertificates
from local.azure.dps.enrollments import Enrollments
from local.azure.dps.entries import Entry
from local.azure.dps.groups import Groups
from local.azure.dps.refusals import NotEmulated, Unauthorized
from local.azure.knobs import Knobs

NO_CA = "CA certificate not found."
NO_MATCH = "Signing certificate info did not match chain elements."


@dataclass(frozen=True)
class Admission:
    """The entry that decides. A disabled one admits to a final status, not to a hub."""

    entry: Entry
    kind: str
    signer: str | None = None  # SHA-256 of the chain element that a group matched

    @property
    def owner(self) -> tuple[str, str]:
        """Kind and key of the entry."""
        return self.kind, self.entry.id.lower()


@dataclass(frozen=True)
class Admissions:
    """The rules, over the entries and CA certificates there are."""

    enrollments: Enrollments
    groups: Groups
    ca_certificates: CaCertificates
    knobs: Knobs

    def admit(self, registration_id: str, presented: Sequence[bytes], now: datetime) -> Admission:
        """The entry that decides over this device. Unauthorized, with one of Azure's messages, if none does."""
        lag = self.knobs.auth_propagation_s
        own = self.enrollments.find(registration_id, lag)
        if not presented:
            self._refuse_keys(own)
            raise Unauthorized
        try:
            self.check_leaf(registration_id, presented[0], now)
            verified = {x509.sha256_thumbprint(one.der) for one in self.ca_certificates.all() if one.verified}
            path = chains.path(presented, [one.der for one in self.ca_certificates.all() if one.verified])
        except ValueError:
            raise Unauthorized from None
        steps = [x509.sha256_thumbprint(der) for der in path]
        if individual := self.enrollments.holding(steps[0], lag):
            return self._individual(registration_id, individual, path, verified, now)
        if own is not None and self.knobs.enrollment_claims_registration_id:
            raise Unauthorized
        return self._group(path, steps, verified, now)

    def current(self, admission: Admission) -> Entry | None:
        """The entry of an admission as it stands now; None when it was deleted."""
        entries = self.enrollments if admission.kind == self.enrollments.kind else self.groups
        return entries.find(admission.entry.id, 0)

    def check_leaf(self, registration_id: str, leaf: bytes, now: datetime) -> None:
        """Unauthorized unless the leaf has the right name and is valid now. ValueError if unreadable.

        azure-docs concepts-x509-attestation: the subject's common name is the registration ID, in any case.
        """
        start, end = x509.validity(leaf)
        if (x509.common_name(leaf) or "").lower() != registration_id.lower() or not start <= now <= end:
            raise Unauthorized

    def _refuse_keys(self, own: Entry | None) -> None:
        if own is not None and own.attestation.type != "x509":
            raise NotEmulated(f"not emulated: registering with {own.attestation.type} attestation")

    def _individual(
        self, registration_id: str, holders: list[Entry], path: list[bytes], verified: set[str], now: datetime
    ) -> Admission:
        entry = next((one for one in holders if one.id.lower() == registration_id.lower()), None)
        if entry is None:
            raise Unauthorized
        if self.knobs.individual_leaf_needs_verified_ca and not chains.self_issued(path[0]):
            self._check_anchor(path[1:], verified, now)
        return Admission(entry, self.enrollments.kind)

    def _group(self, path: list[bytes], steps: list[str], verified: set[str], now: datetime) -> Admission:
        for position in range(1, len(path)):
            groups = self.groups.trusting(steps[position], self._names(path[position]), self.knobs.auth_propagation_s)
            if groups and not groups[0].enabled:
                return Admission(groups[0], self.groups.kind, steps[position])
            if groups:
                self._check_anchor(path[position:], verified, now)
                self._check_dates(path[1:position], now)
                return Admission(groups[0], self.groups.kind, steps[position])
        if chains.self_issued(path[0]):
            raise Unauthorized
        raise Unauthorized(NO_MATCH if verified & set(steps[1:]) else NO_CA)

    def _names(self, der: bytes) -> set[str]:
        return {one.name.lower() for one in self.ca_certificates.all() if one.verified and one.der == der}

    def _check_anchor(self, above: list[bytes], verified: set[str], now: datetime) -> None:
        """One of `above` must be a verified CA (azure-docs#74403, azure-iot-sdk-c#437)."""
        for position, der in enumerate(above):
            if x509.sha256_thumbprint(der) in verified:
                self._check_dates(above[: position + 1], now)
                return
        raise Unauthorized(NO_CA)

    def _check_dates(self, issuers: list[bytes], now: datetime) -> None:
        if self.knobs.expired_ca_at_register == "accept":
            return
        for der in issuers:
            start, end = x509.validity(der)
            if not start <= now <= end:
                raise Unauthorized(NO_CA)
