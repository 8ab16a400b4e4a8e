"""Removing a hub identity: its twin is kept first, and what is kept once is never lost to a late read."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.enrollment import HubIdentity, Twin
from shared.errors import Conflict, NotFound
from shared.hub_effects import remove
from shared.plans import Step
from shared.rollover import ACT_LEASE, Rollover
from tests.builders import DEVICE, OLD, OLD_256, a_rollover, a_story
from tests.fakes import World

TWIN = Twin("t1", {"site": "Oslo"}, {"interval": 30})
ROLLOVER: Rollover = a_rollover(Step.ISSUE_CERTIFICATE)


def a_plant(*, connected: bool = False) -> tuple[World, HubIdentity]:
    world = a_story()
    world.hub.put(DEVICE, OLD_256, OLD_256, connected=connected)
    world.hub.twins[DEVICE] = TWIN
    return world, world.hub.identities[DEVICE]


def kept(world: World) -> Twin:
    found = world.services.ledger.removed(ROLLOVER)
    assert found is not None
    return found.twin


def test_the_twin_is_kept_when_a_late_read_shows_an_identity_that_is_deleted_already() -> None:
    world, identity = a_plant()
    remove(ROLLOVER, identity, world.services)
    with pytest.raises(NotFound):
        remove(ROLLOVER, identity, world.services)
    assert kept(world).equals(TWIN)


def test_the_twin_is_kept_when_its_identity_was_made_anew_meanwhile() -> None:
    world, identity = a_plant()
    remove(ROLLOVER, identity, world.services)
    world.hub.provision(DEVICE, OLD.sha256_thumbprint)  # a registration that was under way
    with pytest.raises(Conflict):
        remove(ROLLOVER, identity, world.services)
    assert kept(world).equals(TWIN)
    remove(ROLLOVER, world.hub.identities[DEVICE], world.services)
    assert kept(world).equals(TWIN)


def test_nothing_is_kept_and_nothing_deleted_when_no_twin_can_be_read() -> None:
    world, identity = a_plant()
    del world.hub.identities[DEVICE]
    with pytest.raises(NotFound):
        remove(ROLLOVER, identity, world.services)
    assert world.services.ledger.removed(ROLLOVER) is None


def test_much_later_a_twin_that_has_changed_is_kept_anew() -> None:
    world, identity = a_plant()
    with pytest.raises(Conflict):
        remove(ROLLOVER, replace(identity, etag="stale"), world.services)
    changed = Twin("t2", {"site": "Bergen"}, {})
    world.hub.twins[DEVICE] = changed
    world.clock.advance(ACT_LEASE)
    remove(ROLLOVER, identity, world.services)
    assert kept(world).equals(changed)


def test_a_session_of_the_first_identity_is_not_forgotten_with_the_second_one() -> None:
    """It lives up to a minute after the deletion, and the new identity does not show it."""
    world, identity = a_plant(connected=True)
    remove(ROLLOVER, identity, world.services)
    world.hub.provision(DEVICE, OLD_256)
    world.clock.advance(timedelta(seconds=20))
    remove(ROLLOVER, world.hub.identities[DEVICE], world.services)
    found = world.services.ledger.removed(ROLLOVER)
    assert found is not None
    assert found.connected
