"""The rollover of a group's device whose host dies at any of its writes comes to the same end, by the timer alone."""

import random
from datetime import timedelta
from typing import Any

import pytest

from shared.nudges import encode_nudge
from shared.resuming import resume_due
from shared.rollover import Outcome
from shared.stepping import carry_out
from shared.sweeping import sweep
from tests.builders import EFFECTS
from tests.fakes import World
from tests.member_story import DEVICE, LEAF, a_member_story, moves_when_asked, newest, reasons
from tests.mortal import Killed, Mortal

SAMPLE = 6
pytestmark = pytest.mark.usefixtures("quiet")


def host_lives(world: World) -> None:
    """One minute of a host: the timers, and what they nudge."""
    resume_due(world.services)
    while world.nudges.sent:
        step, about, delay = world.nudges.sent.pop(0)
        if not delay:
            carry_out(step, encode_nudge(about).encode(), world.services, EFFECTS[step])


def registers_when_asked(world: World) -> None:
    """The device does what it is told, and DPS leaves the hub alone."""
    start = world.hub.start_method_job

    def reached(*arguments: Any) -> None:
        start(*arguments)
        world.clock.advance(timedelta(seconds=1))
        world.dps.registered(DEVICE)

    world.hub.start_method_job = reached  # type: ignore[method-assign]


def a_rollover(at: int, *, applied: bool, refreshes: bool) -> Mortal:
    """From the sweep to the end with one death in it; where DPS refreshes nothing, until the old certificate's end."""
    world = a_member_story()
    moves_when_asked(world) if refreshes else registers_when_asked(world)
    mortal = Mortal(world, at, applied=applied)
    for minute in range(300):
        last = world.services.ledger.last(DEVICE)
        if last is not None and last.outcome is not None and not last.outbox:
            break
        try:
            if minute % 40 == 0:
                sweep(world.services)
            host_lives(world)
        except Killed:
            world.nudges.sent.clear()
        world.clock.advance(timedelta(minutes=1) if minute < 40 else timedelta(hours=6))
    last = world.services.ledger.last(DEVICE)
    assert last.outcome is Outcome.DONE, reasons(world)
    assert last.id == f"individual.{DEVICE}.1", "one rollover came of it"
    assert (world.vault.asked, len(world.vault.kept[last.certificate_name].versions)) == (1, 2)
    assert set(world.hub.identities[DEVICE].thumbprints()) == {newest(world).sha256_thumbprint}
    assert world.topic.kinds()[-1] == "Rollover.Completed"
    assert last.outgoing.sha256_thumbprint == LEAF.sha256_thumbprint
    return mortal


@pytest.mark.proof
@pytest.mark.parametrize("refreshes", [True, False], ids=["as DPS does", "policy never"])
def test_killed_before_or_after_any_write_it_comes_to_the_same_end(refreshes: bool, whole: bool) -> None:
    count = a_rollover(0, applied=True, refreshes=refreshes).count
    numbers = range(1, count + 1) if whole else sorted(random.Random(6).sample(range(1, count + 1), SAMPLE))
    for number in numbers:
        for applied in (False, True):
            assert a_rollover(number, applied=applied, refreshes=refreshes).killed
    print(f"\na group's device killed before and after {len(numbers)} of {count} writes, one end each time")
