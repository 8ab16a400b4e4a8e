"""A fleet is evicted: every identity deleted, every twin kept, whatever goes wrong on the way."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from shared.enrollment import Shown
from shared.errors import NotAllowed, ServiceRefused
from shared.stragglers import list_stragglers
from tests.fleet.kit import Fleet, a_fleet, names


def test_a_fleet_is_evicted_and_every_twin_kept():
    fleet = a_fleet(250)
    twins = {name: fleet.world.hub.twins[name].canonical() for name in names(250)}
    fleet.begin()
    progress = fleet.finish()
    assert (progress.devices, progress.done, progress.batches, progress.complete) == (250, 250, 3, True)
    assert not fleet.world.hub.identities
    kept = fleet.world.services.fleet.kept(fleet.rollover.partition).read(names(250))
    assert {name: one.twin.canonical() for name, one in kept.items() if one.twin} == twins
    fleet.host.run(lambda: bool(fleet.host.woken))


BAD = "pump-000123"
Delete = Callable[[Sequence[Shown]], Mapping[str, str]]


def a_fleet_whose_hub(answers: Callable[[Sequence[Shown], Delete], Mapping[str, str]]) -> Fleet:
    """A hub that answers a bulk deletion as ``answers`` does, which is given the real one."""
    fleet = a_fleet(250)
    delete = fleet.world.hub.delete_many
    fleet.world.hub.delete_many = lambda found: answers(found, delete)  # type: ignore[method-assign]
    return fleet


def left(fleet: Fleet) -> list[tuple[str, str]]:
    """Who was given up, and why."""
    found = list_stragglers(fleet.rollover.id, {"work": "evict"}, fleet.world.services)
    return [(one["device_id"], one["why"]) for one in found["stragglers"] if one["given_up"]]


def test_one_identity_that_the_hub_does_not_delete_keeps_no_other_there_and_is_named():
    def answers(found: Sequence[Shown], delete: Delete) -> Mapping[str, str]:
        failed = {one.device_id: "DeviceLocked" for one in found if one.device_id == BAD}
        return {**delete([one for one in found if one.device_id != BAD]), **failed} if len(found) > 1 else failed

    fleet = a_fleet_whose_hub(answers)
    fleet.begin()
    progress = fleet.finish()
    assert (progress.done, progress.complete) == (249, False)
    assert set(fleet.world.hub.identities) == {BAD}
    assert left(fleet) == [(BAD, "the hub did not delete it: DeviceLocked")]


def test_a_call_that_is_refused_as_a_whole_for_one_of_them_is_tried_with_ever_fewer():
    calls: list[int] = []

    def answers(found: Sequence[Shown], delete: Delete) -> Mapping[str, str]:
        calls.append(len(found))
        if any(one.device_id == BAD for one in found):
            raise ServiceRefused("400: one of them is none")
        return delete(found)

    fleet = a_fleet_whose_hub(answers)
    fleet.begin()
    progress = fleet.finish()
    assert (progress.done, progress.complete) == (249, False)
    assert set(fleet.world.hub.identities) == {BAD}
    assert left(fleet) == [(BAD, "the hub did not delete it: 400: one of them is none")]
    assert max(calls) == 100


def test_identities_that_are_throttled_one_by_one_are_tried_until_they_are_gone_and_ever_more_slowly():
    calls: list[datetime] = []

    def answers(found: Sequence[Shown], delete: Delete) -> Mapping[str, str]:
        calls.append(fleet.world.clock())
        some = found[:5]
        return {**delete(some), **{one.device_id: "ThrottlingException" for one in found[5:]}}

    fleet = a_fleet_whose_hub(answers)
    fleet.begin()
    progress = fleet.finish()
    assert progress.complete
    assert not fleet.world.hub.identities
    pauses = [after - before for before, after in pairwise(calls)]
    assert max(pauses) >= timedelta(seconds=10), "429 slows the pace down, also where it comes item by item"


@pytest.mark.parametrize("error", [ServiceRefused("400: what is that"), KeyError("tags")], ids=["refused", "odd"])
def test_one_device_that_cannot_be_read_keeps_no_other_at_the_hub_and_is_named(error: Exception):
    fleet = a_fleet(250)
    shown = fleet.world.hub.shown

    def odd(device_id: str) -> Shown | None:
        if device_id == BAD:
            raise error
        return shown(device_id)

    fleet.world.hub.shown = odd  # type: ignore[method-assign]
    fleet.begin()
    progress = fleet.finish()
    assert (progress.done, progress.complete, progress.halted) == (249, False, None)
    assert set(fleet.world.hub.identities) == {BAD}
    [(device_id, why)] = left(fleet)
    assert device_id == BAD
    assert "cannot be read" in why


def test_a_role_that_is_missing_gives_up_nobody():
    fleet = a_fleet(250)
    shown, now = fleet.world.hub.shown, fleet.world.clock()

    def forbidden(device_id: str) -> Shown | None:
        if fleet.world.clock() < now + timedelta(minutes=9):
            raise NotAllowed("403")
        return shown(device_id)

    fleet.world.hub.shown = forbidden  # type: ignore[method-assign]
    fleet.begin()
    assert fleet.finish().complete


def test_a_device_that_two_pages_name_is_evicted_once():
    """A registration that is written while the pages are read may move from one to a later one."""
    fleet = a_fleet(250)
    fleet.world.dps.members_of["pumps"].append("pump-000003")
    fleet.begin()
    progress = fleet.finish()
    assert (progress.devices, progress.complete) == (251, True)
    kept = fleet.world.services.fleet.kept(fleet.rollover.partition).read(["pump-000003"])
    assert kept["pump-000003"].twin is not None
    assert kept["pump-000003"].twin.tags == {"site": "pump-000003"}
