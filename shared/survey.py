"""What the lists of vault, DPS and ledger say together, as a value. Pure.

A list costs a request a page, whatever lies in it; so whoever asks about every certificate asks the lists, and reads
one by one only what they leave open. They are read one after another, and a list may be a moment old.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from shared.authority import DpsCertificate
from shared.enrollment import Enrollment
from shared.errors import RolloverError
from shared.group import Group
from shared.plans import Plan
from shared.rollover import Rollover
from shared.seen import Listed


class Source(StrEnum):
    """What is listed."""

    VAULT = "certificates of the vault"
    ENROLLMENTS = "individual enrollments of the DPS"
    GROUPS = "enrollment groups of the DPS"
    AUTHORITIES = "CA certificates of the DPS"
    LEDGER = "open rollovers of the ledger"


@dataclass(frozen=True)
class Survey:
    """The lists, each as far as it could be read."""

    vault: tuple[Listed, ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    """Name of a vault certificate → partition of the target that it belongs to, where list and notes tell."""
    leaves: Mapping[str, Listed] = field(default_factory=dict)
    """Name of a vault certificate of a group's device → the vault certificate of the group's CA."""
    enrollments: Mapping[str, Enrollment] = field(default_factory=dict)
    """By partition; without registration record and body."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """By partition."""
    authorities: tuple[DpsCertificate, ...] = ()
    """Their contents only where ARM gives them."""
    open: Mapping[str, Rollover] = field(default_factory=dict)
    """The open rollover of each target that has one, by partition."""
    given_up: Mapping[str, Rollover] = field(default_factory=dict)
    """The last rollover of a group's device that ended without being done, by the name of its vault certificate. An
    enrollment's slots would tell that; of a group's device nothing else does."""
    missing: Mapping[Source, RolloverError] = field(default_factory=dict)
    """What could not be read, or not to its end, and why."""

    @cached_property
    def members(self) -> Mapping[str, Rollover]:
        """The open rollovers of groups' devices, by the name of their vault certificate: no list tells the device."""
        return {one.certificate_name: one for one in self.open.values() if one.plan is Plan.MEMBER_EXPIRY}

    def ca_of_member(self, listed: Listed) -> Listed | None:
        """The vault certificate of the group's CA, if this one is of a device that its group admits; None of others,
        and of one whose own enrollment admits it."""
        enrollment = self.enrollments.get(self.ties.get(listed.name, ""))
        return None if enrollment is not None and enrollment.enabled else self.leaves.get(listed.name)
