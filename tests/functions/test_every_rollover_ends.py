"""Whatever state a rollover is in, and in whichever single way the world fails from then on and for ever: somebody is
told within its step's budget, and within the platform team's patience it ends, with a reason and a next step.
"""

import itertools
import logging
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import Conflict, NotAllowed, ServiceUnavailable
from shared.nudges import encode_nudge
from shared.overdue import budget_ends
from shared.plans import PLANS, Plan, Step
from shared.poison import report
from shared.ports import Hub, Provisioning, Vault
from shared.resuming import resume_due
from shared.rollover import Outcome, Rollover
from shared.seen import Issuance, Job, Policy
from shared.watching import tell_overdue
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW_256,
    OLD,
    a_story,
    deliver,
    device_moves,
    put_rollover,
    the_rollover,
)
from tests.certificates import NOW
from tests.fakes import World
from tests.http_api import HttpApi

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TURN = timedelta(minutes=5)
"""Of the watch."""
POLICY = Policy()
MODES = {Plan.BREACH: ("remove", "disable"), Plan.BREACH_REPROVISION: ("reprovision",)}


# --- the states ---------------------------------------------------------------------------------------------------


def expiry_at(step: Step) -> World:
    """An expiry that has come to a step."""
    world = a_story()
    put_rollover(world, step, arrived_at=NOW)
    if step is Step.DELETE_PRIMARY:
        world.clock.time = OLD.not_after - HOUR
        device_moves(world)
    return world


def breach_at(step: Step, mode: str, http_of: Callable[[World], HttpApi]) -> World:
    """A breach that has come to a step."""
    world = a_story()
    http = http_of(world)
    token = http.post("/api/breaches", registration_id=DEVICE, reason="stolen", mode=mode).json["confirm_token"]
    http.post("/api/breaches", confirm=token)
    for _ in range(60):
        rollover = the_rollover(world)
        if rollover.next_step is step:
            return world
        assert rollover.next_step is not None
        if rollover.next_step in (Step.INVOKE_REPROVISION_JOB, Step.RESTORE_TWIN):
            device_moves(world)
        world.clock.time = max(world.clock(), rollover.due_at or NOW) + timedelta(seconds=1)
        deliver(world, rollover.next_step)
    raise AssertionError(f"it does not come to {step}")


STATES: list[tuple[Plan, str, Step]] = [
    *((Plan.EXPIRY, "", step) for step in PLANS[Plan.EXPIRY]),
    *(
        (plan, mode, step)
        for plan, modes in MODES.items()
        for mode in modes
        for step in PLANS[plan]
        if step is not Step.DISABLE_ENROLLMENT  # carried out by the call itself
    ),
]


def state(plan: Plan, mode: str, step: Step, http_of: Callable[[World], HttpApi]) -> World:
    return breach_at(step, mode, http_of) if mode else expiry_at(step)


# --- the ways to fail -----------------------------------------------------------------------------------------------

PORTS = {"dps": Provisioning, "hub": Hub, "vault": Vault}


def breaks(world: World, port: str, how: Callable[..., Any]) -> None:
    """From now on every call of a service does this."""
    for name in (name for name in vars(PORTS[port]) if not name.startswith("_")):
        setattr(getattr(world, port), name, how)


def refuses(*ports: str) -> Callable[[World], None]:
    """403, for ever; of several services in turn: one lets through what the other refuses."""

    def fail(world: World) -> None:
        if len(ports) == 1:
            breaks(world, ports[0], _raising(NotAllowed(f"{ports[0]} answered 403: no role")))
            return
        turns = itertools.cycle(ports)
        now = {"refuses": "", "at": None}
        for port in ports:
            for name in (name for name in vars(PORTS[port]) if not name.startswith("_")):
                setattr(getattr(world, port), name, _in_turn(world, port, name, turns, now))

    return fail


def _in_turn(world: World, port: str, name: str, turns: Iterator[str], now: dict[str, Any]) -> Callable[..., Any]:
    real = getattr(getattr(world, port), name)

    def call(*arguments: Any) -> Any:
        if now["at"] != world.clock():
            now.update(at=world.clock(), refuses=next(turns))
        if now["refuses"] == port:
            raise NotAllowed(f"{port} answered 403 to {name}: no role")
        return real(*arguments)

    return call


def throttles(port: str) -> Callable[[World], None]:
    error = ServiceUnavailable(f"{port} answered 429: slow down", timedelta(seconds=30))
    return lambda world: breaks(world, port, _raising(error))


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def never_renews(world: World) -> None:
    kept = world.vault.kept[CERTIFICATE]
    kept.versions = kept.versions[:1]
    world.vault.issues = lambda _: None
    pending = Issuance(in_progress=True, needs_signing=False, error=None)
    world.vault.issuance = lambda _: pending  # type: ignore[method-assign]


def job_never_ends(world: World) -> None:
    world.hub.job = lambda _: Job(finished=False, summary="running")  # type: ignore[method-assign]


def undone(world: World) -> None:
    """A script that somebody wrote takes the new certificate out again, as soon as its step is done."""
    send = world.nudges.send

    def undo(step: Step, *arguments: Any, **options: Any) -> None:
        body = world.dps.enrolled[DEVICE]
        if step not in (Step.ISSUE_CERTIFICATE, Step.UPLOAD_SECONDARY) and NEW_256 in world.dps.slots(DEVICE):
            world.dps.enroll(DEVICE, OLD, provisioningStatus=body["provisioningStatus"])
        send(step, *arguments, **options)

    world.nudges.send = undo  # type: ignore[method-assign, assignment]
    undo(Step.DELETE_PRIMARY, the_rollover(world).id)


WAYS: dict[str, Callable[[World], object]] = {
    "DPS refuses": refuses("dps"),
    "the hub refuses": refuses("hub"),
    "the vault refuses": refuses("vault"),
    "DPS and hub refuse in turn": refuses("dps", "hub"),
    "DPS throttles": throttles("dps"),
    "the hub throttles": throttles("hub"),
    "the vault throttles": throttles("vault"),
    "the device never comes": lambda world: None,
    "the vault never renews": never_renews,
    "the job never ends": job_never_ends,
    "a person removes the enrollment": lambda world: world.dps.enrolled.clear(),
    "a person removes the identity": lambda world: world.hub.identities.clear(),
    "somebody undoes it": undone,
    "a call ends in a surprise": lambda world: breaks(world, "dps", _raising(KeyError("odd"))),
}


# --- how time goes ---------------------------------------------------------------------------------------------------


def run_step(world: World, rollover: Rollover) -> None:
    """One message, with its five tries, and the poison queue behind it (host.json)."""
    assert rollover.next_step is not None
    for _ in range(5):
        try:
            deliver(world, rollover.next_step)
            return
        except KeyError:
            world.clock.advance(timedelta(minutes=1))
    report(rollover.next_step, encode_nudge(rollover.id).encode(), world.services)


def pass_time(world: World, until: Callable[[], bool], longest: timedelta) -> None:
    """What is due is carried out, the watch turns; until something holds."""
    end = world.clock() + longest
    looked = world.clock()
    while not until():
        rollover = the_rollover(world)
        watch = looked + TURN
        due = rollover.due_at if rollover.next_step else None
        if due is not None and due < watch:
            world.clock.time = max(due, world.clock())
            run_step(world, rollover)
        else:
            # Nothing happens before the next look: the turns of the watch in between see the same.
            looked = max(watch, min(due or end, budget(rollover) if rollover.next_step else end))
            world.clock.time = max(looked, world.clock())
            tell_overdue(world.services)
            resume_due(world.services)
        if world.clock() > end:
            raise AssertionError(f"nobody is told: {the_rollover(world)}")


def budget(rollover: Rollover) -> Any:
    assert rollover.next_step is not None
    return budget_ends(rollover, rollover.next_step, POLICY)


SAMPLE = 4
"""States of each way in a normal run."""


@pytest.mark.proof
@pytest.mark.parametrize("way", WAYS)
def test_somebody_is_told_in_time_and_it_ends(way, http_of, whole):
    """From every state with --proof; else from a seeded sample."""
    states = STATES if whole else random.Random(way).sample(STATES, SAMPLE)
    waited = [check(*one, WAYS[way], http_of) for one in states]
    print(f"{way}: {len(states)} states, all told and ended; told after {max(waited)} at most")


def check(plan: Plan, mode: str, step: Step, way: Callable[[World], object], http_of: Any) -> timedelta:
    """Let it fail from this state on; how long it took until somebody was told, or it ended."""
    world = state(plan, mode, step, http_of)
    way(world)
    began = world.clock()

    def told() -> bool:
        rollover = the_rollover(world)
        return rollover.outcome is not None or rollover.told_overdue_at is not None

    # Steps on the way have budgets of an hour or less, but the vault's in a breach (4 h) and the device's (3 d); an
    # expiry waits for the outgoing certificate's end in peace.
    in_peace = max(OLD.not_after - began, timedelta()) if plan.expires else timedelta()
    pass_time(world, told, in_peace + POLICY.device_budget + 12 * HOUR)
    rollover, waited = the_rollover(world), world.clock() - began
    if rollover.outcome is None:
        patience = max(OLD.not_after, began) if plan.expires else rollover.started_at
        world.clock.time = max(world.clock(), patience + POLICY.straggler_grace)
        pass_time(world, lambda: the_rollover(world).outcome is not None, 2 * DAY)
        rollover = the_rollover(world)
    what = f"{plan} {mode} {step}: {rollover.status}, {rollover.outcome_reason}"
    assert rollover.outcome in (Outcome.DONE, Outcome.REFUSED, Outcome.NEEDS_PERSON), what
    assert rollover.outcome_reason, what
    assert rollover.next_action or rollover.outcome is not Outcome.NEEDS_PERSON, what
    last = world.services.ledger.history(rollover)[-1]
    assert last.what == rollover.status.replace("_", " a "), what
    return waited


@pytest.mark.parametrize("step", PLANS[Plan.EXPIRY])
def test_a_table_that_takes_no_record_of_it_is_told_by_the_log(step, caplog):
    """Nothing can be recorded, so nothing can end; the alert reads the log."""
    world = expiry_at(step)
    world.table.commit = _raising(Conflict("412"))  # type: ignore[method-assign]
    world.clock.time = budget(the_rollover(world))
    for _ in range(3):
        deliver(world, step)
        with caplog.at_level(logging.WARNING):
            tell_overdue(world.services)
        world.clock.advance(TURN)
    assert [record.message.split()[0] for record in caplog.records].count("waiting_too_long") == 3


def test_the_states_are_those_of_the_plans():
    """Groups: their works give up by themselves, tests/fleet."""
    assert {plan for plan, _, _ in STATES} == {Plan.EXPIRY, Plan.BREACH, Plan.BREACH_REPROVISION}
    assert {step for plan, _, step in STATES if plan is Plan.EXPIRY} == set(PLANS[Plan.EXPIRY])
