"""Nudges what is due: the safety net under every event and message, and the clock of long waits."""

from shared.announce import announce
from shared.errors import RolloverError
from shared.events import LogEvent, log
from shared.services import Services


def resume_due(services: Services) -> int:
    """Nudge every open rollover that is due, and publish what is unpublished; how many were seen.

    Writes nothing but what it publishes: the step decides what the nudge is worth.
    """
    count = 0
    now = services.now()
    for rollover in services.ledger.due(now):
        count += 1
        current = announce(rollover, services)
        if current.next_step is None or not current.is_due(now):
            continue
        try:
            services.nudges.send(current.next_step, current.id)
        except RolloverError as error:  # the next turn tries again; the others must not wait for it
            log(LogEvent.STORAGE_DOWN, rollover_id=current.id, why=str(error))
    log(LogEvent.RESUMED, count=count)
    return count
