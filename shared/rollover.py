"""What a rollover is: one enrollment or group, an outgoing and an incoming certificate, and a plan. Pure.

A rollover is remembered as facts (which steps are done, what it waits for, how it ended); what comes next and
how it stands are computed from them. How it goes on is in ``shared.transitions``.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.certificate import Outgoing
from shared.enrollment import Slot
from shared.incident import Incident, Mode
from shared.plans import PLANS, Plan, Step

ACT_LEASE = timedelta(minutes=2)
"""How long a step may take between noting that it acts and recording how it went. A nudge that comes in between
is early and ignored; after a crash the row is due again when the lease is over."""


class Outcome(StrEnum):
    """How a rollover ended."""

    DONE = "done"
    REFUSED = "refused"
    NEEDS_PERSON = "needs_person"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"


@dataclass(frozen=True)
class Incoming:
    """The certificate that takes over: a version of the vault's certificate. Never its PEM."""

    version: str
    sha1_thumbprint: str
    sha256_thumbprint: str
    not_after: datetime


@dataclass(frozen=True)
class Rollover:
    """Everything that is remembered about one rollover (one row of the ledger)."""

    id: str
    plan: Plan
    registration_id: str
    """Of the individual enrollment, or of a group's device; empty for a group."""
    device_id: str
    """Empty for a group."""
    certificate_name: str
    """Name of the certificate in the vault; empty while none is known (a breach does not wait for that)."""
    cause: str
    """What started it: an event, the sweep, a person."""
    started_at: datetime
    outgoing: Outgoing
    standby: Slot
    """The slot that takes the incoming certificate, computed from what the device uses when the rollover starts."""
    replaces: str | None = None
    """SHA-256 thumbprint of a superseded certificate that may be overwritten in the standby slot."""
    baseline: datetime | None = None
    """When the device had last registered as the rollover started; a move is a later registration."""
    on_incoming_at_start: bool = False
    """The hub identity showed the incoming certificate, and only it, before anything was done."""
    quiet_at: datetime | None = None
    """When no step of the target's rollover before this one can be between its intention and its write any more."""
    incoming: Incoming | None = None
    incident: Incident | None = None
    """What a person asked for; None for the expiry plan."""
    group_id: str | None = None
    """The enrollment group, where that is the target."""
    member_of: str | None = None
    """The enrollment group that admits the device, where the target is one of a group's devices."""
    done: tuple[Step, ...] = ()
    acts: int = 0
    """How often the present step acted."""
    acted_at: datetime | None = None
    """When the present step last acted."""
    backs: int = 0
    """How often it went back to an earlier step."""
    round: int = 0
    """Of the work on a group's devices: another one when what the last one established holds no longer."""
    waiting_for: str | None = None
    waiting_since: datetime | None = None
    arrived_at: datetime | None = None
    """When it came to the present step, whatever it has waited for since; ``here_since`` knows what None means."""
    held_up_since: datetime | None = None
    """Since when services have kept the present step from looking or acting, each in turn perhaps."""
    refused_since: datetime | None = None
    """Since when one of them has refused that; no look has come through in between."""
    told_overdue_at: datetime | None = None
    """When it was announced that it waits too long at the present step (``shared.overdue``)."""
    due_at: datetime | None = None
    """When to look again; a nudge before that is ignored."""
    outcome: Outcome | None = None
    outcome_reason: str | None = None
    next_action: str | None = None
    """For a person, when the outcome needs one."""
    ended_at: datetime | None = None
    reopened_at: datetime | None = None
    """When a person's retry, or a new version in the vault, last made it go on after its end."""
    tried_again_at: datetime | None = None
    """When it was last recorded that a compromised certificate was tried again at the hub."""
    records: int = 0
    """How many history records exist."""
    head: str = ""
    """Hash of the last of them (``shared.chain``); empty when the release before wrote it."""
    outbox: tuple[str, ...] = ()
    """Names of lifecycle events recorded and not yet confirmed as published."""
    trace: str = ""
    """Where it began in a trace (W3C traceparent, ``shared.tracing``); empty when nothing was traced then."""
    etag: str = ""

    @property
    def partition(self) -> str:
        """Where its target lies in the ledger; names ignore case (azure-docs concepts-service)."""
        return group_partition(self.group_id) if self.group_id else individual_partition(self.registration_id)

    @property
    def target(self) -> str:
        """The registration ID of the device, or the ID of the group."""
        return self.group_id or self.registration_id

    @property
    def next_step(self) -> Step | None:
        """The first step of the plan that is not done; None when the rollover ended."""
        if self.outcome is not None:
            return None
        return next((step for step in PLANS[self.plan] if step not in self.done), None)

    @property
    def status(self) -> str:
        """An outcome, or ``awaiting_approval``, ``waiting`` or ``running``."""
        if self.outcome is not None:
            return self.outcome.value
        if self.awaits_approval:
            return "awaiting_approval"
        return "waiting" if self.waiting_for else "running"

    @property
    def here_since(self) -> datetime:
        """Since when the present step is the next one; for the row of an earlier release at the latest."""
        if self.arrived_at is not None:
            return self.arrived_at
        return (self.done and self.waiting_since) or self.started_at

    @property
    def leaving(self) -> tuple[Outgoing, ...]:
        """The certificates that must leave: the outgoing one, or all that are compromised."""
        return self.incident.compromised if self.incident else (self.outgoing,)

    @property
    def awaits_approval(self) -> bool:
        """Whether a second person must agree before anything is done."""
        return self.outcome is None and self.incident is not None and self.incident.awaits_approval

    @property
    def reports(self) -> bool:
        """Whether what leaves was reported compromised. A call that ended, refused, cancelled or with another in its
        place, before a second person agreed to it reported nothing."""
        unheard = self.outcome is not None and self.incident is not None and self.incident.awaits_approval
        return self.plan.replaces and self.outcome is not Outcome.REFUSED and not unheard

    @property
    def contained(self) -> bool:
        """Whether it was read back that nothing compromised gets in, and no step has seen otherwise since."""
        return self.plan.contains and Step.VERIFY_CONTAINMENT in self.done

    @property
    def writes_until(self) -> datetime | None:
        """When a write that the present step may have on its way has come, or never will; None when there is none.

        Whoever cancels or preempts a rollover cannot call back what it sent a moment before.
        """
        return self.acted_at + ACT_LEASE if self.acted_at is not None else None

    def acts_now(self, now: datetime) -> bool:
        """Whether a step may be between its intention and its record: whoever wrote now would cost it the record."""
        return self.waiting_for is None and self.writes_until is not None and now < self.writes_until

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to look at it (half a second early counts: queues count whole seconds)."""
        return self.due_at is None or self.due_at <= now + timedelta(milliseconds=500)

    @property
    def job_id(self) -> str | None:
        """The hub job of the present attempt; None before the first. Derived from what the ledger holds, so that
        a creation that is repeated after a lost answer meets the job it made.
        """
        if self.acted_at is None:
            return None
        digest = hashlib.sha256(f"{self.id}/{self.started_at.isoformat()}".encode()).hexdigest()[:20]
        return f"rollover-{digest}-{int(self.acted_at.timestamp() * 1000)}"


def individual_partition(registration_id: str) -> str:
    """The ledger's partition of an individual enrollment, or of a group's device."""
    return f"individual.{registration_id.lower()}"


def group_partition(group_id: str) -> str:
    """The ledger's partition of an enrollment group."""
    return f"group.{group_id.lower()}"


def reported_compromised(rollovers: Iterable[Rollover]) -> set[str]:
    """SHA-256 thumbprints that these rollovers of one target were begun to get rid of."""
    breaches = [one for one in rollovers if one.reports]
    return {certificate.known_as for one in breaches if one.incident for certificate in one.leaving}


def has_waited(rollover: Rollover, why: str, now: datetime) -> timedelta:
    """How long it has waited for this reason; what follows a colon (a service's own words) may differ each time."""
    same = (rollover.waiting_for or "").partition(":")[0] == why.partition(":")[0]
    return now - rollover.waiting_since if same and rollover.waiting_since else timedelta()


def does_already(rollover: Rollover, plan: Plan, mode: Mode, thumbprints: Collection[str], now: datetime) -> bool:
    """Whether an open rollover does what a person's call asks for, of these certificates."""
    incident = rollover.incident
    if rollover.outcome is not None or incident is None or (rollover.plan, incident.mode) != (plan, mode):
        return False
    if incident.awaits_approval and incident.approve_by is not None and incident.approve_by <= now:
        return False
    return {one.known_as for one in incident.compromised}.issuperset(thumbprints)
