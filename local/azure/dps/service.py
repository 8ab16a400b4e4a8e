"""One Device Provisioning Service: what it keeps, and the parts that work on it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from local.azure.dps.admission import Admissions
from local.azure.dps.assignments import Assignments
from local.azure.dps.ca_certificates import CaCertificate, CaCertificates
from local.azure.dps.enrollments import Enrollments
from local.azure.dps.entries import Surroundings
from local.azure.dps.groups import Groups
from local.azure.dps.registrations import Registrations
from local.azure.dps.stamps import Stamps

if TYPE_CHECKING:
    from local.azure.world import World


class Dps:
    """State lives in memory, on purpose. The hub is `world.hub`, written only through `provision_x509`."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._stamps = stamps = Stamps(world.clock)
        self.ca_certificates = CaCertificates()
        self.registrations = Registrations(stamps)
        around = Surroundings(world.clock, world.knobs, stamps, self.ca_certificates, {})
        self._holders = around.holders
        self.enrollments = Enrollments(around, self.registrations.forget_entry)
        self.groups = Groups(around, self.registrations.forget_entry)
        admissions = Admissions(self.enrollments, self.groups, self.ca_certificates, world.knobs)
        self.assignments = Assignments(world, admissions, self.registrations)

    def keep_ca(self, certificate: CaCertificate) -> CaCertificate:
        """Keep a CA certificate with a new etag: each call that writes gives one, asking for a code too."""
        stamped = replace(certificate, etag=self._stamps.etag(), updated=self._world.clock.now())
        self.ca_certificates.put(stamped)
        return stamped

    def reset(self) -> None:
        """A DPS with no entries, no registrations and no CA certificates."""
        for part in (
            self.assignments,
            self.enrollments,
            self.groups,
            self.registrations,
            self.ca_certificates,
        ):
            part.clear()
        self._holders.clear()
