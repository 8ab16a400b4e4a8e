"""Nudges what is due: the safety net under every event and message, and the clock of long waits."""

from datetime import timedelta

from shared.announce import announce
from shared.errors import RolloverError
from shared.events import LogEvent, log
from shared.services import Services
from shared.telemetry import Metric, measure

LIFE = timedelta(minutes=6)
"""A nudge of the timer dies after this: the next turns nudge again, so nudges do not pile up behind slow steps.
Longer than the tries of one message take (``host.json``: five, a minute apart), so that a failing step gets to
poison."""


def resume_due(services: Services) -> int:
    """Nudge every open rollover that is due, then publish what is unpublished; how many were seen.

    Writes nothing but what it publishes: the step decides what the nudge is worth. Nudges come first, and one event
    that cannot be published ends the publishing for this turn: a topic that is down must not hold up a rollover.
    """
    now = services.now()
    found = list(services.ledger.due(now))
    for rollover in found:
        if rollover.next_step is None or not rollover.is_due(now):
            continue
        try:
            services.nudges.send(rollover.next_step, rollover.id, life=LIFE)
        except RolloverError as error:  # the next turn tries again; the others must not wait for it
            log(
                LogEvent.STORAGE_DOWN,
                rollover_id=rollover.id,
                registration_id=rollover.registration_id,
                step=rollover.next_step,
                why=str(error),
            )
    for rollover in found:
        if rollover.outbox and announce(rollover, services).outbox:
            break
    measure(Metric.DUE, len(found))
    log(LogEvent.RESUMED, count=len(found))
    return len(found)
