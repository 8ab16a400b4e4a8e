"""Begins rollovers: from an event, from the sweep. Both end here, and starting twice starts once."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.announce import announce, announce_once
from shared.decide_expiry import BRING_ONLINE
from shared.enrollment import Enrollment, Registration
from shared.errors import Conflict, NotFound
from shared.events import Lifecycle, LogEvent, log
from shared.plans import Plan, Step
from shared.ports import Tagged
from shared.rollover import Outcome, Rollover
from shared.rows import History
from shared.screening import is_undone
from shared.selecting import device_of
from shared.services import Services
from shared.stepping import nudge_next
from shared.tags import ca_of_leaf, enrollment_of, group_of
from shared.target import Begin, CannotBegin, NothingToDo, decide_start
from shared.telemetry import tell_started
from shared.tracing import beginning
from shared.transitions import reopened

TRY_AGAIN_AFTER = timedelta(hours=24)
"""When a rollover that was refused, or needed a person, is begun anew although nothing new is known."""


@dataclass(frozen=True)
class Started:
    """What came of looking at one certificate: ``what`` is one of begun, nudged, open, nothing, cannot."""

    what: str
    why: str
    rollover_id: str | None = None


def start_rollover(certificate_name: str, cause: str, services: Services, *, hint: bool = True) -> Started:
    """Begin, or go on with, the rollover of the enrollment, or group, that this vault certificate belongs to.

    Args:
        cause: who or what asks, for the history.
        hint: something just changed, so an open rollover that waits is looked at now.

    Raises:
        ServiceUnavailable, ServiceRefused: a service did not answer; whoever asked should ask again.
    """
    tagged = services.vault.latest(certificate_name)
    if tagged is None:
        return cannot(certificate_name, f"the vault holds no certificate {certificate_name!r}", services)
    if group_id := group_of(tagged):
        from shared.group_starting import start_group_rollover  # it begins and goes on by what is below

        return start_group_rollover(group_id, tagged, cause, services, hint=hint)
    registration_id, how = enrollment_of(tagged)
    if registration_id is None:
        return cannot(certificate_name, how, services)
    enrollment = services.provisioning.enrollment(registration_id)
    admitted_by_group = enrollment is None or not enrollment.enabled
    if admitted_by_group and (ca := ca_of_leaf(tagged, services.vault.latest)):
        from shared.member_starting import start_member_rollover  # it begins and goes on by what is below

        return start_member_rollover(registration_id, enrollment, tagged, ca, cause, services, hint=hint)
    if enrollment is None:
        why = f"no individual enrollment {registration_id!r} in DPS ({how})"
        return cannot(certificate_name, why, services)
    services.devices.know(device_of(enrollment), enrollment.registration_id, certificate_name)
    last = services.ledger.last(enrollment.registration_id)
    if last is not None and keeps_breach_open(last):
        return _after_breach(last, tagged, enrollment, services, hint=hint)
    if last is not None and last.outcome is None:
        looks_now = hint or is_undone(last, enrollment)
        return hasten(last, services) if looks_now else Started("open", f"{last.id} is {last.status}", last.id)
    decision = _look_and_decide(tagged, enrollment, services)
    match decision:
        case NothingToDo(why=why):
            log(LogEvent.NOTHING_TO_DO, registration_id=enrollment.registration_id, why=why)
            return Started("nothing", why)
        case CannotBegin(why=why):
            return cannot(certificate_name, why, services)
        case Begin() if _would_bring_back_compromised(decision, tagged, enrollment, services):
            why = f"the vault's latest version, {tagged.latest.version}, is one that was reported compromised"
            return cannot(certificate_name, why, services)
        case Begin():
            new = _new_rollover(decision, tagged, enrollment, f"{cause} ({how})", services.now())
            if last is not None and ended_alike(last, new, tagged, enrollment.registration):
                why = f"{last.id} ended as {last.status}: {last.outcome_reason}"
                return Started("nothing", why, last.id)
            return begin_new(new, last, decision.why, services, alone=not hint)


def _after_breach(last: Rollover, tagged: Tagged, enrollment: Enrollment, services: Services, *, hint: bool) -> Started:
    """Go on with a breach that is not over; what it keeps from being rolled, although that is due, is said."""
    started = go_on_with_breach(last, tagged, services, hint=hint)
    if started.what == "nothing" and isinstance(_look_and_decide(tagged, enrollment, services), Begin):
        return cannot(tagged.name, f"{last.id} needs a person first: {last.next_action}", services)
    return started


def _look_and_decide(tagged: Tagged, enrollment: Enrollment, services: Services) -> Begin | NothingToDo | CannotBegin:
    identity = services.hub.identity(device_of(enrollment))
    newest = tagged.latest.certificate
    older = [c for c in enrollment.certificates() if c.sha256_thumbprint != newest.sha256_thumbprint]
    versions: dict[str, str] = {}
    if older:
        for sha1_thumbprint, version in services.vault.versions(tagged.name).items():
            enrolled = any(c.sha1_thumbprint == sha1_thumbprint for c in older)
            key = services.vault.public_key_sha256(tagged.name, version) if enrolled else ""
            versions[sha1_thumbprint] = key
    return decide_start(
        enrollment=enrollment,
        identity=identity,
        hub=services.settings.hub_hostname,
        latest=tagged.latest,
        versions=versions,
        now=services.now(),
        due=services.settings.due,
    )


def keeps_breach_open(last: Rollover) -> bool:
    """Whether the last rollover is a breach that is not over. One that needs a person is not, whatever the enrollment
    looks like: the hub may accept what is compromised, a twin wait to be restored, and its person was told to retry it.
    """
    return last.plan.replaces and last.outcome in (None, Outcome.NEEDS_PERSON)


def _would_bring_back_compromised(begin: Begin, tagged: Tagged, enrollment: Enrollment, services: Services) -> bool:
    newest = tagged.latest.certificate.sha256_thumbprint
    if newest == begin.outgoing.sha256_thumbprint:
        return False  # a new version is asked for
    return newest in services.ledger.compromised(enrollment.registration_id)


def ended_alike(last: Rollover, new: Rollover, tagged: Tagged, registration: Registration | None) -> bool:
    """Whether a device's last rollover was this very one, and ended too recently to be worth another try."""
    if last.plan is not new.plan or last.outgoing.sha256_thumbprint != new.outgoing.sha256_thumbprint:
        return False
    newest = tagged.latest.certificate.sha256_thumbprint
    tried = last.incoming.sha256_thumbprint if last.incoming else last.outgoing.sha256_thumbprint
    if newest not in (tried, last.outgoing.sha256_thumbprint):
        return False
    if last.outcome is Outcome.DONE:
        return False
    if last.ended_at is None:
        return False
    if last.next_action == BRING_ONLINE:
        registered = registration.last_updated if registration else None
        return registered is None or registered <= last.ended_at  # as the person was told
    return new.started_at - last.ended_at < TRY_AGAIN_AFTER


def _new_rollover(decision: Begin, tagged: Tagged, enrollment: Enrollment, cause: str, now: datetime) -> Rollover:
    registration = enrollment.registration
    return Rollover(
        id="",  # the ledger gives it
        plan=Plan.EXPIRY,
        registration_id=enrollment.registration_id,
        device_id=device_of(enrollment),
        certificate_name=tagged.name,
        cause=cause,
        started_at=now,
        outgoing=decision.outgoing,
        standby=decision.standby,
        replaces=decision.replaces,
        baseline=registration.last_updated if registration else None,
        on_incoming_at_start=decision.on_incoming_at_start,
        due_at=now,
        outbox=(f"{Lifecycle.STARTED.value}/1",),
    )


def begin_new(new: Rollover, last: Rollover | None, why: str, services: Services, *, alone: bool) -> Started:
    """Put a new rollover into the ledger and nudge it; somebody else's, begun at the same moment, is as good."""
    try:
        # A sweep (``alone``) begins many rollovers, an event one.
        with beginning(new.target, new.plan, new.cause, alone=alone) as trace:
            record = History(new.started_at, new.cause, "started", why)
            rollover = services.ledger.begin(replace(new, trace=trace), last, record)
            tell_started(rollover, why)
    except Conflict:
        return _begun_by_another(new, services)
    rollover = announce(rollover, services)
    nudge_next(rollover, services)
    return Started("begun", why, rollover.id)


def _begun_by_another(new: Rollover, services: Services) -> Started:
    begun = services.ledger.last_like(new)
    if begun is None:
        raise NotFound(f"the rollover in {new.partition!r} that began a moment ago")
    return Started("nudged", "it began a moment ago", begun.id)


def go_on_with_breach(rollover: Rollover, tagged: Tagged, services: Services, *, hint: bool) -> Started:
    """A breach that is not over keeps everything else away from its target, and takes a new version as soon as
    there is one: also one for a certificate that was tagged after the call, and after a person was asked for.
    """
    waits_for_version = Step.ISSUE_CERTIFICATE not in rollover.done and Step.VERIFY_CONTAINMENT in rollover.done
    tried = {one.sha256_thumbprint for one in rollover.leaving}
    fresh = tagged.latest.enabled and tagged.latest.certificate.sha256_thumbprint not in tried
    if rollover.outcome is Outcome.NEEDS_PERSON and waits_for_version and fresh and hint:
        why = f"the vault has version {tagged.latest.version} now"
        record = History(services.now(), f"certificate {tagged.name}", "goes on", why)
        again = replace(reopened(rollover, services.now()), certificate_name=tagged.name)
        rollover = services.ledger.record(again, record)
    if rollover.outcome is not None:
        return Started("nothing", f"{rollover.id} ended as {rollover.status}: {rollover.outcome_reason}", rollover.id)
    if not rollover.certificate_name:
        record = History(services.now(), f"certificate {tagged.name}", "is known", "its tag names this enrollment")
        rollover = services.ledger.record(replace(rollover, certificate_name=tagged.name), record)
    return hasten(rollover, services) if hint or fresh else Started("open", f"{rollover.id} is open", rollover.id)


def hasten(rollover: Rollover, services: Services) -> Started:
    """Something changed in the world: look at the open rollover now rather than when its wait is over."""
    now = services.now()
    if rollover.waiting_for and rollover.due_at and rollover.due_at > now:
        try:
            rollover = services.ledger.record(replace(rollover, due_at=now), None)
        except Conflict:
            return Started("nudged", "it is being carried out at this moment", rollover.id)
    nudge_next(rollover, services)
    return Started("nudged", "its rollover is open", rollover.id)


def cannot(certificate_name: str, why: str, services: Services) -> Started:
    """Say clearly that nothing will be rolled: in the log, in the ledger, and (once a reason) on the topic."""
    log(LogEvent.CANNOT_BEGIN, certificate=certificate_name, why=why)
    data = {"certificateName": certificate_name}
    announce_once(Lifecycle.CANNOT_BEGIN, "certificate", certificate_name, why, data, services)
    return Started("cannot", why)
