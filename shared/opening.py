"""Begins what a person called for, and shuts the door before the call is answered."""

from contextlib import suppress
from dataclasses import replace

from shared.announce import announce
from shared.door import shut_door
from shared.errors import Conflict, RolloverError
from shared.events import LogEvent, log
from shared.nudges import encode_nudge
from shared.rollover import Rollover, Step
from shared.rows import History
from shared.services import Services
from shared.stepping import carry_out

TRIES = 5


def begin(new: Rollover, last: Rollover | None, record: History, services: Services) -> Rollover:
    """Put a new rollover into the ledger; an open one of the same target ends in the same transaction.

    Raises:
        Conflict: the target's rollovers went on faster than we could look, again and again.
    """
    for _ in range(TRIES):
        ended = None
        if last is not None and last.outcome is None:
            ended = replace(record, what="preempted", why=f"{new.plan} took its place: {record.why}")
        try:
            begun = services.ledger.begin(new, last, record, preempting=ended)
        except Conflict:
            # The open rollover's own step went on, or somebody began another one: look again.
            last = services.ledger.last(new.registration_id)
            if last is not None and _does_the_same(last, new):
                return last
            continue
        log(
            LogEvent.ROLLOVER_STARTED,
            rollover_id=begun.id,
            registration_id=begun.registration_id,
            plan=begun.plan,
            why=record.why,
            cause=begun.cause,
        )
        return begun
    raise Conflict(f"the rollovers of {new.registration_id!r} change too fast; call again")


def _does_the_same(last: Rollover, new: Rollover) -> bool:
    if last.outcome is not None or last.incident is None or new.incident is None:
        return False
    same = (last.plan, last.incident.mode, last.incident.compromised)
    return same == (new.plan, new.incident.mode, new.incident.compromised)


def shut_doors(rollovers: list[Rollover], services: Services) -> None:
    """Carry out the first step of each now: a queue may be slow, or its function cold.

    Whatever goes wrong here is what the queue and the timer are for: the rollover is in the ledger.
    """
    for rollover in rollovers:
        try:
            if rollover.awaits_approval or rollover.next_step is not Step.DISABLE_ENROLLMENT:
                announce(rollover, services)
                continue
            carry_out(Step.DISABLE_ENROLLMENT, encode_nudge(rollover.id).encode(), services, shut_door)
        except RolloverError as error:
            log(LogEvent.NUDGE_IGNORED, rollover_id=rollover.id, step=Step.DISABLE_ENROLLMENT, why=str(error))
    for rollover in rollovers:
        with suppress(RolloverError):  # a hint, for when the hub refuses the device; not worth the call's answer
            services.devices.know(rollover.device_id, rollover.registration_id, rollover.certificate_name)
