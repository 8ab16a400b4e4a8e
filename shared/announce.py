"""Publishes lifecycle events: recorded first, published after, so that a crash repeats one at worst."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from shared.errors import Conflict, RolloverError
from shared.events import NOTES, Lifecycle, LogEvent, log, urgency
from shared.overdue import Overdue, overdue
from shared.rollover import Rollover
from shared.services import Services
from shared.telemetry import Metric, measure
from shared.tracing import within


def announce(rollover: Rollover, services: Services) -> Rollover:
    """Publish what lies in the outbox and clear it; the rollover as it then lies in the ledger.

    A topic that does not take the event never stops a rollover: the events stay in the outbox and the timer
    tries again. The event ID is made of rollover and record number, so a repeat can be recognised.
    """
    if not rollover.outbox:
        return rollover
    try:
        with within(rollover.trace):
            _publish(rollover, services)
        return services.ledger.record(replace(rollover, outbox=()), None)
    except Conflict:
        return rollover  # another nudge is at work; it will find the outbox and publish the same events again
    except RolloverError as error:
        measure(Metric.ANNOUNCE_FAILED)
        log(
            LogEvent.ANNOUNCE_FAILED,
            rollover_id=rollover.id,
            registration_id=rollover.registration_id,
            why=str(error),
        )
        return rollover


def _publish(rollover: Rollover, services: Services) -> None:
    for entry in rollover.outbox:
        event_type, _, number = entry.partition("/")
        late = overdue(rollover, services.now(), services.settings.policy) if event_type == _WAITS else None
        services.topic.publish(
            f"{rollover.id}/{number}",
            event_type,
            rollover.target,
            event_data(rollover, event_type, late),
            services.now(),
        )


SAID_AGAIN_AFTER = timedelta(hours=24)
"""When something that still holds, and belongs to no rollover, is announced anew."""


def announce_once(
    kind: Lifecycle, source: str, subject: str, why: str, data: Mapping[str, str], services: Services
) -> bool:
    """Note something that belongs to no open rollover in the ledger, and tell the topic once a day while it holds;
    whether it was time to tell."""
    known = services.ledger.refused_input(source, subject, why)
    still = known is not None and services.now() - known.last_seen < SAID_AGAIN_AFTER
    announced = known is not None and known.announced and still
    if is_news := not announced:
        try:
            event_id = f"{source}/{subject}/{services.now():%Y%m%dT%H%M%S}"
            told = {"urgency": urgency(kind), **data, "reason": why}
            services.topic.publish(event_id, kind.value, subject, told, services.now())
            announced = True
        except RolloverError as error:
            measure(Metric.ANNOUNCE_FAILED)
            log(LogEvent.ANNOUNCE_FAILED, subject=subject, why=str(error))
    services.ledger.note_refused(source, subject, why, services.now(), announced=announced)
    return is_news


_WAITS = Lifecycle.WAITING_TOO_LONG


def event_data(rollover: Rollover, kind: str, late: Overdue | None = None) -> dict[str, str | int | None]:
    """What a lifecycle event of a rollover says (docs/notifications.md); ``late`` of one that waits too long still."""
    incoming = rollover.incoming
    contains = rollover.plan.contains and not (kind == _WAITS and rollover.contained)
    return {
        "urgency": urgency(kind, contains=contains),
        "rolloverId": rollover.id,
        "plan": rollover.plan,
        "registrationId": rollover.registration_id,
        "deviceId": rollover.device_id,
        "enrollmentGroupId": rollover.group_id,
        "certificateName": rollover.certificate_name,
        "outgoingSha256Thumbprint": rollover.outgoing.sha256_thumbprint,
        "incomingSha256Thumbprint": incoming.sha256_thumbprint if incoming else None,
        "status": rollover.status,
        "incidentId": rollover.incident.id if rollover.incident else None,
        "reason": late.why if late else rollover.outcome_reason,
        "nextStep": late.next_step if late else rollover.next_action,
        # They lie outside the table: who rewrites the whole history there cannot rewrite these (shared.chain).
        "historyRecords": rollover.records,
        "historyHead": rollover.head,
        **({"note": NOTES[kind]} if kind in NOTES else {}),
    }
