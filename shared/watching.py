"""Looks for rollovers that wait too long: nobody nudges about what stands still. Says so, once, and never acts."""

from dataclasses import replace

from shared.announce import announce
from shared.errors import RolloverError
from shared.events import Lifecycle, LogEvent, log
from shared.overdue import Overdue, overdue
from shared.rollover import Rollover
from shared.rows import History
from shared.services import Services
from shared.telemetry import Metric, measure


def tell_overdue(services: Services) -> int:
    """Announce every open rollover that has waited too long and was not announced; how many wait too long now."""
    now, policy = services.now(), services.settings.policy
    count = 0
    for rollover in services.ledger.open():
        found = overdue(rollover, now, policy)
        if found is None:
            continue
        count += 1
        if rollover.told_overdue_at is None and not rollover.acts_now(now):
            _tell(rollover, found, services)
    measure(Metric.OVERDUE, count)
    return count


def _tell(rollover: Rollover, found: Overdue, services: Services) -> None:
    """Said in the log first: a ledger that takes no record must not make it silent, so until it does, at every turn."""
    now, step = services.now(), rollover.next_step
    log(
        LogEvent.WAITING_TOO_LONG,
        rollover_id=rollover.id,
        registration_id=rollover.registration_id or None,
        group_id=rollover.group_id,
        step=step,
        plan=rollover.plan,
        why=found.why,
        next_action=found.next_step,
    )
    event = f"{Lifecycle.WAITING_TOO_LONG}/{rollover.records + 1}"
    told = replace(rollover, told_overdue_at=now, outbox=(*rollover.outbox, event))
    record = History(now, "watch", "waits too long", f"{found.why}. Next: {found.next_step}", step)
    try:
        recorded = services.ledger.record(told, record)
    except RolloverError:
        return  # it goes on at this moment, or the table is down: the next turn looks again
    announce(recorded, services)
