"""The works on a group's fleet, turn by turn; each is woken by a message and safe to repeat at any time.

    <rollover>/<work>           lists on, gives batches their moments, repairs what was lost, looks whether all is done
    <rollover>/<work>/<batch>   does what is to be done to the devices of one batch

No turn sleeps, and none raises because a service throttles: the batch goes to the end of the line, and the line goes
slower. A turn of a batch holds it for ``LEASE``; after a crash the batch is overdue then, and nudged again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from shared.errors import BadInput, Conflict, NotFound, RolloverError, ServiceUnavailable
from shared.events import LogEvent, log
from shared.fleet import Work, may_go_on
from shared.fleet_evict import check, evict
from shared.fleet_leaves import issue_leaves, leaf_names
from shared.fleet_listing import list_on
from shared.fleet_moments import first_moments
from shared.fleet_opening import know_leaves, open_waves
from shared.fleet_restore import restore
from shared.fleet_rows import Batch, Head, Standing
from shared.fleet_turn import Turn, Turned
from shared.fleet_waves import wave
from shared.lines import HORIZON, Lane
from shared.nudges import LONGEST_DELAY, decode_nudge
from shared.plans import Step
from shared.quota import Quota
from shared.rollover import Rollover
from shared.services import Services
from shared.starting import hasten
from shared.stepping import ROLE_PATIENCE, refuse_input
from shared.telemetry import Metric, measure

LEASE = timedelta(minutes=2)
"""Longer than a turn takes."""
LATE = timedelta(seconds=30)
"""A batch that is so late was forgotten: its message is sent again."""
TURN = HORIZON / 2
IDLE = timedelta(minutes=1)
SAME_TROUBLE = timedelta(minutes=10)
TRIES = 20
SURPRISES = 5
"""Turns of a batch that may end in an exception that nobody thought of, as many as a message has tries (host.json)."""

TURNS: Mapping[Work, Callable[[Turn], Turned]] = {
    Work.EVICT: evict,
    Work.CHECK: check,
    Work.WAVE: wave,
    Work.LEAVES: issue_leaves,
    Work.RESTORE: restore,
}
FIRST: Mapping[Work, Lane] = {
    Work.EVICT: Lane.EVICTIONS,
    Work.CHECK: Lane.TWIN_READS,
    Work.WAVE: Lane.TWIN_READS,
    Work.LEAVES: Lane.VAULT_KEYS,
    Work.RESTORE: Lane.TWIN_WRITES,
}
"""The line that a batch waits in for its first turn."""


def take_turn(step: Step, message: bytes, services: Services) -> bool:
    """Take the turn that a queue message asks for; whether it asks for one of a work."""
    try:
        about = decode_nudge(message)
    except BadInput:
        return False
    rollover_id, is_work, rest = about.partition("/")
    if not is_work:
        return False
    name, _, number = rest.partition("/")
    if name not in [work for work in Work if work.step is step] or (number and not number.isdecimal()):
        refuse_input("queue " + step.queue, message, f"{rest!r} is no work of the step {step}", services)
        return True
    try:
        rollover = services.ledger.read(rollover_id)
    except (BadInput, NotFound) as error:
        refuse_input("queue " + step.queue, message, str(error), services)
        return True
    except ServiceUnavailable as error:
        log(LogEvent.STORAGE_DOWN, step=step, why=str(error))
        return True
    try:
        if number:
            run_batch(rollover, Work(name), int(number), services)
        else:
            run_work(rollover, Work(name), services)
    except Conflict:
        log(LogEvent.NUDGE_LOST_RACE, rollover_id=about, step=step)
    except ServiceUnavailable as error:
        log(LogEvent.STORAGE_DOWN, rollover_id=about, step=step, why=str(error))
    return True


# --- the work -----------------------------------------------------------------------------------------------------


def run_work(rollover: Rollover, work: Work, services: Services) -> None:
    """One turn of a work.

    Raises:
        Conflict: another turn of it was faster.
        ServiceUnavailable: of the storage; the timer nudges again.
    """
    fleet, now = services.fleet, services.now()
    head = fleet.head(rollover, work)
    if head is None or head.closed_at is not None or not _due(head.due_at, now):
        return
    if fleet.halted(head, rollover) or not may_go_on(rollover, work, head.round):
        fleet.save_head(replace(head, due_at=now + IDLE))
        return
    quota, lane = _quota(head, services), FIRST[work]
    head = fleet.save_head(
        replace(head, due_at=now + LEASE, halted=None, halted_at=None, tier=quota.tier, units=quota.units)
    )
    pause = TURN
    try:
        if work is Work.WAVE and not head.batches:
            head = know_leaves(head, rollover, services)
        if work is Work.LEAVES and not head.batches:
            head = replace(head, leaf_names=leaf_names(rollover, services))
        if not head.listed:
            head, wait = list_on(head, rollover, services, lambda head: first_moments(head, lane, services))
            pause = TURN if head.listed else wait
        head = first_moments(head, lane, services)
        if work is Work.WAVE and head.listed:
            head, pause = open_waves(head, rollover, services)
    except ServiceUnavailable as error:
        head = _again(head, rollover, services)
        fleet.lines.slow_down(Lane.LISTING, error.retry_after)
        pause = fleet.lines.last_place(Lane.LISTING, 1, Quota(head.tier, head.units)) - now
    except Conflict:
        raise
    except RolloverError as error:
        head = _troubled(_again(head, rollover, services), str(error), now)
        pause = IDLE
    for number in fleet.overdue(head, now - LATE):
        fleet.nudge(head, number, now)
    finished = head.listed and head.dispatched == head.batches and not fleet.any_open(head)
    head = fleet.save_head(replace(head, due_at=services.now() + pause, closed_at=services.now() if finished else None))
    if finished or head.halted:
        wake(rollover, services)
    else:
        fleet.nudge(head)


def _quota(head: Head, services: Services) -> Quota:
    """The hub's, or what it was when it could last be read: an eviction does not wait for Resource Manager."""
    try:
        return services.hub.quota()
    except RolloverError:
        return Quota(head.tier, head.units)


def _again(head: Head, rollover: Rollover, services: Services) -> Head:
    """The head as a turn that was cut off left it."""
    return services.fleet.head(rollover, head.work) or head


def _troubled(head: Head, why: str, now: datetime) -> Head:
    """The head when a service refuses what the work needs: halted, when a role cannot be on its way any more."""
    same = head.trouble == why and head.trouble_at is not None and now - head.trouble_at < SAME_TROUBLE
    since = head.trouble_since if same and head.trouble_since is not None else now
    troubled = replace(head, trouble=why, trouble_since=since, trouble_at=now)
    return replace(troubled, halted=why, halted_at=now) if now - since >= ROLE_PATIENCE else troubled


# --- a batch ------------------------------------------------------------------------------------------------------


def run_batch(rollover: Rollover, work: Work, number: int, services: Services) -> None:
    """One turn of a batch.

    Raises:
        Conflict: another turn of it was faster.
        ServiceUnavailable: of the storage; the batch is overdue by and by.
    """
    fleet, now = services.fleet, services.now()
    head = fleet.head(rollover, work)
    if head is None or number < head.first or fleet.halted(head, rollover):
        return
    if not may_go_on(rollover, work, head.round):
        return
    batch = fleet.batch(head, number)
    if batch is None or not batch.open or batch.due_at is None or not _due(batch.due_at, now):
        return
    batch = fleet.save_batch(head, replace(batch, due_at=now + LEASE, turns=batch.turns + 1))
    try:
        turned = TURNS[work](Turn(rollover, head, batch, services))
    except ServiceUnavailable as error:
        turned = Turned(batch, FIRST[work], throttled=error)
    except Conflict:
        raise
    except RolloverError as error:
        _trouble(rollover, work, str(error), services)
        turned = Turned(batch, FIRST[work], after=IDLE)
    except Exception as error:
        _surprised(rollover, head, batch, error, services)
        raise
    _settle(rollover, head, turned, services)


def _surprised(rollover: Rollover, head: Head, batch: Batch, error: Exception, services: Services) -> None:
    """Counted in the batch, for its message comes back before its lease is over and so never gets to poison. In the end
    its devices are given up, with the reason, and hold up no others: the step names them to a person.
    """
    batch = replace(batch, surprises=batch.surprises + 1)
    if batch.surprises >= SURPRISES:
        measure(Metric.POISONED, step=head.work.step)
        log(LogEvent.POISONED, rollover_id=rollover.id, group_id=rollover.group_id, step=head.work.step)
        why = f"its batch failed {batch.surprises} times: {type(error).__name__}"
        batch = batch.with_devices({one.device_id: one.ended(Standing.LEFT, why) for one in batch.open})
    _settle(rollover, head, Turned(batch, FIRST[head.work], after=IDLE), services)


def _settle(rollover: Rollover, head: Head, turned: Turned, services: Services) -> None:
    """Record how the batch stands, and give it its next moment, at the end of the line."""
    fleet, batch, now = services.fleet, turned.batch, services.now()
    if not batch.open:
        fleet.save_batch(head, replace(batch, due_at=None))
        current = fleet.head(rollover, head.work)
        if current and current.listed and current.dispatched == current.batches and not fleet.any_open(current):
            wake(rollover, services)
        return
    if turned.waits:
        fleet.save_batch(head, replace(batch, due_at=None))
        return
    if turned.throttled:
        log(LogEvent.FLEET_THROTTLED, rollover_id=rollover.id, work=head.work, batch=batch.number)
        fleet.lines.slow_down(turned.lane, turned.throttled.retry_after)
    place = fleet.lines.last_place(turned.lane, len(batch.open), Quota(head.tier, head.units))
    moment = max(place, now + turned.after)
    fleet.save_batch(head, replace(batch, due_at=moment))
    if moment - now <= LONGEST_DELAY:  # later ones are nudged when they are overdue
        fleet.nudge(head, batch.number, moment)


def _trouble(rollover: Rollover, work: Work, why: str, services: Services) -> None:
    """Note what a service refuses; that halts the work when it goes on for too long."""
    halt(rollover, work, services, lambda head: _troubled(head, why, services.now()))


def halt(rollover: Rollover, work: Work, services: Services, change: Callable[[Head], Head]) -> None:
    """Change the head, whoever changes it too; a head that is halted by that wakes its rollover."""
    for _ in range(TRIES):
        head = services.fleet.head(rollover, work)
        if head is None:
            return
        try:
            head = services.fleet.save_head(change(head))
        except Conflict:
            continue
        if head.halted:
            wake(rollover, services)
        return


def wake(rollover: Rollover, services: Services) -> None:
    """Let the rollover look at once: its work is done, or halted."""
    hasten(services.ledger.read(rollover.id), services)


def _due(moment: datetime, now: datetime) -> bool:
    """A second early counts: a message comes up to half of one early, and the clocks of two machines differ."""
    return moment <= now + timedelta(seconds=1)
