"""Begins what a person called for, and shuts the door before the call is answered."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from shared.announce import announce
from shared.door import shut_door
from shared.errors import Conflict, RolloverError
from shared.events import LogEvent, log
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.rollover import Outcome, Rollover, does_already
from shared.rows import History
from shared.services import Services
from shared.stepping import carry_out, nudge_next
from shared.telemetry import measure_ended, tell_started
from shared.tracing import beginning

TRIES = 5


def begin(new: Rollover, last: Rollover | None, record: History, services: Services) -> Rollover:
    """Put a new rollover into the ledger; an open one of the same target ends in the same transaction, or is what is
    begun, if it does already what the new one would.

    Raises:
        Conflict: the target's rollovers went on faster than we could look, again and again.
    """
    for _ in range(TRIES):
        if last is not None and _is_what_is_asked(last, new, services.now()):
            return last
        ended = None
        if last is not None and last.outcome is None:
            ended = replace(record, what="preempted", why=f"{new.plan} took its place: {record.why}")
        try:
            begun = _begin(new, last, record, ended, services)
        except Conflict:
            # The open rollover's own step went on, or somebody began another one: look again.
            last = services.ledger.last_like(new)
            continue
        if last is not None and ended is not None:
            measure_ended(replace(last, outcome=Outcome.PREEMPTED))
        return begun
    raise Conflict(f"the rollovers of {new.target!r} change too fast; call again")


def _begin(
    new: Rollover, last: Rollover | None, record: History, ended: History | None, services: Services
) -> Rollover:
    with beginning(new.target, new.plan, new.cause) as trace:
        begun = services.ledger.begin(replace(new, trace=trace), last, record, preempting=ended)
        tell_started(begun, record.why)
    return begun


def _is_what_is_asked(rollover: Rollover, new: Rollover, now: datetime) -> bool:
    """Whether an open rollover does already everything that a new one would, and as soon."""
    theirs, ours = rollover.incident, new.incident
    if theirs is None or ours is None:
        return False
    compromised = [one.known_as for one in ours.compromised]
    if not does_already(rollover, new.plan, ours.mode, compromised, now):
        return False
    if not theirs.covers(ours.compromised_since, suspects_only=ours.suspects_only):
        return False
    later = theirs.awaits_approval and not ours.awaits_approval  # the glass was broken, or the fuse is another one
    return not later and set(ours.accepted_routes) <= set(theirs.accepted_routes)


def shut_doors(rollovers: list[Rollover], services: Services) -> None:
    """Carry out the first step of each now: a queue may be slow, or its function cold.

    Whatever goes wrong here is what the queue and the timer are for: the rollover is in the ledger.
    """
    for rollover in rollovers:
        try:
            if rollover.awaits_approval or rollover.next_step is not Step.DISABLE_ENROLLMENT:
                nudge_next(announce(rollover, services), services)
                continue
            carry_out(Step.DISABLE_ENROLLMENT, encode_nudge(rollover.id).encode(), services, shut_door)
        except RolloverError as error:
            log(
                LogEvent.NUDGE_IGNORED,
                rollover_id=rollover.id,
                registration_id=rollover.registration_id or None,
                group_id=rollover.group_id,
                step=Step.DISABLE_ENROLLMENT,
                why=str(error),
            )
    for rollover in (one for one in rollovers if not one.plan.of_group):
        with suppress(RolloverError):  # a hint, for when the hub refuses the device; not worth the call's answer
            services.devices.know(rollover.device_id, rollover.registration_id, rollover.certificate_name)
