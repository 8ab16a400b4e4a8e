"""What a refused connect means. Pure: the refusal and what registry, enrollment, ledger and vault show in, a finding
out.

The log says which device ID was claimed, never which certificate was presented, so every finding is an inference from
what is known of that device. Nothing is rolled because of a refusal alone: a rollover begins only where the vault has
a version that the sweep would roll to anyway, and what looks like an intrusion is told to people, never acted on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.connection_log import Refusal
from shared.enrollment import Enrollment, HubIdentity, Registration, why_not_ours
from shared.plans import Plan
from shared.rollover import Outcome, Rollover, reported_compromised
from shared.seen import VaultVersion

BY_CERTIFICATE = ("selfSigned", "certificateAuthority")
"""What the registry calls devices that come with a certificate."""


class Class(StrEnum):
    """What is done about a refused connect."""

    NOT_OURS = "not_ours"
    """No device that this deployment rolls, as far as was looked; counted."""
    NOT_BY_CERTIFICATE = "not_by_certificate"
    """The registry lets the device in by a SAS token; counted."""
    BREACHED_TRIED = "breached_certificate_tried"
    """Contained, and the device is not back: recorded and announced, at most once an hour."""
    IN_FLIGHT = "in_flight"
    """Its rollover is open: looked at now."""
    KEPT_OUT = "kept_out"
    """Somebody disabled the device; counted."""
    NEVER_ISSUED = "never_issued"
    """The hub accepts a thumbprint that nobody here issued: a breach is nominated, nothing is done."""
    ROLLED_EARLY = "rolled_early"
    """The vault has a version that the enrollment was not told of: its rollover begins."""
    OF_GROUP = "of_group"
    """Of an enrollment group of which nothing is open; counted."""
    UNEXPLAINED = "unexplained"
    """Logged."""


@dataclass(frozen=True)
class Known:
    """What was read about a device whose ID was claimed."""

    now: datetime
    identity: HubIdentity | None
    enrollment: Enrollment | None
    rollovers: Sequence[Rollover] = ()
    """Of its enrollment, oldest first."""
    latest: VaultVersion | None = None
    never_issued: Sequence[str] = ()
    """Thumbprints that the hub accepts and that neither enrollment, ledger nor vault has ever had."""

    @property
    def last(self) -> Rollover | None:
        """The latest rollover."""
        return self.rollovers[-1] if self.rollovers else None

    @property
    def breach(self) -> Rollover | None:
        """The latest rollover that replaces a compromised certificate."""
        return next((one for one in reversed(self.rollovers) if one.plan.replaces), None)


@dataclass(frozen=True)
class KnownOfGroup:
    """What was read about a device whose ID was claimed and that nobody here had noted."""

    registration: Registration | None = None
    has_enrollment: bool = False
    """Whether it has an individual enrollment; then no group admits it."""
    identity: HubIdentity | None = None
    rollovers: Sequence[Rollover] = ()
    """Open ones: the device's own, and those of enrollment groups. DPS does not tell through which group a device
    registered."""

    @property
    def at_work(self) -> list[Rollover]:
        """Those that a person need not agree to first."""
        return [one for one in self.rollovers if not one.awaits_approval]


@dataclass(frozen=True)
class Finding:
    """A class, and why."""

    what: Class
    why: str


def triage(refusal: Refusal, known: Known) -> Finding:
    """What the refusal means, and so what is done."""
    identity, enrollment, last = known.identity, known.enrollment, known.last
    if identity is None and last is None:
        return Finding(Class.NOT_OURS, "the hub has no device with this ID")
    if identity is not None and identity.authentication not in BY_CERTIFICATE:
        return Finding(Class.NOT_BY_CERTIFICATE, f"the device authenticates by {identity.authentication}")
    if (breach := known.breach) is not None and _is_kept_out(breach, refusal, enrollment):
        return Finding(
            Class.BREACHED_TRIED,
            f"the hub refused a connect as {refusal.device_id} while {breach.id} keeps its compromised certificate out:"
            " whoever holds that certificate tried it, which may be the device itself (inferred: the hub's log does"
            " not say which certificate was presented)",
        )
    if last is not None and last.outcome is None and last.plan is not Plan.DISALLOW and not last.awaits_approval:
        return Finding(Class.IN_FLIGHT, f"{last.id} is {last.status}")
    if enrollment is None:
        return Finding(Class.UNEXPLAINED, "there is no individual enrollment for this device any more")
    if not enrollment.enabled or (identity is not None and not identity.enabled) or _is_disallowed(last):
        return Finding(Class.KEPT_OUT, "somebody disabled the device")
    if known.never_issued:
        return Finding(
            Class.NEVER_ISSUED,
            f"the hub accepts as {refusal.device_id} a certificate that neither the enrollment, nor the ledger, nor the"
            f" vault knows: {', '.join(known.never_issued)}. Somebody may have taken the device's place: if nobody"
            " changed the identity on purpose, call POST /api/breaches for this device",
        )
    if _is_ahead(known, enrollment):
        return Finding(Class.ROLLED_EARLY, "the vault has a newer version than the enrollment")
    return Finding(Class.UNEXPLAINED, _nearest(known, enrollment))


def triage_of_group(refusal: Refusal, known: KnownOfGroup) -> Finding:
    """The same for a device that may be of an enrollment group.

    Whether the hub pinned a leaf that nobody issued to it cannot be known: who issues a group's leaves knows them, and
    we do not. So nothing here nominates a breach.
    """
    identity = known.identity
    if known.registration is None or known.has_enrollment:
        return Finding(Class.NOT_OURS, "no device of an enrollment group has this ID")
    if identity is not None and identity.authentication not in BY_CERTIFICATE:
        return Finding(Class.NOT_BY_CERTIFICATE, f"the device authenticates by {identity.authentication}")
    if breaches := keeping_out(refusal, known):
        return Finding(
            Class.BREACHED_TRIED,
            f"the hub refused a connect as {refusal.device_id}, whose identity is removed, while"
            f" {', '.join(one.id for one in breaches)} keeps a compromised CA out: somebody with a certificate"
            " under it tried, most likely the device itself, which is not back yet (inferred: the hub's log does not"
            " say which certificate was presented, nor DPS which group the device is of)",
        )
    if identity is not None and not identity.enabled:
        return Finding(Class.KEPT_OUT, "somebody disabled the device")
    if known.at_work:
        return Finding(Class.IN_FLIGHT, f"open: {', '.join(one.id for one in known.at_work)}")
    return Finding(Class.OF_GROUP, "no rollover of a group is open; the hub pins what the device registered with last")


def keeping_out(refusal: Refusal, known: KnownOfGroup) -> list[Rollover]:
    """The contained breaches of a group's CA that may be why the hub has no such device any more."""
    if known.identity is not None:
        return []
    breaches = (one for one in known.at_work if one.plan.replaces and one.contained)
    return [one for one in breaches if refusal.at is None or refusal.at >= one.started_at]


def unknown_thumbprints(
    identity: HubIdentity | None, enrollment: Enrollment | None, rollovers: Sequence[Rollover]
) -> set[str]:
    """Thumbprints that the hub accepts and that neither a slot nor a rollover of the enrollment holds."""
    if identity is None or enrollment is None:
        return set()
    ours = {hash_ for one in enrollment.certificates() for hash_ in (one.sha1_thumbprint, one.sha256_thumbprint)}
    for rollover in rollovers:
        for gone in (*rollover.leaving, rollover.outgoing):
            ours |= {gone.sha1_thumbprint, gone.sha256_thumbprint}
        if (came := rollover.incoming) is not None:
            ours |= {came.sha1_thumbprint, came.sha256_thumbprint}
    return set(identity.thumbprints()) - ours


def _is_kept_out(breach: Rollover, refusal: Refusal, enrollment: Enrollment | None) -> bool:
    """Whether the breach is contained, its device is not back, and the refusal is not older than it (logs come late).

    A breach that ended as "needs a person" may have been mended by hand since.
    """
    if not breach.contained or (refusal.at is not None and refusal.at < breach.started_at):
        return False
    if breach.outcome is None:
        return True
    held = enrollment is None or any(enrollment.holds(one.sha256_thumbprint) for one in breach.leaving)
    mended = enrollment is not None and enrollment.enabled and not held
    return breach.outcome is Outcome.NEEDS_PERSON and not mended


def _is_disallowed(last: Rollover | None) -> bool:
    return last is not None and last.plan is Plan.DISALLOW and last.outcome is None


def _is_ahead(known: Known, enrollment: Enrollment) -> bool:
    """Whether the vault's latest version is good, and neither the enrollment nor the hub was told of it."""
    if known.latest is None or not known.latest.enabled or why_not_ours(enrollment):
        return False
    newest = known.latest.certificate
    told = enrollment.holds(newest.sha256_thumbprint) or (
        known.identity is not None and known.identity.holds(newest.sha1_thumbprint, newest.sha256_thumbprint)
    )
    lives = newest.not_before <= known.now < newest.not_after
    return lives and not told and newest.sha256_thumbprint not in reported_compromised(known.rollovers)


def _nearest(known: Known, enrollment: Enrollment) -> str:
    """The likeliest thing to look at first, for the log."""
    if known.identity is None:
        return "the hub has no such device now: it has to register at DPS again"
    living = [one for one in enrollment.certificates() if one.not_after > known.now]
    if not living:
        return "every certificate of its enrollment has expired, and the vault has no newer one"
    if not any(known.identity.holds(one.sha1_thumbprint, one.sha256_thumbprint) for one in living):
        return "the hub accepts no certificate of its enrollment that still lives: it has to register at DPS again"
    if known.breach is not None:
        return f"enrollment and hub agree; a certificate of it was once reported compromised ({known.breach.id})"
    return "enrollment and hub agree: another certificate was presented, or none"
