"""What a rollover is: one enrollment, an outgoing and an incoming certificate, and a plan. Pure.

A rollover is remembered as facts (which steps are done, what it waits for, how it ended); what comes next and
how it stands are computed from them.

    started ──> step 1 ──> ... ──> step n ──> done
                  │ └─ waits (why, until when), then looks again
                  ├──> refused        (the reason names what is wrong)
                  ├──> needs a person (the reason, and what to do next)  ─┐
                  ├──> cancelled      (by a person)                      ─┴─ a person's retry goes on where it was
                  └──> preempted      (a breach of the same target took its place)
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.certificate import Outgoing
from shared.enrollment import Slot
from shared.incident import Incident, Mode

ACT_LEASE = timedelta(minutes=2)
"""How long a step may take between noting that it acts and recording how it went. A nudge that comes in between
is early and ignored; after a crash the row is due again when the lease is over."""


LONGEST_PAUSE = timedelta(hours=12)
"""Between two rounds of a rollover that goes back again and again."""

UNDONE_OFTEN = 5
"""So many times back, with ever longer pauses (half an hour in all), is no accident any more: somebody is told."""


class Step(StrEnum):
    """One step of a plan: one function, one queue (``queue``), one state of the world that it establishes.

    ``UPLOAD_SECONDARY`` and ``DELETE_PRIMARY`` keep the names the procedure is known by (Microsoft's guide "How
    to roll X.509 certificates"). The slots swap at every rollover: which one is standby is computed.
    """

    ISSUE_CERTIFICATE = "issue_certificate"
    UPLOAD_SECONDARY = "upload_secondary"
    STAGE_HUB_THUMBPRINT = "stage_hub_thumbprint"
    INVOKE_REPROVISION_JOB = "invoke_reprovision_job"
    DELETE_PRIMARY = "delete_primary"
    DISABLE_ENROLLMENT = "disable_enrollment"
    REMOVE_HUB_REGISTRATION = "remove_hub_registration"
    VERIFY_CONTAINMENT = "verify_containment"
    ENABLE_ENROLLMENT = "enable_enrollment"
    RESTORE_TWIN = "restore_twin"
    ADD_CA_CERTIFICATE = "add_ca_certificate"
    DELETE_CA_CERTIFICATE = "delete_ca_certificate"

    @property
    def queue(self) -> str:
        """The storage queue that wakes this step (queue names take no underscore)."""
        return self.value.replace("_", "-")


class Plan(StrEnum):
    """Why a rollover happens, which decides the order of its steps."""

    EXPIRY = "expiry"
    BREACH = "breach"
    """Contain at once, then recover (modes remove and disable)."""
    BREACH_REPROVISION = "breach_reprovision"
    """The guide's second way: the device itself replaces the certificate at the hub, which accepts it until then."""
    DISALLOW = "disallow"
    ALLOW = "allow"
    """Takes a disallowing back."""
    GROUP_EXPIRY = "group_expiry"
    """An enrollment group: what it trusts is replaced, its devices are asked in waves."""
    GROUP_BREACH = "group_breach"
    """The same, contained first: the group's devices are evicted from the hub in batches."""

    @property
    def contains(self) -> bool:
        """Whether its purpose is that something is let in no longer."""
        return self in (Plan.BREACH, Plan.BREACH_REPROVISION, Plan.DISALLOW, Plan.GROUP_BREACH)

    @property
    def replaces(self) -> bool:
        """Whether a certificate of the enrollment is replaced because it is compromised."""
        return self in (Plan.BREACH, Plan.BREACH_REPROVISION, Plan.GROUP_BREACH)

    @property
    def expires(self) -> bool:
        """Whether a certificate is replaced because it nears its end: nobody may lose a connection."""
        return self in (Plan.EXPIRY, Plan.GROUP_EXPIRY)

    @property
    def of_group(self) -> bool:
        """Whether its target is an enrollment group."""
        return self in (Plan.GROUP_EXPIRY, Plan.GROUP_BREACH)


PLANS: Mapping[Plan, tuple[Step, ...]] = {
    Plan.EXPIRY: (
        Step.ISSUE_CERTIFICATE,
        Step.UPLOAD_SECONDARY,
        Step.STAGE_HUB_THUMBPRINT,
        Step.INVOKE_REPROVISION_JOB,  # while the outgoing certificate still connects
        Step.DELETE_PRIMARY,  # once the device was seen on the incoming one
    ),
    Plan.BREACH: (
        Step.DISABLE_ENROLLMENT,  # the door at DPS is shut with one write
        Step.REMOVE_HUB_REGISTRATION,  # because DPS changes nothing at the hub
        Step.VERIFY_CONTAINMENT,
        Step.ISSUE_CERTIFICATE,  # until there is one, it rests contained
        Step.UPLOAD_SECONDARY,
        Step.DELETE_PRIMARY,
        Step.ENABLE_ENROLLMENT,
        Step.RESTORE_TWIN,  # once the device is back
    ),
    Plan.BREACH_REPROVISION: (
        Step.DISABLE_ENROLLMENT,
        Step.ISSUE_CERTIFICATE,
        Step.UPLOAD_SECONDARY,
        Step.DELETE_PRIMARY,
        Step.ENABLE_ENROLLMENT,
        Step.INVOKE_REPROVISION_JOB,
        Step.REMOVE_HUB_REGISTRATION,  # here: no session from before is left
        Step.VERIFY_CONTAINMENT,
        Step.RESTORE_TWIN,  # where a breach whose place this one took had removed the identity
    ),
    Plan.DISALLOW: (Step.DISABLE_ENROLLMENT, Step.REMOVE_HUB_REGISTRATION, Step.VERIFY_CONTAINMENT),
    Plan.ALLOW: (Step.ENABLE_ENROLLMENT,),
    Plan.GROUP_EXPIRY: (
        Step.ISSUE_CERTIFICATE,
        Step.ADD_CA_CERTIFICATE,  # only where the group names its CA
        Step.UPLOAD_SECONDARY,
        Step.INVOKE_REPROVISION_JOB,  # in waves
        Step.DELETE_PRIMARY,  # at the completion threshold
        Step.DELETE_CA_CERTIFICATE,
    ),
    Plan.GROUP_BREACH: (
        Step.DISABLE_ENROLLMENT,  # one write, whatever the fleet's size
        Step.REMOVE_HUB_REGISTRATION,  # in batches: the hub pins leaves, whatever their CA
        Step.VERIFY_CONTAINMENT,
        Step.ISSUE_CERTIFICATE,
        Step.ADD_CA_CERTIFICATE,
        Step.UPLOAD_SECONDARY,
        Step.DELETE_PRIMARY,
        Step.DELETE_CA_CERTIFICATE,
        Step.ENABLE_ENROLLMENT,
        Step.RESTORE_TWIN,  # as the devices come back
    ),
}
"""The order of the steps, here and nowhere else; ``docs/rollover.md`` is drawn from it."""

ESTABLISHES: Mapping[Step, str] = {
    Step.ISSUE_CERTIFICATE: "the vault holds a version that may take over: same common name, new key",
    Step.UPLOAD_SECONDARY: "a slot of the enrollment holds the incoming certificate, the other is kept",
    Step.STAGE_HUB_THUMBPRINT: "the hub identity accepts the outgoing and the incoming certificate",
    Step.INVOKE_REPROVISION_JOB: "the hub identity shows the incoming certificate through a registration",
    Step.DELETE_PRIMARY: "neither a slot of the enrollment nor the hub identity holds the outgoing certificate",
    Step.DISABLE_ENROLLMENT: "DPS admits the device with no certificate",
    Step.REMOVE_HUB_REGISTRATION: "the hub accepts no compromised certificate, and has no session from before",
    Step.VERIFY_CONTAINMENT: "read back twice: neither DPS nor hub accepts a compromised certificate, no session lives",
    Step.ENABLE_ENROLLMENT: "DPS admits the device again, and the hub does where its identity was only disabled",
    Step.RESTORE_TWIN: "the device is back, and its twin has the tags and desired properties that it had",
    Step.ADD_CA_CERTIFICATE: "the incoming CA certificate is in DPS, and verified",
    Step.DELETE_CA_CERTIFICATE: "the outgoing CA certificate is not in DPS",
}


class Outcome(StrEnum):
    """How a rollover ended."""

    DONE = "done"
    REFUSED = "refused"
    NEEDS_PERSON = "needs_person"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"


# --- verdicts: what a step decides this time -------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """Change the world now. ``ask`` goes to the effect: parameters that the decision fixed."""

    why: str
    ask: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class AlreadyDone:
    """What the step establishes holds already."""

    why: str


class HeldUp(StrEnum):
    """Why a step could not even look, or act: not its own wait, but a service's."""

    REFUSED = "refused"
    """Not allowed, or not yet: a role may be on its way."""
    UNANSWERED = "unanswered"
    """Down, or throttling."""


@dataclass(frozen=True)
class Wait:
    """Not yet; look again after ``delay``. Waiting is normal and costs no retry."""

    why: str
    delay: timedelta
    held_up: HeldUp | None = None
    next_step: str = ""
    """For the person who is called when it lasts too long, where that is not just to mend what is waited for."""


@dataclass(frozen=True)
class Back:
    """The world changed so that an earlier step no longer holds: go back to it."""

    why: str
    to: Step


@dataclass(frozen=True)
class Refuse:
    """This rollover must not go on; ``why`` names what is wrong, ``next_step`` what a person can do about it."""

    why: str
    next_step: str = ""


@dataclass(frozen=True)
class NeedsPerson:
    """Only a person can go on; ``next_step`` says how."""

    why: str
    next_step: str


Verdict = Act | AlreadyDone | Wait | Back | Refuse | NeedsPerson


# --- the rollover ----------------------------------------------------------------------------------------------


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
    """Of the individual enrollment; empty for a group."""
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
        """The registration ID of the enrollment, or the ID of the group."""
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
    """The ledger's partition of an individual enrollment."""
    return f"individual.{registration_id.lower()}"


def group_partition(group_id: str) -> str:
    """The ledger's partition of an enrollment group."""
    return f"group.{group_id.lower()}"


def reported_compromised(rollovers: Iterable[Rollover]) -> set[str]:
    """SHA-256 thumbprints that these rollovers of one target were begun to get rid of."""
    breaches = [one for one in rollovers if one.reports]
    return {certificate.known_as for one in breaches if one.incident for certificate in one.leaving}


def intend(rollover: Rollover, now: datetime) -> Rollover:
    """The rollover as recorded just before a step acts: the act is counted and leased."""
    return replace(
        rollover,
        acts=rollover.acts + 1,
        acted_at=now,
        waiting_for=None,
        waiting_since=None,
        due_at=now + ACT_LEASE,
    )


def unacted(rollover: Rollover, before: Rollover) -> Rollover:
    """The rollover when the act that was counted never got to the service: it waits on as ``before`` the act."""
    return replace(rollover, acts=before.acts, waiting_for=before.waiting_for, waiting_since=before.waiting_since)


def has_waited(rollover: Rollover, why: str, now: datetime) -> timedelta:
    """How long it has waited for this reason; what follows a colon (a service's own words) may differ each time."""
    same = (rollover.waiting_for or "").partition(":")[0] == why.partition(":")[0]
    return now - rollover.waiting_since if same and rollover.waiting_since else timedelta()


def advance(
    rollover: Rollover,
    verdict: Verdict,
    now: datetime,
    *,
    incoming: Incoming | None = None,
    registered: datetime | None = None,
) -> Rollover:
    """The rollover after a verdict on its next step.

    ``incoming`` is the vault's version that ``issue_certificate`` looked at; other steps ignore it. ``registered`` is
    when the device had last registered: once no slot holds what is compromised, a later one is with another
    certificate. A rollover that ended is returned as it is.
    """
    step = rollover.next_step
    if step is None:
        return rollover
    match verdict:
        case AlreadyDone(why=why):
            done = (*rollover.done, step)
            found = incoming if step is Step.ISSUE_CERTIFICATE else rollover.incoming
            last_compromised = step is Step.DELETE_PRIMARY and rollover.plan.replaces
            baseline = registered if last_compromised else rollover.baseline
            moved_on = replace(_arrived(rollover, now), done=done, incoming=found, baseline=baseline)
            return moved_on if moved_on.next_step else _end(moved_on, Outcome.DONE, why, None, now)
        case Back(why=why, to=to):
            order = PLANS[rollover.plan]
            kept = tuple(s for s in rollover.done if order.index(s) < order.index(to))
            found = None if to is Step.ISSUE_CERTIFICATE else rollover.incoming
            # A world that keeps undoing what was done is met ever more rarely, so that no two loops fight.
            pause = min(timedelta(minutes=2**rollover.backs - 1), LONGEST_PAUSE)
            anew = rollover.plan is Plan.GROUP_BREACH or to is Step.ISSUE_CERTIFICATE  # else the moved stay moved
            back = replace(
                _arrived(rollover, now),
                done=kept,
                incoming=found,
                backs=min(rollover.backs + 1, 16),
                round=rollover.round + (rollover.plan.of_group and anew),
            )
            return replace(back, waiting_for=why, waiting_since=now, due_at=now + pause) if pause else back
        case Act():
            seeing = _held_up(rollover, None, now)
            return replace(seeing, waiting_for=None, waiting_since=None, due_at=now)
        case Wait(why=why, delay=delay, held_up=held_up):
            since = now - has_waited(rollover, why, now)
            still = _held_up(rollover, held_up, now)
            return replace(still, waiting_for=why, waiting_since=since, due_at=now + delay)
        case Refuse(why=why, next_step=next_step):
            looked_at = incoming if step is Step.ISSUE_CERTIFICATE else rollover.incoming
            return _end(replace(rollover, incoming=looked_at), Outcome.REFUSED, why, next_step or None, now)
        case NeedsPerson(why=why, next_step=next_step):
            return _end(rollover, Outcome.NEEDS_PERSON, why, next_step, now)


def cancelled(rollover: Rollover, why: str, next_action: str, now: datetime) -> Rollover:
    """The rollover that a person ends where it is."""
    return _end(rollover, Outcome.CANCELLED, why, next_action, now)


def does_already(rollover: Rollover, plan: Plan, mode: Mode, thumbprints: Collection[str], now: datetime) -> bool:
    """Whether an open rollover does what a person's call asks for, of these certificates."""
    incident = rollover.incident
    if rollover.outcome is not None or incident is None or (rollover.plan, incident.mode) != (plan, mode):
        return False
    if incident.awaits_approval and incident.approve_by is not None and incident.approve_by <= now:
        return False
    return {one.known_as for one in incident.compromised}.issuperset(thumbprints)


def preempted(rollover: Rollover, by: str, now: datetime) -> Rollover:
    """The rollover whose place another one of the same target takes."""
    return _end(rollover, Outcome.PREEMPTED, f"{by} took its place", None, now)


def reopened(rollover: Rollover, now: datetime) -> Rollover:
    """A rollover that ended without being done, going on where it was, with all its patience."""
    open_again = replace(rollover, outcome=None, outcome_reason=None, next_action=None, ended_at=None)
    # What was given up on a group's devices is tried again, by another round of the work; who moved stays moved.
    round_ = rollover.round + (rollover.plan is Plan.GROUP_BREACH)
    return replace(_arrived(replace(open_again, backs=0), now), reopened_at=now, round=round_)


def approved(rollover: Rollover, who: str, now: datetime) -> Rollover:
    """The rollover once a second person agreed."""
    if rollover.incident is None:
        raise ValueError("only what a person asked for is approved")
    return replace(rollover, incident=replace(rollover.incident, approved_by=who), arrived_at=now, due_at=now)


def _held_up(rollover: Rollover, by: HeldUp | None, now: datetime) -> Rollover:
    """How long services have been in the way: over when a look came through, not when another one is in the way."""
    refused = rollover.refused_since or (now if by is HeldUp.REFUSED else None)
    return replace(
        rollover,
        held_up_since=(rollover.held_up_since or now) if by else None,
        refused_since=refused if by else None,
    )


def _arrived(rollover: Rollover, now: datetime) -> Rollover:
    # What is undone again and again does not go on: it was told so, and that once.
    told = rollover.told_overdue_at if rollover.backs >= UNDONE_OFTEN else None
    return replace(
        rollover,
        acts=0,
        acted_at=None,
        waiting_for=None,
        waiting_since=None,
        arrived_at=now,
        held_up_since=None,
        refused_since=None,
        told_overdue_at=told,
        due_at=now,
    )


def _end(rollover: Rollover, outcome: Outcome, why: str, next_action: str | None, now: datetime) -> Rollover:
    return replace(
        rollover,
        outcome=outcome,
        outcome_reason=why,
        next_action=next_action,
        waiting_for=None,
        due_at=None,
        ended_at=now,
    )
