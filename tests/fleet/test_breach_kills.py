"""A group's breach whose host dies at any of its writes comes to the same end, with the real works on its fleet."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.breaching import confirm, preview
from shared.plans import Step
from shared.rollover import Outcome
from tests.fakes import World
from tests.fleet.kit import Host, names
from tests.fleet.test_whole_breach import MADE, ONCALL, come_back, put_on, restored
from tests.group_story import GROUP, NEW_CA, NEW_ROOT, OLD_CA, OLD_ROOT, a_group_story, reasons, the_rollover, trusted
from tests.mortal import Killed, Mortal

pytestmark = pytest.mark.usefixtures("quiet")
DEVICES, SAMPLE = 4, 12


def a_breach(at: int, *, applied: bool, by_reference: bool) -> Mortal:
    """A whole breach with one death in it, looked at in the end."""
    world = a_group_story(by_reference=by_reference)
    put_on(world, [*names(DEVICES), MADE])
    host = Host(world, whole=True)
    mortal = Mortal(world, at, applied=applied)
    _call(world)
    _go_on(world, host, lambda: the_rollover(world).next_step is Step.RESTORE_TWIN)
    assert the_rollover(world).contained, reasons(world)
    assert not world.hub.identities
    come_back(world, names(DEVICES))
    world.hub.put(MADE, "A", "A")  # so that all are back, and nothing waits for a threshold
    _go_on(world, host, lambda: the_rollover(world).next_step is None)
    old, new = (OLD_ROOT, NEW_ROOT) if by_reference else (OLD_CA, NEW_CA)
    assert the_rollover(world).outcome is Outcome.DONE, reasons(world)
    assert restored(world) == {*names(DEVICES), MADE}
    assert set(trusted(world).values()) - {None} == {new.sha256_thumbprint}
    assert old.sha256_thumbprint not in {one.certificate.sha256_thumbprint for one in world.authorities.all()}
    assert len(list(world.services.ledger.rollovers_of_group(GROUP))) == 1
    host.run(lambda: not the_rollover(world).outbox, timedelta(hours=1))
    assert set(world.topic.kinds()) == {f"Rollover.{one}" for one in ("Started", "Contained", "Recovered", "Completed")}
    return mortal


def _call(world: World) -> None:
    """Somebody who calls until there is an answer, with the same token."""
    token = None
    for _ in range(3):
        try:
            if token is None:
                asked = {"enrollment_group": GROUP, "reason": "the CA's key was copied"}
                token = preview(asked, ONCALL, world.services)["confirm_token"]
            confirm({"confirm": token}, ONCALL, world.services)
        except Killed:
            continue
        return
    raise AssertionError("no answer to the call")


def _go_on(world: World, host: Host, until: Callable[[], bool]) -> None:
    end = world.clock() + timedelta(hours=3)
    while not until():
        assert world.clock() < end, f"it does not come to an end: {reasons(world)}"
        try:
            host.step()
        except Killed:
            continue


@pytest.mark.proof
@pytest.mark.parametrize("by_reference", [False, True], ids=["signing certificates", "CA references"])
def test_a_breach_killed_at_any_write_comes_to_the_same_end(by_reference: bool, whole: bool) -> None:
    """Issue 4: kills after every write, and before it."""
    count = a_breach(0, applied=True, by_reference=by_reference).count
    numbers = range(1, count + 1) if whole else sorted(random.Random(4).sample(range(1, count + 1), SAMPLE))
    deaths = 0
    for number in numbers:
        for applied in (False, True):
            deaths += a_breach(number, applied=applied, by_reference=by_reference).killed
    print(f"\na breach of a group killed before and after {len(numbers)} of {count} writes: {deaths} deaths, one end")
    assert deaths == 2 * len(numbers)
