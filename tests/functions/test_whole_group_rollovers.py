"""A group's rollover near expiry from its beginning to its end, in memory, for both kinds of anchor."""

import pytest

from shared.enrollment import Slot
from shared.plans import Step
from shared.rollover import Outcome
from tests.group_story import (
    DEVICES,
    NEW_CA,
    NEW_ROOT,
    OLD_CA,
    OLD_ROOT,
    a_group_story,
    begin,
    go_on,
    reasons,
    the_rollover,
    trusted,
)

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("by_reference", [False, True])
def test_a_group_is_rolled_when_its_devices_have_moved(by_reference):
    world = a_group_story(by_reference=by_reference, retire_when_moved=True)
    old, new = (OLD_ROOT, NEW_ROOT) if by_reference else (OLD_CA, NEW_CA)
    begin(world)
    rollover = go_on(world, until=world.settings.policy.settle / 2)
    assert rollover.next_step is Step.INVOKE_REPROVISION_JOB, reasons(world)
    assert set(trusted(world).values()) == {old.sha256_thumbprint, new.sha256_thumbprint}
    world.fleet.moved = set(DEVICES)
    rollover = go_on(world)
    assert rollover.outcome is Outcome.DONE, reasons(world)
    assert trusted(world)[Slot.SECONDARY] == new.sha256_thumbprint
    assert old.sha256_thumbprint not in trusted(world).values()
    names = {one.certificate.sha256_thumbprint for one in world.authorities.all()}
    assert old.sha256_thumbprint not in names
    assert (new.sha256_thumbprint in names) is by_reference
    assert world.topic.kinds()[-1] == "Rollover.Completed"
    assert the_rollover(world).partition == "group.line-1"
