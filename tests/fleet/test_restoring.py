"""The twins of a group's devices are put back as the devices come back, whatever goes wrong on the way."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.enrollment import Shown, Twin
from shared.errors import NotAllowed, ServiceRefused, ServiceUnavailable
from shared.fleet import Work
from shared.rollover import Outcome
from tests.certificates import NOW
from tests.fleet.kit import MINUTE, Fleet, a_fleet, names, thumbprint

pytestmark = pytest.mark.usefixtures("quiet")
GRACE = timedelta(hours=6)


class Killed(BaseException):
    """The host dies."""


def an_evicted_fleet(count: int) -> Fleet:
    """Evicted, its twins kept; the devices are out, and the rollover has come to the restoring."""
    fleet = a_fleet(count, straggler_grace=GRACE)
    fleet.begin()
    fleet.finish()
    assert not fleet.world.hub.identities
    fleet.host.queue.clear()
    return fleet


def come_back(fleet: Fleet, some: Iterable[str]) -> None:
    """These register again: a new identity with the twin that DPS gives to a new one."""
    for name in some:
        fleet.world.hub.put(name, thumbprint(name, 1), thumbprint(name, 1), connected=True)
        fleet.world.hub.twins[name] = Twin("AAAAAAAAAAE=", {"initial": True}, {})


def owed(fleet: Fleet) -> list[str]:
    """Whose twins wait to be put back."""
    found, more = fleet.world.services.fleet.kept(fleet.rollover.partition).to_put_back(None, 1000)
    assert more is None
    return sorted(one.device_id for one in found)


def as_before(name: str) -> str:
    return Twin("", {"site": name}, {"rate": {"every": 5, "of": name}}).canonical()


def restored(fleet: Fleet) -> set[str]:
    return {name for name, twin in fleet.world.hub.twins.items() if twin.canonical() == as_before(name)}


def done(fleet: Fleet) -> Callable[[], bool]:
    return lambda: fleet.progress().complete


def test_every_twin_is_put_back_and_none_is_kept_after_that() -> None:
    fleet = an_evicted_fleet(250)
    come_back(fleet, names(250))
    fleet.begin(Work.RESTORE)
    progress = fleet.finish(timedelta(hours=1))
    assert (progress.devices, progress.done, progress.batches, progress.complete) == (250, 250, 3, True)
    assert restored(fleet) == set(names(250))
    assert owed(fleet) == []
    fleet.host.run(lambda: bool(fleet.host.woken), MINUTE * 3)


def test_who_comes_back_later_is_restored_soon_after_and_the_threshold_lets_the_rollover_go_on() -> None:
    fleet = an_evicted_fleet(100)
    come_back(fleet, names(100)[:-1])
    fleet.begin(Work.RESTORE)
    fleet.host.run(lambda: fleet.progress().done == 99, MINUTE * 5)
    progress = fleet.progress()
    assert (progress.threshold_reached, progress.finished) == (True, False)
    assert progress.stragglers == (names(100)[-1],)
    fleet.change(outcome=Outcome.DONE, ended_at=fleet.world.clock(), due_at=None)
    fleet.host.run_for(timedelta(hours=2))
    come_back(fleet, names(100)[-1:])
    fleet.host.run(done(fleet), timedelta(minutes=31))
    assert restored(fleet) == set(names(100))


def test_who_is_not_back_when_the_grace_ends_is_named_and_its_twin_stays_kept() -> None:
    fleet = an_evicted_fleet(30)
    come_back(fleet, names(30)[2:])
    fleet.begin(Work.RESTORE)
    progress = fleet.finish(GRACE + timedelta(hours=1))
    assert (progress.done, sorted(progress.stragglers)) == (28, names(30)[:2])
    assert fleet.world.clock() >= NOW + GRACE
    assert owed(fleet) == names(30)[:2]
    come_back(fleet, names(30)[:2])
    fleet.change(round=1)  # a person's retry
    fleet.begin()
    assert fleet.finish(timedelta(hours=1)).complete
    assert restored(fleet) == set(names(30))


def test_a_disabled_identity_is_no_device_that_is_back() -> None:
    fleet = an_evicted_fleet(2)
    come_back(fleet, names(2))
    fleet.world.hub.put(names(2)[0], "A", "A", enabled=False)
    fleet.begin(Work.RESTORE)
    fleet.host.run_for(timedelta(hours=1))
    assert restored(fleet) == {names(2)[1]}


def test_what_the_solution_writes_after_the_return_stays() -> None:
    fleet = an_evicted_fleet(3)
    one = names(3)[0]
    come_back(fleet, [one])
    fleet.begin(Work.RESTORE)
    fleet.host.run(lambda: fleet.progress().done == 1, MINUTE * 5)
    newer = Twin("t-newer", {"site": "moved"}, {})
    fleet.world.hub.twins[one] = newer
    come_back(fleet, names(3)[1:])
    fleet.host.run(done(fleet), MINUTE * 30)
    assert fleet.world.hub.twins[one] == newer


def test_a_write_that_raced_is_read_again() -> None:
    """The device registers anew, or the solution writes, between the read and the write."""
    fleet = an_evicted_fleet(1)
    [one] = names(1)
    come_back(fleet, [one])
    hub = fleet.world.hub
    raced, whole = [], hub.replace_twin

    def replace_twin(device_id: str, read: Twin, twin: Twin) -> None:
        if not raced:
            raced.append(device_id)
            hub.twins[one] = Twin("t-other", {"initial": True}, {"set": "in between"})
        whole(device_id, read, twin)

    hub.replace_twin = replace_twin  # type: ignore[method-assign]
    fleet.begin(Work.RESTORE)
    fleet.host.run(done(fleet), MINUTE * 5)
    assert raced
    assert restored(fleet) == {one}


def test_one_twin_that_the_hub_refuses_holds_up_no_other() -> None:
    fleet = an_evicted_fleet(40)
    come_back(fleet, names(40))
    hub, bad = fleet.world.hub, names(40)[7]
    whole = hub.replace_twin

    def replace_twin(device_id: str, read: Twin, twin: Twin) -> None:
        if device_id == bad:
            raise ServiceRefused("400 ArgumentInvalid")
        whole(device_id, read, twin)

    hub.replace_twin = replace_twin  # type: ignore[method-assign]
    fleet.begin(Work.RESTORE)
    progress = fleet.finish(timedelta(hours=2))
    assert (progress.done, progress.stragglers) == (39, (bad,))
    assert restored(fleet) == {*names(40)} - {bad}
    assert owed(fleet) == [bad]


def test_one_device_that_the_hub_does_not_show_holds_up_no_other() -> None:
    fleet = an_evicted_fleet(40)
    come_back(fleet, names(40))
    hub, bad = fleet.world.hub, names(40)[7]
    whole = hub.shown

    def shown(device_id: str) -> Shown | None:
        if device_id == bad:
            raise ServiceRefused("400 ArgumentInvalid")
        return whole(device_id)

    hub.shown = shown  # type: ignore[method-assign]
    fleet.begin(Work.RESTORE)
    progress = fleet.finish(timedelta(hours=2))
    assert (progress.done, progress.stragglers, progress.halted) == (39, (bad,), None)
    assert restored(fleet) == {*names(40)} - {bad}
    assert owed(fleet) == [bad]


def test_a_missing_role_is_no_fault_of_the_devices() -> None:
    fleet = an_evicted_fleet(5)
    come_back(fleet, names(5))
    hub, whole = fleet.world.hub, fleet.world.hub.replace_twin

    def refuse(*_: object) -> None:
        raise NotAllowed("403")

    hub.replace_twin = refuse  # type: ignore[method-assign]
    fleet.begin(Work.RESTORE)
    fleet.host.run_for(MINUTE * 5)
    assert (fleet.progress().done, fleet.progress().finished) == (0, False)
    hub.replace_twin = whole  # type: ignore[method-assign]
    fleet.host.run(done(fleet), MINUTE * 10)


@pytest.mark.parametrize("applied", [False, True])
def test_throttling_and_lost_answers_cost_time_only(applied: bool) -> None:
    """Every twentieth write is refused by 429, or done and not answered."""
    fleet = an_evicted_fleet(150)
    come_back(fleet, names(150))
    hub, calls, written = fleet.world.hub, [], []
    whole = hub.replace_twin

    def replace_twin(device_id: str, read: Twin, twin: Twin) -> None:
        calls.append(device_id)
        refused = len(calls) % 20 == 0
        if applied or not refused:
            whole(device_id, read, twin)
            written.append(device_id)
        if refused:
            raise ServiceUnavailable("429", timedelta(seconds=2))

    hub.replace_twin = replace_twin  # type: ignore[method-assign]
    fleet.begin(Work.RESTORE)
    fleet.host.run(done(fleet), timedelta(hours=3))
    assert restored(fleet) == set(names(150))
    assert len(written) == 150, "no twin was written twice"


def test_an_earlier_breach_whose_devices_never_came_back_does_not_count() -> None:
    """A thief's made-up names would keep every later breach of the group from ever being done."""
    fleet = an_evicted_fleet(5)
    fleet.begin(Work.RESTORE)
    fleet.finish(GRACE + timedelta(hours=1))
    fleet.change(outcome=Outcome.DONE, ended_at=fleet.world.clock(), due_at=None)
    later = replace(fleet.rollover, id="", outcome=None, ended_at=None, started_at=fleet.world.clock(), done=())
    services = fleet.world.services
    fleet.rollover = services.ledger.begin(later, fleet.the_rollover(), services.ledger.history(fleet.rollover)[0])
    fleet.world.hub.put("pump-000001", "A", "A")
    fleet.begin(Work.EVICT)
    fleet.finish()
    fleet.begin(Work.RESTORE)
    come_back(fleet, ["pump-000001"])
    progress = fleet.finish(timedelta(hours=1))
    assert (progress.devices, progress.done) == (1, 1)


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
def test_a_host_that_dies_at_any_write_costs_time_only(applied: bool) -> None:
    """At every write to hub, table and queue in turn: killed before it, or when it was done."""
    at, survived = 0, False
    while not survived:
        fleet = an_evicted_fleet(3)
        come_back(fleet, names(3))
        survived = not _killed_once(fleet, at, applied=applied)
        at += 1
        assert fleet.progress().complete
        assert restored(fleet) == set(names(3)), f"killed at write {at}"
        assert owed(fleet) == []
    assert at > 12


def _killed_once(fleet: Fleet, at: int, *, applied: bool) -> bool:
    """Run to the end, with the write number ``at`` the last one of its host; whether there was such a write."""
    left, killed = at, False

    def mortal(write: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*args: Any, **named: Any) -> Any:
            nonlocal left, killed
            dies = left == 0 and not killed
            left -= 1
            if dies and not applied:
                killed = True
                raise Killed
            result = write(*args, **named)
            if dies:
                killed = True
                raise Killed
            return result

        return attempt

    world = fleet.world
    world.hub.replace_twin = mortal(world.hub.replace_twin)  # type: ignore[method-assign]
    world.fleets.commit = mortal(world.fleets.commit)  # type: ignore[method-assign]
    world.nudges.send = mortal(world.nudges.send)  # type: ignore[method-assign]
    end = world.clock() + timedelta(hours=2)
    fleet_begun = False
    while not (fleet_begun and fleet.progress().complete):
        assert world.clock() < end, f"killed at write {at}, it does not come to an end"
        try:
            if not fleet_begun:
                fleet_begun = world.services.fleet.progress(fleet.the_rollover(), Work.RESTORE) is not None
            if not fleet_begun:
                fleet.begin(Work.RESTORE)
                fleet_begun = True
            fleet.host.step()
        except Killed:
            continue
    return killed


def test_twins_and_batches_of_an_earlier_release_read_on() -> None:
    """They say nothing of newcomers."""
    fleet = an_evicted_fleet(3)
    fleet.begin(Work.RESTORE)
    fleet.host.run(lambda: fleet.progress().listed, MINUTE)
    rows = fleet.world.fleets.rows
    assert any(row.pop(name, None) is not None for row, _ in [*rows.values()] for name in ("newcomer", "newcomers"))
    for row, _ in rows.values():
        row.pop("newcomer", None)
        row.pop("newcomers", None)
    come_back(fleet, names(3))
    fleet.host.run(done(fleet), MINUTE * 10)
    assert restored(fleet) == set(names(3))
