"""Nudges the works on fleets that are due: the safety net under their messages."""

from shared.errors import BadInput, NotFound, RolloverError
from shared.events import LogEvent, log
from shared.fleet import BRINGS_BACK, Work
from shared.ledger import UNREADABLE
from shared.resuming import LIFE
from shared.rollover import Outcome, Rollover
from shared.services import Services


def resume_works(services: Services) -> int:
    """Nudge every work that is due, and forget those that are over; how many are open."""
    fleet, count = services.fleet, 0
    for key, rollover_id, work, round_ in fleet.open_works():
        try:
            rollover = services.ledger.read(rollover_id)
            head = fleet.head(rollover, work) if rollover.round == round_ else None
        except (BadInput, NotFound):
            continue  # a person edited its row
        except UNREADABLE as error:  # or that of the work, or a later release wrote it
            log(LogEvent.ROW_UNREADABLE, row=f"{rollover_id}/{work}", why=type(error).__name__)
            continue
        if (head and head.closed_at) or _is_over(rollover, work, round_, services):
            fleet.close(key)
            continue
        count += 1
        if head is None or head.due_at > services.now():
            continue
        try:
            services.nudges.send(work.step, f"{rollover_id}/{work}", life=LIFE)
        except RolloverError as error:  # the next turn of the timer tries again
            log(LogEvent.STORAGE_DOWN, rollover_id=rollover_id, why=str(error))
    return count


def _is_over(rollover: Rollover, work: Work, round_: int, services: Services) -> bool:
    """Whether nothing can make the work go on: neither the rollover itself nor a person's retry."""
    if rollover.round > round_:
        return True
    if rollover.outcome is None:
        return False
    if rollover.outcome is Outcome.DONE and work not in BRINGS_BACK:
        return True
    last = services.ledger.last_like(rollover)
    return last is not None and last.id != rollover.id
