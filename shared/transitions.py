"""How a rollover goes on after a verdict, or at a person's word. Pure.

started ──> step 1 ──> ... ──> step n ──> done
              │ └─ waits (why, until when), then looks again
              ├──> refused        (the reason names what is wrong)
              ├──> needs a person (the reason, and what to do next)  ─┐
              ├──> cancelled      (by a person)                      ─┴─ a person's retry goes on where it was
              └──> preempted      (a breach of the same target took its place)
"""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.plans import PLANS, Plan, Step
from shared.rollover import ACT_LEASE, Incoming, Outcome, Rollover, has_waited
from shared.verdict import Act, AlreadyDone, Back, HeldUp, NeedsPerson, Refuse, Verdict, Wait

LONGEST_PAUSE = timedelta(hours=12)
"""Between two rounds of a rollover that goes back again and again."""

UNDONE_OFTEN = 5
"""So many times back, with ever longer pauses (half an hour in all), is no accident any more: somebody is told."""


def intend(rollover: Rollover, now: datetime) -> Rollover:
    """The rollover as recorded just before a step acts: the act is counted and leased."""
    return replace(
        rollover,
        acts=rollover.acts + 1,
        acted_at=now,
        waiting_for=None,
        waiting_since=None,
        due_at=now + ACT_LEASE,
    )


def unacted(rollover: Rollover, before: Rollover) -> Rollover:
    """The rollover when the act that was counted never got to the service: it waits on as ``before`` the act."""
    return replace(rollover, acts=before.acts, waiting_for=before.waiting_for, waiting_since=before.waiting_since)


def advance(
    rollover: Rollover,
    verdict: Verdict,
    now: datetime,
    *,
    incoming: Incoming | None = None,
    registered: datetime | None = None,
) -> Rollover:
    """The rollover after a verdict on its next step.

    ``incoming`` is the vault's version that ``issue_certificate`` looked at; other steps ignore it. ``registered`` is
    when the device had last registered: once no slot holds what is compromised, a later one is with another
    certificate. A rollover that ended is returned as it is.
    """
    step = rollover.next_step
    if step is None:
        return rollover
    match verdict:
        case AlreadyDone(why=why):
            done = (*rollover.done, step)
            found = incoming if step is Step.ISSUE_CERTIFICATE else rollover.incoming
            last_compromised = step is Step.DELETE_PRIMARY and rollover.plan.replaces
            baseline = registered if last_compromised else rollover.baseline
            moved_on = replace(_arrived(rollover, now), done=done, incoming=found, baseline=baseline)
            return moved_on if moved_on.next_step else _end(moved_on, Outcome.DONE, why, None, now)
        case Back(why=why, to=to):
            order = PLANS[rollover.plan]
            kept = tuple(s for s in rollover.done if order.index(s) < order.index(to))
            found = None if to is Step.ISSUE_CERTIFICATE else rollover.incoming
            # A world that keeps undoing what was done is met ever more rarely, so that no two loops fight.
            pause = min(timedelta(minutes=2**rollover.backs - 1), LONGEST_PAUSE)
            anew = rollover.plan is Plan.GROUP_BREACH or to is Step.ISSUE_CERTIFICATE  # else the moved stay moved
            back = replace(
                _arrived(rollover, now),
                done=kept,
                incoming=found,
                backs=min(rollover.backs + 1, 16),
                round=rollover.round + (rollover.plan.of_group and anew),
            )
            return replace(back, waiting_for=why, waiting_since=now, due_at=now + pause) if pause else back
        case Act():
            seeing = _held_up(rollover, None, now)
            return replace(seeing, waiting_for=None, waiting_since=None, due_at=now)
        case Wait(why=why, delay=delay, held_up=held_up):
            since = now - has_waited(rollover, why, now)
            still = _held_up(rollover, held_up, now)
            return replace(still, waiting_for=why, waiting_since=since, due_at=now + delay)
        case Refuse(why=why, next_step=next_step):
            looked_at = incoming if step is Step.ISSUE_CERTIFICATE else rollover.incoming
            return _end(replace(rollover, incoming=looked_at), Outcome.REFUSED, why, next_step or None, now)
        case NeedsPerson(why=why, next_step=next_step):
            return _end(rollover, Outcome.NEEDS_PERSON, why, next_step, now)


def cancelled(rollover: Rollover, why: str, next_action: str, now: datetime) -> Rollover:
    """The rollover that a person ends where it is."""
    return _end(rollover, Outcome.CANCELLED, why, next_action, now)


def preempted(rollover: Rollover, by: str, now: datetime) -> Rollover:
    """The rollover whose place another one of the same target takes."""
    return _end(rollover, Outcome.PREEMPTED, f"{by} took its place", None, now)


def reopened(rollover: Rollover, now: datetime) -> Rollover:
    """A rollover that ended without being done, going on where it was, with all its patience."""
    open_again = replace(rollover, outcome=None, outcome_reason=None, next_action=None, ended_at=None)
    # What was given up on a group's devices is tried again, by another round of the work; who moved stays moved.
    round_ = rollover.round + (rollover.plan is Plan.GROUP_BREACH)
    return replace(_arrived(replace(open_again, backs=0), now), reopened_at=now, round=round_)


def approved(rollover: Rollover, who: str, now: datetime) -> Rollover:
    """The rollover once a second person agreed."""
    if rollover.incident is None:
        raise ValueError("only what a person asked for is approved")
    return replace(rollover, incident=replace(rollover.incident, approved_by=who), arrived_at=now, due_at=now)


def _held_up(rollover: Rollover, by: HeldUp | None, now: datetime) -> Rollover:
    """How long services have been in the way: over when a look came through, not when another one is in the way."""
    refused = rollover.refused_since or (now if by is HeldUp.REFUSED else None)
    return replace(
        rollover,
        held_up_since=(rollover.held_up_since or now) if by else None,
        refused_since=refused if by else None,
    )


def _arrived(rollover: Rollover, now: datetime) -> Rollover:
    # What is undone again and again does not go on: it was told so, and that once.
    told = rollover.told_overdue_at if rollover.backs >= UNDONE_OFTEN else None
    return replace(
        rollover,
        acts=0,
        acted_at=None,
        waiting_for=None,
        waiting_since=None,
        arrived_at=now,
        held_up_since=None,
        refused_since=None,
        told_overdue_at=told,
        due_at=now,
    )


def _end(rollover: Rollover, outcome: Outcome, why: str, next_action: str | None, now: datetime) -> Rollover:
    return replace(
        rollover,
        outcome=outcome,
        outcome_reason=why,
        next_action=next_action,
        waiting_for=None,
        due_at=None,
        ended_at=now,
    )
