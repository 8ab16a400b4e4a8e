"""A group's CA is rolled from its beginning to its end, with the works as they are, for both kinds of anchor."""

import heapq
from datetime import timedelta

import pytest

from shared.fleet import Work
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.resuming import resume_due
from shared.rollover import Outcome
from shared.starting import start_rollover
from shared.stepping import carry_out
from tests.builders import EFFECTS
from tests.certificates import NOW
from tests.fakes import World
from tests.fleet.kit import Fleet, Host, names, thumbprint
from tests.fleet.moving import Asked
from tests.group_story import CERTIFICATE, GROUP, NEW_CA, NEW_ROOT, OLD_CA, OLD_ROOT, a_group_story, reasons, trusted
from tests.group_story import the_rollover as last

pytestmark = pytest.mark.usefixtures("quiet")
ANCHORS = pytest.mark.parametrize("by_reference", [False, True], ids=["in a slot", "by name"])


class WholeHost(Host):
    """Delivers the messages of rollovers, too, and turns their timer."""

    def step(self) -> None:
        clock = self.world.clock
        if self.queue and "/" not in self.queue[0][3] and self.queue[0][0] <= self._tick:
            moment, _, step, about = heapq.heappop(self.queue)
            clock.time = max(clock.time, moment)
            carry_out(step, encode_nudge(about).encode(), self.world.services, EFFECTS[step])
        else:
            before = self._tick
            super().step()
            if self._tick != before:
                resume_due(self.world.services)


def a_story(by_reference: bool, count: int, **policy: object) -> tuple[Fleet, Asked, WholeHost]:
    world = a_group_story(by_reference=by_reference, **policy)
    world.fleet = None
    world.hub.identities.clear()
    world.dps.members_of[GROUP] = []
    world.clock.time = NOW - timedelta(days=10)
    for name in names(count):
        world.dps.registered(name, group=GROUP)
        world.hub.put(name, thumbprint(name), thumbprint(name), connected=True)
    world.clock.time = NOW
    host = WholeHost(world)
    started = start_rollover(CERTIFICATE, "sweep", world.services)
    assert started.what == "begun", started
    fleet = Fleet(world, host, last(world), Work.WAVE)
    return fleet, Asked(fleet, group=GROUP), host


def ended(world: World) -> bool:
    return last(world).outcome is not None


@ANCHORS
def test_a_group_is_rolled_and_the_old_ca_goes_once_it_has_expired(by_reference):
    fleet, asked, host = a_story(by_reference, 120)
    world, old, new = fleet.world, *((OLD_ROOT, NEW_ROOT) if by_reference else (OLD_CA, NEW_CA))
    late = names(120)[119]
    asked.stop_listening(late)
    host.run(lambda: len(asked.by_name) == 120)
    host.run_for(timedelta(hours=1))
    assert last(world).next_step is Step.INVOKE_REPROVISION_JOB
    world.clock.time = old.not_after - timedelta(hours=3)
    host.run(lambda: ended(world) or world.clock() > old.not_after - timedelta(hours=1))
    assert last(world).outcome is None, reasons(world)
    assert set(trusted(world).values()) == {old.sha256_thumbprint, new.sha256_thumbprint}
    host.run(lambda: ended(world))
    assert last(world).outcome is Outcome.DONE, reasons(world)
    assert world.clock() >= old.not_after
    assert old.sha256_thumbprint not in trusted(world).values()
    [why] = [why for what, why in reasons(world) if what == "acts" and "lets go of the outgoing" in why]
    assert f"119 of 120 moved; left behind: {late}" in why


@ANCHORS
def test_a_ca_that_lets_nobody_in_harms_the_canary_and_ends_with_a_person(by_reference):
    fleet, asked, host = a_story(by_reference, 120)
    asked.stop_listening(*names(120))
    host.run(lambda: ended(fleet.world))
    assert last(fleet.world).outcome is Outcome.NEEDS_PERSON
    assert "have not moved" in (last(fleet.world).outcome_reason or "")
    assert set(asked.by_name) == set(names(5))
