"""What a person does to rollovers and devices: cancel, retry, approve, disallow and allow.

Every call stands in the history with the caller's name and reason, and a repeated one changes nothing more.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from shared.announce import announce
from shared.callers import Caller, Role, require
from shared.certificate import Certificate, Outgoing
from shared.enrollment import Enrollment, Slot, why_not_ours
from shared.errors import Conflict, NotFound, NotPermitted, Unsuitable
from shared.events import Lifecycle, LogEvent, log
from shared.group_device import (
    check_may_be_of_group,
    had_enrollment,
    leaf_to_let_in,
    leaves_to_keep_out,
    made_for_disallowing,
)
from shared.incident import Incident, Mode
from shared.opening import TRIES, begin, shut_doors
from shared.plans import Plan, Step
from shared.rollover import Outcome, Rollover
from shared.rows import History
from shared.selecting import Selector, device_of, select
from shared.services import Services
from shared.stepping import nudge_next
from shared.telemetry import SpanName, measure_ended
from shared.tracing import continuing
from shared.transitions import approved, cancelled, reopened

EXECUTE = frozenset({Role.BREACH_EXECUTE})
OPERATE = frozenset({Role.BREACH_EXECUTE, Role.ROLLOVER_OPERATE})


def cancel(rollover_id: str, reason: str, caller: Caller, services: Services) -> Rollover:
    """End an open rollover where it is. Nothing is undone: what is disabled stays so, and is said.

    Raises:
        NotFound: there is none.
        NotPermitted: what contains a breach is ended only by who may begin it.
        Unsuitable: it has ended already.
    """

    def change(rollover: Rollover) -> tuple[Rollover, str]:
        if not rollover.plan.expires:
            require(caller, EXECUTE)
        if rollover.outcome is Outcome.CANCELLED:
            raise _Nothing(rollover)
        if rollover.outcome is not None:
            raise Unsuitable(f"{rollover.id} has ended as {rollover.status}")
        ended = cancelled(rollover, f"{caller.who}: {reason}", _after_cancel(rollover), services.now())
        event = f"{Lifecycle.CANCELLED.value}/{rollover.records + 1}"
        return replace(ended, outbox=(*ended.outbox, event)), "cancelled"

    return _change(rollover_id, change, reason, caller, services)


def _after_cancel(rollover: Rollover) -> str:
    retry = f"POST /api/rollovers/{rollover.id}/retry goes on where it was"
    if rollover.plan.expires and Step.STAGE_HUB_THUMBPRINT in rollover.done:
        return (
            f"{retry}; the sweep begins it again after a day. Device and hub may use either certificate now: a newer"
            " version of the vault is taken up once the device has registered with one of them"
        )
    if rollover.plan.expires:
        return f"{retry}; the sweep begins it again after a day, or when the vault has a new version"
    return (
        f"{retry}. Nothing was undone: the enrollment may be disabled, the hub identity disabled or gone; after a false"
        " alarm, enable the enrollment by hand: while it is enabled, the sweep rolls it as any other"
    )


def retry(rollover_id: str, reason: str, routes: tuple[str, ...], caller: Caller, services: Services) -> Rollover:
    """Go on with a rollover that ended without being done, where it was; an open one looks again at once.

    ``routes`` are escape routes to accept.

    Raises:
        NotFound, NotPermitted: as ``cancel``.
        Unsuitable: it is done, or its target has a later one; or routes are accepted of what nobody has approved.
    """

    def change(rollover: Rollover) -> tuple[Rollover, str]:
        if not rollover.plan.expires:
            require(caller, EXECUTE)
        if rollover.outcome is None:
            return _at_once(rollover, routes, services.now()), "looks again"
        if rollover.outcome in (Outcome.DONE, Outcome.PREEMPTED):
            raise Unsuitable(f"{rollover.id} has ended as {rollover.status}: {rollover.outcome_reason}")
        last = services.ledger.last_like(rollover)
        if last is not None and last.id != rollover.id:
            raise Unsuitable(f"{last.id} is a later rollover of the same target")
        if rollover.incident is not None and rollover.incident.awaits_approval:
            raise Unsuitable(f"nobody approved {rollover.id} in time; call the breach again")
        return _accepting(reopened(rollover, services.now()), routes), "goes on"

    rollover = _change(rollover_id, change, reason, caller, services)
    nudge_next(rollover, services)
    return rollover


def _at_once(rollover: Rollover, routes: tuple[str, ...], now: datetime) -> Rollover:
    """An open rollover that is looked at now, for all that it has waited so far counts on; never one that a step is at
    work on, or that waits for a second person."""
    if rollover.awaits_approval:
        if routes:
            raise Unsuitable(f"nobody has approved {rollover.id} yet; accept escape routes once somebody has")
        raise _Nothing(rollover)
    again = _accepting(rollover, routes)
    if rollover.waiting_for and rollover.due_at and rollover.due_at > now:
        return replace(again, due_at=now)
    if again == rollover:
        raise _Nothing(rollover)
    return again


def _accepting(rollover: Rollover, routes: tuple[str, ...]) -> Rollover:
    if rollover.incident is None:
        return rollover
    accepted = tuple(dict.fromkeys((*rollover.incident.accepted_routes, *routes)))
    return replace(rollover, incident=replace(rollover.incident, accepted_routes=accepted))


def note_on_open(before: Rollover) -> str | None:
    """What a retry means to a rollover that was open; None when it had ended."""
    if before.outcome is not None:
        return None
    if before.awaits_approval:
        return "nothing was changed: it is open, and waits for a second person to approve it"
    if before.waiting_for:
        return f"it is open, and looks again at once; it waits: {before.waiting_for}"
    return "it is open: it is being carried out"


def approve(rollover_id: str, reason: str, caller: Caller, services: Services) -> Rollover:
    """A second person agrees, to all of the incident at once; the doors are shut before this returns.

    Raises:
        NotFound: there is none.
        NotPermitted: the first person is not a second one.
        Unsuitable: it waits for no approval.
    """

    def change(rollover: Rollover) -> tuple[Rollover, str]:
        incident = rollover.incident
        if incident is not None and incident.approved_by == caller.who:
            raise _Nothing(rollover)
        if incident is None or not rollover.awaits_approval:
            raise Unsuitable(f"{rollover.id} waits for no approval: it is {rollover.status}")
        if incident.requested_by_id == caller.object_id:
            raise NotPermitted("a second person must approve, not the one who called", [Role.BREACH_EXECUTE])
        if incident.approve_by is not None and incident.approve_by <= services.now():
            raise Unsuitable("the time to approve it is over; nothing was done: call the breach again")
        return approved(rollover, caller.who, services.now()), "approved"

    rollover = _change(rollover_id, change, reason, caller, services)
    # What one person called for at once, a second one approves at once.
    rest = [one for one in _same_incident(rollover, services) if one.awaits_approval]
    agreed = [rollover, *(_change(one.id, change, reason, caller, services) for one in rest)]
    shut_doors([one for one in agreed if one.outcome is None], services)
    return services.ledger.read(rollover.id)


def _same_incident(rollover: Rollover, services: Services) -> list[Rollover]:
    return list(services.ledger.matching(incident=rollover.incident.id)) if rollover.incident else []


class _Nothing(Exception):
    """The call has been carried out before."""

    def __init__(self, rollover: Rollover) -> None:
        super().__init__(rollover.id)
        self.rollover = rollover


def _change(
    rollover_id: str,
    change: Callable[[Rollover], tuple[Rollover, str]],
    reason: str,
    caller: Caller,
    services: Services,
) -> Rollover:
    """Change a rollover as it stands; again if a step of it went on at the same moment."""
    for _ in range(TRIES):
        rollover = services.ledger.read(rollover_id)
        try:
            new, what = change(rollover)
            record = History(services.now(), caller.who, what, reason)
            new = services.ledger.record(replace(new, etag=rollover.etag), record)
        except _Nothing as nothing:
            return nothing.rollover
        except Conflict:
            continue
        measure_ended(new)
        with continuing(new, SpanName.CHANGE, what=what):
            log(
                LogEvent.OPERATED,
                rollover_id=new.id,
                registration_id=new.registration_id,
                what=what,
                caller=caller.who,
                why=reason,
            )
            return announce(new, services)
    raise Conflict(f"{rollover_id} goes on faster than it can be changed; call again")


def disallow(
    device_id: str,
    reason: str,
    ticket: str | None,
    caller: Caller,
    services: Services,
    leaf: Certificate | None = None,
    *,
    preview: bool = False,
) -> Rollover:
    """Keep one device out, by DPS and by the hub, until ``allow``: nothing of it is lost. A device of a group gets an
    enrollment of its own for that, with its ``leaf`` (or the one that the vault has). With ``preview`` nothing is
    changed: what comes back would be begun, or is the open one that does it already.

    Raises:
        NotFound, Unsuitable: no device, or not one, has this ID; or a breach is at work on it.
    """
    incident = _incident(Plan.DISALLOW, reason, ticket, caller, services)
    new, last = _disallowing(device_id, leaf, incident, services)
    return new if preview or new is last else _begin(new, last, services)


def _disallowing(
    device_id: str, sent: Certificate | None, incident: Incident, services: Services
) -> tuple[Rollover, Rollover | None]:
    """What is to be begun, and the target's last rollover; the same twice where that does it already."""
    try:
        enrollment = select(Selector("device_id", device_id), services)[0]
    except NotFound:
        return _disallowing_of_group(device_id, sent, incident, services)
    last = services.ledger.last(enrollment.registration_id)
    if last is not None and last.outcome is None and last.plan is Plan.DISALLOW:
        return last, last
    _check_suitable(enrollment, last, Plan.DISALLOW, services)
    if last is not None and last.incident is not None:
        incident = replace(incident, leaf=last.incident.leaf, other_leaf=last.incident.other_leaf)
    return _of(enrollment, last, Plan.DISALLOW, incident, services), last


def _disallowing_of_group(
    device_id: str, sent: Certificate | None, incident: Incident, services: Services
) -> tuple[Rollover, Rollover | None]:
    check_may_be_of_group(device_id, services)
    last = services.ledger.last(device_id)
    if last is not None and last.outcome is None and last.plan is Plan.DISALLOW:
        return last, last
    leaf, other, name = leaves_to_keep_out(device_id, sent, last, services)
    new = Rollover(
        id="",
        plan=Plan.DISALLOW,
        registration_id=device_id,
        device_id=device_id,
        certificate_name=name,
        cause=f"call of {incident.requested_by}",
        started_at=services.now(),
        outgoing=Outgoing(
            leaf.sha1_thumbprint,
            leaf.sha256_thumbprint,
            leaf.not_after,
            leaf.public_key_sha256,
            leaf.subject,
            leaf.issuer,
        ),
        standby=Slot.SECONDARY,
        incident=replace(incident, leaf=leaf.pem, other_leaf=other.pem if other else ""),
    )
    return new, last


def allow(device_id: str, reason: str, caller: Caller, services: Services, leaf: Certificate | None = None) -> Rollover:
    """Take a disallowing back. A device of a group comes back through its group with a new ``leaf`` (or that which the
    vault has); the old one stays kept out.

    Raises:
        NotFound, Unsuitable: as ``disallow``; or its enrollment holds a certificate that was reported compromised.
    """
    enrollment = select(Selector("device_id", device_id), services)[0]
    last = services.ledger.last(enrollment.registration_id)
    if last is not None and last.outcome is None and last.plan is Plan.ALLOW:
        return last
    _check_suitable(enrollment, last, Plan.ALLOW, services)
    new = _of(enrollment, last, Plan.ALLOW, _incident(Plan.ALLOW, reason, None, caller, services), services)
    instead_of_group = made_for_disallowing(last) and not had_enrollment(services.ledger.rollovers(new.registration_id))
    if instead_of_group and last is not None and new.incident is not None and last.incident is not None:
        incoming, name = leaf_to_let_in(enrollment, last, leaf, services)
        kept_out = replace(
            new.incident,
            compromised=tuple(one.as_outgoing() for one in enrollment.certificates()),
            was_enabled=False,
            leaf=last.incident.leaf,
            other_leaf=last.incident.other_leaf,
        )
        new = replace(new, incoming=incoming, certificate_name=name, incident=kept_out)
    elif leaf is not None:
        raise Unsuitable(
            "leaf_certificate is for devices of groups; this one comes back with what its enrollment holds"
        )
    return _begin(new, last, services)


def _incident(plan: Plan, reason: str, ticket: str | None, caller: Caller, services: Services) -> Incident:
    return Incident(
        id=f"{plan.value}-{services.now():%Y%m%dT%H%M%S}",
        mode=Mode.DISABLE,
        reason=reason,
        requested_by=caller.who,
        requested_by_id=caller.object_id,
        compromised=(),
        ticket=ticket,
    )


def _of(enrollment: Enrollment, last: Rollover | None, plan: Plan, incident: Incident, services: Services) -> Rollover:
    return Rollover(
        id="",
        plan=plan,
        registration_id=enrollment.registration_id,
        device_id=device_of(enrollment),
        certificate_name=last.certificate_name if last else "",
        cause=f"call of {incident.requested_by}",
        started_at=services.now(),
        outgoing=enrollment.certificates()[0].as_outgoing(),
        standby=Slot.SECONDARY,
        incident=incident,
    )


def _begin(new: Rollover, last: Rollover | None, services: Services) -> Rollover:
    incident = new.incident
    who, why = (incident.requested_by, incident.reason) if incident else ("", "")
    new = replace(new, due_at=new.started_at, outbox=(f"{Lifecycle.STARTED.value}/1",))
    begun = begin(new, last, History(new.started_at, who, "confirmed", why), services)
    shut_doors([begun], services)
    return services.ledger.read(begun.id)


def _check_suitable(enrollment: Enrollment, last: Rollover | None, plan: Plan, services: Services) -> None:
    if last is not None and last.outcome is None and last.plan.replaces:
        raise Unsuitable(f"the breach {last.id} is at work on this device; see GET /api/rollovers/{last.id}")
    if last is not None and last.outcome is Outcome.NEEDS_PERSON and last.plan.replaces:
        # In its place, its retry would be refused, and the twin that it keeps never be restored.
        raise Unsuitable(f"the breach {last.id} needs a person first: {last.next_action}".replace("{id}", last.id))
    if reason := why_not_ours(enrollment):
        raise Unsuitable(reason)
    if not enrollment.certificates():
        raise Unsuitable("the enrollment has no certificate in either slot")
    compromised = services.ledger.compromised(enrollment.registration_id)
    held = [one.sha256_thumbprint for one in enrollment.certificates() if one.sha256_thumbprint in compromised]
    if plan is Plan.ALLOW and held:
        raise Unsuitable(f"a slot holds a certificate that was reported compromised (SHA-256 {held[0]})")
