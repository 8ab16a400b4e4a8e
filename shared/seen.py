"""What a decision is made from: what was seen of the world, and what the platform team decides. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.authority import DpsCertificate
from shared.certificate import Certificate
from shared.enrollment import Enrollment, HubIdentity, Registration, Removed, Twin
from shared.escape import Route
from shared.fleet import FleetProgress
from shared.group import Group


@dataclass(frozen=True)
class Policy:
    """What the platform team decides (application settings)."""

    retire_when_moved: bool = False
    """Retire the outgoing certificate as soon as the device moved, not only once it has expired too."""
    straggler_grace: timedelta = timedelta(days=7)
    """How long after the outgoing certificate's end a rollover may wait before a person is told."""
    device_budget: timedelta = timedelta(days=3)
    """How long a device that is asked may take to come before that is announced (``shared.overdue``)."""
    clock_skew: timedelta = timedelta(minutes=5)
    settle: timedelta = timedelta(seconds=60)
    """How long a containment must be seen to hold before it is stated: in that time the hub ends the session of an
    identity that was disabled or deleted (seconds to a minute, azure-iot-sdk-c#2300; what it shows of sessions may lag,
    azure-docs devguide-identity-registry), and registrations that were under way when the door was shut end."""
    max_acts: int = 8
    """How often a step may act before a person is told that acting does not help."""


@dataclass(frozen=True)
class VaultVersion:
    """The latest version of the certificate in the vault."""

    version: str
    enabled: bool
    certificate: Certificate


@dataclass(frozen=True)
class Listed:
    """One certificate of the vault, as its list gives it: without the certificate itself."""

    name: str
    ends: datetime | None = None
    """When its latest version ends, if the vault says so."""
    sha1_thumbprint: str = ""
    """Of its latest version."""
    tags: Mapping[str, str] = field(default_factory=dict)
    starts: datetime | None = None
    """From when on its latest version is valid, if the vault says so."""


@dataclass(frozen=True)
class Issuance:
    """A certificate operation of the vault that has not become a version."""

    in_progress: bool
    needs_signing: bool
    """The issuer is unknown to the vault: somebody must sign the request and merge the answer."""
    error: str | None


@dataclass(frozen=True)
class Job:
    """A hub job: finished says that it ran, never that the device did anything."""

    finished: bool
    summary: str
    unanswered: bool = False
    """The hub did not reach the device, so it does not know that it was asked."""


@dataclass(frozen=True)
class Observation:
    """What was read for one step; a part that the step does not look at is None."""

    now: datetime
    enrollment: Enrollment | None = None
    identity: HubIdentity | None = None
    latest: VaultVersion | None = None
    issuance: Issuance | None = None
    issuer: str = ""
    """The vault certificate of the CA that signs this one's requests (tag ``rollover-ca``); empty: a person does."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """SHA-1 thumbprint → SHA-256 of the public key, of leaving certificates whose key the ledger does not know."""
    job: Job | None = None
    removed: Removed | None = None
    """The hub identity that this rollover deleted."""
    twin: Twin | None = None
    routes: tuple[Route, ...] = ()
    """Ways by which a compromised certificate would get in once it is in no slot of its enrollment any more."""
    group: Group | None = None
    authorities: tuple[DpsCertificate, ...] = ()
    """The CA certificates of the DPS."""
    fleet: FleetProgress | None = None
    """How far the step's work on the group's devices is; None while it is not begun."""
    users: tuple[str, ...] = ()
    """Other groups that trust a CA certificate of the DPS that is to be deleted, by it or through it."""
    registration: Registration | None = None
    """The registration record of a group's device; of an enrollment's it is in the enrollment."""
    issuers: tuple[Certificate, ...] = ()
    """CA certificates of the vault above a device's certificate, as its tags tell, the next one first."""
    left_to: str = ""
    """The rollover of its group that brings a device a new certificate, and how that stands; empty: none does."""


@dataclass(frozen=True)
class Sources:
    """What a step has to read before it can decide."""

    vault: bool = False
    vault_may_be_down: bool = False
    """The step does without the vault where it cannot be read, and takes no way in for open that it may close."""
    enrollment: bool = False
    identity: bool = False
    job: bool = False
    removed: bool = False
    twin: bool = False
    holders: bool = False
    """Which other hub identities accept a compromised certificate."""
    groups: bool = False
    """Which other entries of DPS would admit it."""
    groups_when_out: bool = False
    """The same, only where its own enrollment does not hold it any more, and so keeps it out no longer."""
    group: bool = False
    authorities: bool = False
    fleet: str | None = None
    """Which work on the group's devices."""
    users: bool = False
    """Which other groups need a CA certificate of the DPS that leaves."""
