"""How every step is made safe, once: parse, read, decide, note, act, look again, record, announce, nudge.

Order of writes: intention in the ledger, effect, outcome in the ledger, event, nudge. Whatever dies between two
of them costs time, nothing else: an effect that was applied is seen as already done, a row that nobody nudged is
nudged by the timer when it is due. Two nudges at once: one of them meets a conflict at the ledger and stops.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from shared.announce import announce
from shared.decide import bounded, decide
from shared.errors import (
    BadInput,
    Conflict,
    NotAllowed,
    NotFound,
    RolloverError,
    ServiceRefused,
    ServiceUnavailable,
)
from shared.events import Lifecycle, LogEvent, log
from shared.nudges import LONGEST_DELAY, decode_nudge
from shared.observation import observe, summary
from shared.plans import Step
from shared.replacement import with_name
from shared.rollover import Incoming, Outcome, Rollover, has_waited
from shared.rows import History
from shared.seen import Observation
from shared.services import Services
from shared.telemetry import Metric, measure, measure_ended
from shared.tracing import Noted, stepping
from shared.transitions import advance, intend, unacted
from shared.verdict import Act, AlreadyDone, Back, HeldUp, NeedsPerson, Refuse, Verdict, Wait

ROLE_PATIENCE = timedelta(minutes=15)
"""Role assignments take up to ten minutes to arrive (azure-docs role-based-access-control troubleshooting)."""

Effect = Callable[[Rollover, Observation, Act, Services], None]
"""What a step does to the world: one external write, with what was seen and the act that was decided."""


def carry_out(step: Step, message: bytes, services: Services, effect: Effect) -> None:
    """Carry out ``step`` for the rollover that a queue message nudges. Safe to repeat, at any time.

    A message that is no nudge, or names no rollover, is recorded as a refused input and dropped: repeating it
    cannot help. Exceptions that leave here are surprises; the queue tries again and then reports poison.
    """
    try:
        rollover = services.ledger.read(decode_nudge(message))
    except (BadInput, NotFound) as error:
        refuse_input("queue " + step.queue, message, str(error), services)
        return
    except ServiceUnavailable as error:
        # Not a failure of the step, and no reason for poison: the row is due, and the timer nudges it.
        log(LogEvent.STORAGE_DOWN, step=step, why=str(error))
        return
    if not rollover.is_due(services.now()):
        log(LogEvent.NUDGE_IGNORED, **_told(rollover, step), next_step=rollover.next_step)
        return
    if rollover.next_step is not step:
        # Late or repeated. If the next step is due, its own nudge may be the one that was lost: pass this one on.
        log(LogEvent.NUDGE_IGNORED, **_told(rollover, step), next_step=rollover.next_step)
        nudge_next(rollover, services)
        return
    with stepping(rollover, step, services.now) as noted:
        try:
            _carry_out(step, rollover, services, effect, noted)
        except _NotRecordedError:
            noted.verdict = "LostRace"
            log(LogEvent.NUDGE_LOST_RACE, **_told(rollover, step))


class _NotRecordedError(Exception):
    """The ledger did not take our record: another nudge was first, or the table does not answer. Somebody else goes
    on: that nudge, or the timer."""


def _told(rollover: Rollover, step: Step | None) -> dict[str, object]:
    target = {"registration_id": rollover.registration_id or None, "group_id": rollover.group_id}
    return {"rollover_id": rollover.id, **target, "step": step}


def _carry_out(step: Step, rollover: Rollover, services: Services, effect: Effect, noted: Noted) -> None:
    rollover, seen, verdict = _look(step, rollover, services)
    came, before = rollover, seen
    if isinstance(verdict, Act) and seen is not None:
        intention = History(services.now(), f"step {step}", "acts", verdict.why, step, before=summary(seen))
        waiting = rollover
        noted.acted = True
        rollover = _record(rollover, intend(rollover, services.now()), intention, services)
        failed = _act(rollover, waiting, seen, verdict, services, effect)
        if isinstance(failed, Wait):
            rollover = unacted(rollover, waiting)
        rollover, seen, verdict = _look(step, rollover, services)
        if isinstance(verdict, Act):
            # Not visible yet, or more to do: look again, soon at first.
            verdict = failed or _again(verdict, rollover, services)
    record = seen.enrollment.registration if seen and seen.enrollment else None
    registered = record.last_updated if record else None
    new = advance(rollover, verdict, services.now(), incoming=_incoming(seen), registered=registered)
    decided = type(verdict).__name__
    log(LogEvent.DECIDED, **_told(rollover, step), plan=rollover.plan, verdict=decided, why=verdict.why)
    entry = None
    if not isinstance(verdict, Wait) or verdict.why != rollover.waiting_for:
        entry = History(
            services.now(),
            f"step {step}",
            _WHAT[type(verdict)],
            verdict.why,
            step,
            before=summary(before) if before else {},
            after=summary(seen) if seen else {},
        )
    outbox = rollover.outbox + lifecycle_of(step, verdict, new)
    new = _record(rollover, replace(new, outbox=outbox), entry, services)
    noted.verdict, noted.why, noted.outcome = decided, verdict.why, new.outcome or ""
    _measure(step, verdict, came, new, services)
    new = announce(new, services)
    nudge_next(new, services)


def _measure(step: Step, verdict: Verdict, before: Rollover, new: Rollover, services: Services) -> None:
    """What is recorded now, and so counted once however often the step runs."""
    now = services.now()
    if before.waiting_since is not None and not isinstance(verdict, Wait):
        measure(Metric.STEP_WAITED, (now - before.waiting_since).total_seconds(), step=step)
    reached = {Step.DISABLE_ENROLLMENT: Metric.DOOR_SHUT, Step.VERIFY_CONTAINMENT: Metric.CONTAINED}.get(step)
    waited_for_people = new.incident is None or new.incident.approved_by is not None
    if reached is not None and isinstance(verdict, AlreadyDone) and not waited_for_people:
        measure(reached, (now - new.started_at).total_seconds(), plan=new.plan)
    measure_ended(new)


_WHAT: dict[type[Verdict], str] = {
    Act: "goes on",
    AlreadyDone: "done",
    Wait: "waits",
    Back: "goes back",
    Refuse: "refused",
    NeedsPerson: "needs a person",
}


def _again(verdict: Act, rollover: Rollover, services: Services) -> Verdict:
    delay = timedelta(seconds=2 ** min(rollover.acts - 1, 8) - 1)
    if not delay:
        return verdict
    wait = Wait("what was done does not show yet", delay)
    return bounded(wait, rollover, services.now(), services.settings.policy)


def _look(step: Step, rollover: Rollover, services: Services) -> tuple[Rollover, Observation | None, Verdict]:
    try:
        if step is Step.ISSUE_CERTIFICATE:
            rollover = with_name(rollover, services)
        seen = observe(step, rollover, services)
    except ServiceUnavailable as error:
        return rollover, None, _wait_for(error, rollover, services)
    except (ServiceRefused, BadInput) as error:
        return rollover, None, _refused(error, rollover, services)
    return rollover, seen, decide(step, rollover, seen, services.settings.policy)


def _act(
    rollover: Rollover, waiting: Rollover, seen: Observation, act: Act, services: Services, effect: Effect
) -> Verdict | None:
    """Act; what to record if it did not go through, unless a second look shows that it did after all."""
    try:
        effect(rollover, seen, act, services)
    except (Conflict, NotFound):
        return None  # somebody wrote first, or our own write was sent twice: the second look tells
    except ServiceUnavailable as error:
        return _wait_for(error, waiting, services)
    except (ServiceRefused, BadInput) as error:
        return _refused(error, waiting, services)
    return None


def _refused(error: RolloverError, rollover: Rollover, services: Services) -> Verdict:
    """A person is needed; at once, or, when a role may only be on its way, after ``ROLE_PATIENCE``."""
    now = services.now()
    # Since any service refused anything, for two that refuse in turn would each be news for ever.
    if isinstance(error, NotAllowed) and now - (rollover.refused_since or now) < ROLE_PATIENCE:
        return Wait(str(error), timedelta(minutes=1), HeldUp.REFUSED)
    again = "the next day's sweep begins it again" if rollover.plan.expires else f"POST {_RETRY}"
    return NeedsPerson(str(error), f"mend what the service complains about; {again}")


_RETRY = "/api/rollovers/{id}/retry goes on where it was"


def _wait_for(error: ServiceUnavailable, rollover: Rollover, services: Services) -> Verdict:
    """Wait for a service to come back: what it asked for, or half of the time already waited, up to 10 min."""
    now = services.now()
    waited = has_waited(rollover, str(error), now)
    delay = max(error.retry_after or timedelta(), min(waited / 2, timedelta(minutes=10)), timedelta(seconds=5))
    return bounded(Wait(str(error), delay, HeldUp.UNANSWERED), rollover, now, services.settings.policy)


def _record(old: Rollover, new: Rollover, record: History | None, services: Services) -> Rollover:
    try:
        return services.ledger.record(replace(new, etag=old.etag), record)
    except Conflict:
        raise _NotRecordedError from None
    except ServiceUnavailable as error:
        log(LogEvent.STORAGE_DOWN, **_told(old, old.next_step), why=str(error))
        raise _NotRecordedError from None  # nothing was done that a later look does not show


def _incoming(seen: Observation | None) -> Incoming | None:
    if seen is None or seen.latest is None:
        return None
    certificate = seen.latest.certificate
    return Incoming(
        version=seen.latest.version,
        sha1_thumbprint=certificate.sha1_thumbprint,
        sha256_thumbprint=certificate.sha256_thumbprint,
        not_after=certificate.not_after,
    )


def lifecycle_of(step: Step, verdict: Verdict, new: Rollover) -> tuple[str, ...]:
    """The lifecycle events that a verdict gives rise to, each with the number of its history record.

    A second event of one record has a number of its own behind a dot: subscribers know an event by its ID.
    """
    kinds = []
    if isinstance(verdict, AlreadyDone) and step in _MILESTONES:
        kinds.append(_MILESTONES[step])
    if new.outcome in _ENDS:
        kinds.append(_ENDS[new.outcome])
    numbers = (f"{new.records + 1}.{n}" if n else f"{new.records + 1}" for n in range(len(kinds)))
    return tuple(f"{kind.value}/{number}" for kind, number in zip(kinds, numbers, strict=True))


_MILESTONES = {
    Step.INVOKE_REPROVISION_JOB: Lifecycle.DEVICE_MOVED,
    Step.VERIFY_CONTAINMENT: Lifecycle.CONTAINED,
    Step.RESTORE_TWIN: Lifecycle.RECOVERED,
}
_ENDS: dict[Outcome | None, Lifecycle] = {
    Outcome.DONE: Lifecycle.COMPLETED,
    Outcome.REFUSED: Lifecycle.REFUSED,
    Outcome.NEEDS_PERSON: Lifecycle.NEEDS_PERSON,
    Outcome.CANCELLED: Lifecycle.CANCELLED,
}


def nudge_next(rollover: Rollover, services: Services) -> None:
    """Nudge the rollover's next step when its time comes; long waits are the timer's.

    A queue that cannot be reached is no failure of the step: the row is due, and the timer nudges it.
    """
    if rollover.next_step is None or rollover.due_at is None:
        return
    delay = max(rollover.due_at - services.now(), timedelta())
    if delay > LONGEST_DELAY:
        return
    try:
        services.nudges.send(rollover.next_step, rollover.id, delay)
    except ServiceUnavailable as error:
        log(LogEvent.NUDGE_IGNORED, **_told(rollover, rollover.next_step), why=str(error))


def refuse_input(source: str, raw: bytes | str, reason: str, services: Services) -> None:
    """Record an input that cannot be used, in the log and the ledger, and go on."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    subject = "".join(c if c.isprintable() else "." for c in text[:200])
    log(LogEvent.INPUT_REFUSED, source=source, reason=reason, input=subject)
    services.ledger.note_refused(source, subject, reason, services.now())
