"""A breach call that says since when a group's CA may be stolen: what is previewed, and what is done."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from shared.breaching import WorldChanged, confirm, preview
from shared.callers import Role
from shared.errors import BadInput, Unsuitable
from shared.rollover import Outcome
from tests.certificates import NOW
from tests.fakes import World, somebody
from tests.group_story import DEVICES, GROUP, a_group_story, the_rollover

pytestmark = pytest.mark.usefixtures("quiet")
ONCALL = somebody("oncall", Role.BREACH_EXECUTE)
THEFT = NOW - timedelta(hours=5)
SAFE = {"compromised_since": THEFT.isoformat(), "leaf_keys_safe": True}


def a_story() -> World:
    """One device registered since the theft, one in the month before, one long ago."""
    world = a_group_story()
    for device_id, at in zip(DEVICES, (THEFT, THEFT - timedelta(days=9), THEFT - timedelta(days=99)), strict=True):
        world.clock.time = at
        world.dps.registered(device_id, group=GROUP)
    world.clock.time = NOW
    return world


def asking(**members: Any) -> dict[str, Any]:
    return {"enrollment_group": GROUP, "reason": "the CA's key was copied", **members}


def shown(world: World, **members: Any) -> Mapping[str, Any]:
    return preview(asking(**members), ONCALL, world.services)


def test_the_preview_says_whom_it_would_evict_and_what_an_earlier_theft_would_mean():
    answer = shown(a_story(), **SAFE)
    eviction = answer["targets"][0]["eviction"]
    assert eviction["who"] == "suspects only"
    counted = {name: value for name, value in eviction.items() if name not in ("who", "why")}
    assert counted == {"registered_since": 1, "registered_since_30_days_earlier": 2, "left_alone": 2}
    assert answer["devices"] == 1, "the fuse counts who is evicted"


def test_without_a_word_on_leaf_keys_everybody_goes_and_the_suspects_first():
    answer = shown(a_story(), compromised_since=THEFT.isoformat())
    assert answer["targets"][0]["eviction"]["who"] == "everybody, suspects first"
    assert answer["devices"] == 3


def test_it_is_not_narrowed_where_a_ca_lets_devices_in_and_says_so():
    world = a_story()
    world.hub.put("by-ca", None, None, authentication="certificateAuthority")
    eviction = shown(world, **SAFE)["targets"][0]["eviction"]
    assert eviction["who"] == "everybody, suspects first"
    assert "by-ca" in eviction["why"]


def test_what_was_confirmed_is_what_the_rollover_remembers():
    world = a_story()
    confirm({"confirm": shown(world, **SAFE)["confirm_token"]}, ONCALL, world.services)
    incident = the_rollover(world).incident
    assert incident
    assert (incident.compromised_since, incident.suspects_only) == (THEFT, True)


def test_a_premise_that_fell_between_preview_and_confirmation_is_a_changed_world():
    world = a_story()
    token = shown(world, **SAFE)["confirm_token"]
    world.hub.put("by-ca", None, None, authentication="certificateAuthority")
    with pytest.raises(WorldChanged) as caught:
        confirm({"confirm": token}, ONCALL, world.services)
    assert {"what": f"group {GROUP}: evicts", "previewed": "suspects", "now": "everybody"} in caught.value.members[
        "difference"
    ]


@pytest.mark.parametrize(
    ("second", "replaces"),
    [
        ({}, True),
        ({"compromised_since": THEFT.isoformat()}, True),
        ({**SAFE, "compromised_since": (THEFT - timedelta(hours=1)).isoformat()}, True),
        (SAFE, False),
        ({**SAFE, "compromised_since": (THEFT + timedelta(hours=1)).isoformat()}, False),
    ],
)
def test_a_call_that_evicts_more_takes_the_place_of_one_that_evicts_less(second: dict[str, Any], replaces: bool):
    world = a_story()
    confirm({"confirm": shown(world, **SAFE)["confirm_token"]}, ONCALL, world.services)
    first = the_rollover(world)
    answer = shown(world, **second)
    assert (answer["targets"][0]["goes_on_with"] is None) == replaces
    confirm({"confirm": answer["confirm_token"]}, ONCALL, world.services)
    last = the_rollover(world)
    assert (last.id != first.id) == replaces
    assert (world.services.ledger.read(first.id).outcome is Outcome.PREEMPTED) == replaces


@pytest.mark.parametrize(
    "members",
    [
        {"leaf_keys_safe": True},
        {"compromised_since": THEFT.isoformat(), "leaf_keys_safe": "yes"},
        {"compromised_since": "yesterday"},
        {"compromised_since": 1764000000},
        {"compromised_since": "2026-11-24T18:00:00"},
        {"compromised_since": (NOW + timedelta(minutes=1)).isoformat()},
        {"compromised_since": "0001-01-01T00:00:00+05:00"},
        {"compromised_since": "0001-01-01T00:00:00Z"},
        {"compromised_since": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_a_scope_with_a_slip_in_it_is_refused(members: dict[str, Any]):
    with pytest.raises(BadInput):
        shown(a_story(), **members)


def test_an_individual_enrollment_has_no_suspects():
    world = a_story()
    with pytest.raises(Unsuitable, match="names no group"):
        preview({"registration_id": "meter-01", "reason": "stolen", **SAFE}, ONCALL, world.services)
