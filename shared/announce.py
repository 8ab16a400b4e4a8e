"""Publishes a rollover's lifecycle events: recorded first, published after, so that a crash repeats one at worst."""

from dataclasses import replace

from shared.errors import Conflict, RolloverError
from shared.events import LogEvent, log
from shared.rollover import Rollover
from shared.services import Services


def announce(rollover: Rollover, services: Services) -> Rollover:
    """Publish what lies in the outbox and clear it; the rollover as it then lies in the ledger.

    A topic that does not take the event never stops a rollover: the events stay in the outbox and the timer
    tries again. The event ID is made of rollover and record number, so a repeat can be recognised.
    """
    if not rollover.outbox:
        return rollover
    try:
        for entry in rollover.outbox:
            event_type, _, number = entry.partition("/")
            services.topic.publish(
                f"{rollover.id}/{number}",
                event_type,
                rollover.registration_id,
                _data(rollover),
                services.now(),
            )
        return services.ledger.record(replace(rollover, outbox=()), None)
    except Conflict:
        return rollover  # another nudge is at work; it will find the outbox and publish the same events again
    except RolloverError as error:
        log(LogEvent.ANNOUNCE_FAILED, rollover_id=rollover.id, why=str(error))
        return rollover


def _data(rollover: Rollover) -> dict[str, str | int | None]:
    incoming = rollover.incoming
    return {
        "rolloverId": rollover.id,
        "plan": rollover.plan,
        "registrationId": rollover.registration_id,
        "deviceId": rollover.device_id,
        "certificateName": rollover.certificate_name,
        "outgoingSha256Thumbprint": rollover.outgoing.sha256_thumbprint,
        "incomingSha256Thumbprint": incoming.sha256_thumbprint if incoming else None,
        "status": rollover.status,
        "incidentId": rollover.incident.id if rollover.incident else None,
        "reason": rollover.outcome_reason,
        "nextStep": rollover.next_action,
        # They lie outside the table: who rewrites the whole history there cannot rewrite these (shared.chain).
        "historyRecords": rollover.records,
        "historyHead": rollover.head,
    }
