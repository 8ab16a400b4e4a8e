"""What the sweep looks at of groups' devices, and what the horizon foretells of them, against what then happens."""

from datetime import timedelta

import pytest

from shared.expiring import look_ahead
from shared.horizon import PATIENCE, Fate
from shared.screening import MOST_IN_TURN, Sight, members_in_turn
from shared.seen import Listed
from shared.survey import Survey
from shared.surveying import survey
from shared.sweeping import sweep
from tests.certificates import NOW
from tests.member_story import CA, CA_KEY, DAY, DEVICE, GROUP, LINE_CA, a_member_story, go_on, moves_when_asked
from tests.own_ca import made, p256

pytestmark = pytest.mark.usefixtures("quiet")
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("count", [1, 9, 500, 7_200])
def test_every_one_is_looked_at_within_three_days(count):
    ca = Listed(CA, tags={"rollover-group": GROUP})
    vault = tuple(Listed(f"leaf-{number}") for number in range(count))
    found = Survey(vault=vault, leaves={one.name: ca for one in vault})
    sights = {one.name: Sight.CALM for one in vault}
    turns = [members_in_turn(found, sights, NOW + hours * HOUR) for hours in range(73)]
    assert set().union(*turns) == {one.name for one in vault}
    assert max(map(len, turns)) <= MOST_IN_TURN + 1


@pytest.mark.parametrize("lives", [10, 40, 300])
def test_what_the_horizon_foretells_comes_then_and_not_before(lives):
    leaf = made(DEVICE, p256(), by=(LINE_CA, CA_KEY), ca=False, starts=NOW, ends=NOW + lives * DAY)
    world = a_member_story(leaf)
    moves_when_asked(world)
    services = world.services
    (told,) = [one for one in look_ahead(survey(services, {}), services) if one.kind == "group_device"]
    assert (told.fate, told.used_by) == (Fate.ROLLS, (GROUP,))
    world.clock.time = told.due_at - timedelta(seconds=1)
    assert sweep(services)["begun"] == 0
    world.clock.time = told.due_at
    assert sweep(services)["begun"] == 1
    assert go_on(world).status == "done"


def test_what_is_due_and_does_not_begin_is_told_as_uncovered_before_it_ends():
    world = a_member_story()
    world.hub.identities.clear()
    services = world.services
    for _ in range(2):
        sweep(services)
        world.clock.advance(PATIENCE)
    (told,) = [one for one in look_ahead(survey(services, {}), services) if one.kind == "group_device"]
    assert told.fate is Fate.UNCOVERED
