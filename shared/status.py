"""How a rollover stands, in plain words: what is still exposed, and what comes next."""

from shared.errors import RolloverError
from shared.exposure import exposures
from shared.exposure_group import group_exposures
from shared.fleet import FleetProgress, Work
from shared.observation import observe
from shared.overdue import Overdue
from shared.plans import ESTABLISHES, PLANS, Step
from shared.rollover import Outcome, Rollover
from shared.services import Services


def still_exposed(rollover: Rollover, services: Services) -> list[str]:
    """What lets a compromised certificate in at this moment, read from DPS and hub now.

    Read and not remembered, for what was contained may have been opened since. What cannot be read counts as exposed.
    """
    if not rollover.plan.contains or rollover.outcome in (Outcome.DONE, Outcome.PREEMPTED):
        return []
    try:
        # As verify_containment looks: with the other hub identities.
        seen = observe(Step.VERIFY_CONTAINMENT, rollover, services)
        evicted = services.fleet.progress(rollover, "evict") if rollover.plan.of_group else None
    except RolloverError as error:
        return [f"it cannot be read now whether it is contained: {error}"]
    return group_exposures(rollover, seen, evicted) if rollover.plan.of_group else exposures(rollover, seen)


def works_of(rollover: Rollover, services: Services) -> list[FleetProgress]:
    """How far the works on a group's devices are, in the order of the plan; those that are begun."""
    works = [work for step in PLANS[rollover.plan] for work in Work if work.step is step and rollover.plan.of_group]
    found = (services.fleet.progress(rollover, work) for work in works)
    return [one for one in found if one is not None]


def next_in_words(rollover: Rollover, late: Overdue | None = None) -> str:
    """What comes next, and who does it; ``late`` when it has waited too long."""
    if rollover.awaits_approval and rollover.incident is not None and rollover.incident.approve_by is not None:
        until = f"{rollover.incident.approve_by:%Y-%m-%d %H:%M:%SZ}"
        return (
            f"A second person calls POST /api/rollovers/{rollover.id}/approve before {until}. Nothing was done so far."
        )
    match rollover.outcome:
        case None:
            return _running(rollover) + (f". It has waited too long: {late.next_step}" if late else "")
        case Outcome.DONE:
            return "Nothing: it is done."
        case Outcome.PREEMPTED:
            return f"Nothing here: {rollover.outcome_reason}."
        case _:
            action = rollover.next_action or rollover.outcome_reason or "see the history"
            return f"A person: {action}".replace("{id}", rollover.id)


def _running(rollover: Rollover) -> str:
    step = rollover.next_step
    if step is None:
        return "Nothing: it is done."
    establishes = f"By itself: {step.value} ({ESTABLISHES[step]})"
    return f"{establishes}; it waits: {rollover.waiting_for}" if rollover.waiting_for else establishes
