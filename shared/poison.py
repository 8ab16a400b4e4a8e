"""What becomes of a message that failed too often."""

from dataclasses import replace

from shared.announce import announce
from shared.errors import BadInput, Conflict, NotFound
from shared.events import LogEvent, log
from shared.nudges import decode_nudge
from shared.plans import Step
from shared.rollover import Rollover
from shared.rows import History
from shared.services import Services
from shared.stepping import lifecycle_of, refuse_input
from shared.telemetry import Metric, SpanName, measure, measure_ended
from shared.tracing import continuing
from shared.transitions import advance
from shared.verdict import NeedsPerson


def report(step: Step, message: bytes, services: Services) -> None:
    """Mark the rollover of a poisoned message "needs a person", unless it has gone on in the meantime.

    The message of a work on a fleet (``<rollover>/<work>/<batch>``) fails so often only where the work's rows cannot be
    read or written: what goes wrong in a turn, the batch counts by itself (``shared.fleet_work``).
    """
    try:
        rollover_id, _, work = decode_nudge(message).partition("/")
        rollover = services.ledger.read(rollover_id)
    except (BadInput, NotFound) as error:
        refuse_input(f"queue {step.queue}-poison", message, str(error), services)
        return
    measure(Metric.POISONED, step=step)
    with continuing(rollover, SpanName.POISON, step=step):
        log(LogEvent.POISONED, rollover_id=rollover.id, registration_id=rollover.registration_id, step=step)
        _mark(step, work, rollover, services)


def _mark(step: Step, work: str, rollover: Rollover, services: Services) -> None:
    now = services.now()
    # A rollover waits for its work, whether or not that goes on.
    went_on = rollover.waiting_for is not None and not rollover.is_due(now) and not work
    if rollover.next_step is not step or went_on:
        return
    again = "the sweep begins the rollover again" if rollover.plan.expires else "then retry the rollover"
    if rollover.awaits_approval:  # nothing was done, and the time for an approval ends meanwhile
        again = "then call the breach again"
    verdict = NeedsPerson(
        f"step {step}{f', work {work},' if work else ''} failed again and again without a verdict",
        f"look for the exceptions of the function {step} with this rollover's ID, mend the cause; {again}",
    )
    new = advance(rollover, verdict, now)
    new = replace(new, outbox=rollover.outbox + lifecycle_of(step, verdict, new))
    record = History(now, "poison queue", "needs a person", verdict.why, step)
    try:
        recorded = services.ledger.record(new, record)
    except Conflict:
        return  # it went on at this moment; its own step tells how
    measure_ended(recorded)
    announce(recorded, services)
