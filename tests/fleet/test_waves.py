"""A fleet is asked in waves to move, and no further than what was seen of the last wave allows."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.enrollment import Shown
from shared.errors import ServiceRefused
from shared.fleet import Work
from shared.plans import Step
from shared.quota import Quota
from shared.stragglers import list_stragglers
from tests.builders import NEW, OLD, as_outgoing
from tests.certificates import NOW
from tests.fakes import World
from tests.fleet.kit import Fleet, a_fleet, an_expiry, names, thumbprint
from tests.fleet.moving import Asked

pytestmark = pytest.mark.usefixtures("quiet")
HOUR = timedelta(hours=1)


def a_wave(count: int, **changes: object) -> tuple[Fleet, Asked]:
    fleet = a_fleet(count, Work.WAVE, an_expiry(**changes))
    return fleet, Asked(fleet)


def waves(fleet: Fleet) -> list[tuple[int, int, bool]]:
    return [(one.size, one.moved, one.asked) for one in fleet.progress().waves]


def test_a_canary_moves_then_ever_larger_waves_until_everybody_has():
    fleet, asked = a_wave(250)
    fleet.begin()
    progress = fleet.finish()
    assert (progress.devices, progress.done, progress.complete, progress.stragglers) == (250, 250, True, ())
    assert waves(fleet) == [(5, 5, True), (20, 20, True), (80, 80, True), (145, 145, True)]
    assert asked.by_name == dict.fromkeys(names(250), 1)
    assert max(asked.sizes) <= 100
    fleet.host.run(lambda: bool(fleet.host.woken))


def test_devices_are_told_to_look_for_a_certificate_and_not_which():
    fleet, asked = a_wave(3)
    fleet.begin()
    fleet.finish()
    assert asked.payloads == [{"rollover_id": fleet.rollover.id, "enrollment_group": "pumps"}]


def test_a_ca_that_lets_nobody_in_stops_at_the_canary():
    fleet, asked = a_wave(500)
    asked.stop_listening(*names(500))
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().halted is not None)
    assert set(asked.by_name) == set(names(5)), "nobody but the canary was asked"
    assert "5 of 5 connected devices of wave 1 have not moved in 60 minutes" in str(fleet.progress().halted)
    before = dict(asked.by_name)
    fleet.host.run_for(8 * HOUR)
    assert asked.by_name == before
    assert fleet.host.woken, "the rollover is told, and asks for a person"


def test_sessions_that_are_lost_after_asking_count_against_the_incoming_ca():
    fleet, asked = a_wave(500)
    asked.stop_listening(*names(500))
    fleet.begin()
    fleet.host.run(lambda: bool(asked.by_name))
    asked.disconnect(*names(5))
    fleet.host.run(lambda: fleet.progress().halted is not None)
    assert "5 of 5 connected devices" in str(fleet.progress().halted)
    assert set(asked.by_name) == set(names(5))


def test_a_persons_retry_asks_who_is_left_again_with_all_patience():
    fleet, asked = a_wave(40)
    asked.stop_listening(*names(40))
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().halted is not None)
    asked.deaf.clear()
    fleet.change(reopened_at=fleet.world.clock())
    assert fleet.finish().complete


def test_the_canary_is_taken_from_those_that_are_connected():
    fleet, asked = a_wave(100)
    asked.disconnect(*names(60))
    fleet.begin()
    fleet.host.run(lambda: bool(asked.by_name))
    assert set(asked.by_name) == set(names(65)[60:])


def test_who_cannot_be_heard_holds_up_no_wave_and_is_named():
    fleet, asked = a_wave(300)
    away = names(300)[290:]
    asked.disconnect(*away)
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().done == 290)
    progress = fleet.progress()
    assert (progress.halted, progress.complete, progress.threshold_reached) == (None, False, False)
    assert set(progress.stragglers) == set(away)
    asked.move(away[0])
    asked.move(away[1])
    asked.move(away[2])
    asked.move(away[3])
    fleet.host.run_for(HOUR)
    assert fleet.progress().threshold_reached, "294 of 300 are enough"


def test_a_few_that_stay_behind_hold_up_the_next_wave_for_its_patience_only():
    fleet, asked = a_wave(100)
    asked.stop_listening(*names(25)[23:])
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().done == 23)
    fleet.host.run_for(HOUR / 2)
    assert [one[2] for one in waves(fleet)] == [True, True, False]
    fleet.host.run(lambda: fleet.progress().done == 98)
    assert fleet.progress().halted is None


def test_a_certificate_that_changed_by_hand_is_no_move():
    fleet, asked = a_wave(10)
    asked.stop_listening(*names(10))
    fleet.begin()
    fleet.host.run(lambda: bool(asked.by_name))
    for name in names(5):
        fleet.world.hub.put(name, thumbprint(name, 7), thumbprint(name, 7), connected=True)
    fleet.host.run_for(HOUR / 2)
    assert fleet.progress().done == 0, "DPS registered none of them since"


def test_a_registration_with_the_same_certificate_is_no_move_where_a_new_one_is_needed():
    fleet, asked = a_wave(10)
    asked.same_leaf = True
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().halted is not None)
    assert fleet.progress().done == 0


def test_after_the_outgoing_cas_end_any_registration_is_a_move():
    outgoing = replace(as_outgoing(OLD), not_after=NOW + timedelta(days=1))
    fleet, asked = a_wave(10, outgoing=outgoing)
    asked.same_leaf = True
    fleet.world.clock.time = NOW + timedelta(days=2)
    fleet.begin()
    assert fleet.finish().complete
    assert all(one["register_again"] for one in asked.payloads)


def test_where_the_ca_was_renewed_with_its_key_a_registration_after_asking_is_a_move():
    renewed = replace(as_outgoing(NEW), not_after=OLD.not_after, subject=NEW.subject)
    fleet, asked = a_wave(30, outgoing=renewed)
    asked.same_leaf = True
    fleet.begin()
    assert fleet.finish().complete
    assert all(one["register_again"] for one in asked.payloads)


def test_where_the_group_names_a_ca_that_was_renewed_with_its_key_nobody_is_asked():
    renewed = replace(as_outgoing(NEW), not_after=OLD.not_after, subject=NEW.subject)
    fleet, asked = a_wave(130, outgoing=renewed)
    fleet.world.dps.enroll_group("pumps", ca_references=["pumps-root"])
    fleet.begin()
    assert fleet.finish().complete
    assert not asked.by_name


def test_who_moves_by_himself_before_his_wave_is_not_asked():
    fleet, asked = a_wave(100)
    asked.stop_listening(*names(5))
    fleet.begin()
    fleet.host.run(lambda: bool(asked.by_name))
    for name in names(100):
        asked.move(name)
    assert fleet.finish().complete
    assert set(asked.by_name) == set(names(5))


def test_devices_of_another_hub_are_left_to_it_and_in_no_wave():
    fleet, asked = a_wave(50)
    for name in names(5):
        fleet.world.dps.registered(name, hub="other.azure-devices.net", group="pumps")
    fleet.begin()
    progress = fleet.finish()
    assert (progress.done, progress.complete) == (45, False)
    assert set(progress.stragglers) == set(names(5))
    assert [one[0] for one in waves(fleet)] == [5, 20, 20]
    assert not set(asked.by_name) & set(names(5))


def test_429_slows_asking_down_and_poisons_nothing():
    fleet, asked = a_wave(250)
    asked.throttled = 40
    fleet.begin()
    assert fleet.finish().complete
    assert asked.by_name == dict.fromkeys(names(250), 1)


def test_no_more_devices_are_asked_in_a_time_than_the_hub_s_jobs_take():
    fleet, asked = a_wave(1000)
    fleet.world.hub.tier = Quota("S1", 1)
    fleet.begin()
    assert fleet.finish().complete
    early = timedelta(seconds=1)  # a turn may begin so early
    for first, at in enumerate(asked.moments):
        for beyond, later in enumerate(asked.moments[first:], first):
            most = fleet.world.hub.tier.job_devices * (later - at + early).total_seconds()
            assert sum(asked.sizes[first:beyond]) <= most


def test_a_hub_that_runs_one_job_at_a_time_is_asked_again_and_again_and_everybody_moves():
    fleet, asked = a_wave(1000)
    fleet.world.hub.tier = Quota("S1", 1)
    asked.most_active = 1
    fleet.begin()
    assert fleet.finish().complete
    assert asked.by_name == dict.fromkeys(names(1000), 1)
    bound = 1000 / fleet.world.hub.tier.job_devices
    took = (fleet.world.clock() - NOW).total_seconds()
    print(f"\n1000 devices on S1 x 1: {took:.0f} s, bound {bound:.0f} s, {asked.refused} jobs refused by 429")
    assert took < 6 * bound


class Killed(BaseException):
    """The host dies."""


class Mortal:
    """A host that dies at one write to table, hub or queue, before it or when it was done."""

    def __init__(self, world: World, at: int, *, after: bool) -> None:
        self.count = 0
        self._at, self._after = at, after
        for port, operation in ((world.fleets, "commit"), (world.hub, "start_fleet_job"), (world.nudges, "send")):
            setattr(port, operation, self._mortal(getattr(port, operation)))

    def _mortal(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **named: Any) -> Any:
            self.count += 1
            dies = self.count == self._at
            if dies and not self._after:
                raise Killed
            result = write(*args, **named)
            if dies:
                raise Killed
            return result

        return dying


def moved_although_killed(at: int, *, after: bool) -> int:
    """A whole fleet whose host is killed at one write; how many writes there were."""
    fleet, asked = a_wave(40)
    fleet.begin()
    mortal = Mortal(fleet.world, at, after=after)
    deliver = fleet.host.deliver

    def survived(*message: Any) -> None:
        with suppress(Killed):
            deliver(*message)

    fleet.host.deliver = survived
    assert fleet.finish(timedelta(hours=2)).complete, f"killed at write {at}"
    assert asked.by_name == dict.fromkeys(names(40), 1), f"killed at write {at}"
    return mortal.count


@pytest.mark.proof
def test_a_host_that_is_killed_at_any_write_costs_time_and_asks_nobody_twice(whole: bool):
    writes = moved_although_killed(0, after=False)
    points = [(at, after) for at in range(1, writes + 1) for after in (False, True)]
    for at, after in points if whole else random.Random(4).sample(points, 12):
        moved_although_killed(at, after=after)
    print(f"\n{len(points)} kill points of {writes} writes")


def test_long_ids_are_asked_by_more_jobs_than_one():
    fleet, asked = a_wave(0)
    long = [f"{number:03}-{'x' * 120}" for number in range(100)]
    for name in long:
        fleet.world.dps.registered(name, group="pumps")
        fleet.world.hub.put(name, thumbprint(name), thumbprint(name), connected=True)
    fleet.world.settings = replace(fleet.world.settings, waves=replace(fleet.world.settings.waves, canary=100))
    fleet.begin()
    assert fleet.finish().complete
    assert asked.sizes == [46, 46, 8]


def test_stragglers_are_asked_on_while_the_outgoing_ca_waits_for_its_end_and_not_once_it_is_gone():
    fleet, asked = a_wave(100)
    late = names(100)[99]
    asked.stop_listening(late)
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().done == 99)
    fleet.change(done=(*fleet.the_rollover().done, Step.INVOKE_REPROVISION_JOB))
    before = asked.by_name[late]
    fleet.host.run_for(2 * HOUR)
    assert asked.by_name[late] > before
    fleet.change(done=(*fleet.the_rollover().done, Step.DELETE_PRIMARY))
    before = asked.by_name[late]
    fleet.host.run_for(8 * HOUR)
    assert asked.by_name[late] == before


def given_up(fleet: Fleet, *some: str) -> None:
    """Their identities authenticate by a CA, so that nothing would tell whether they moved."""
    for name in some:
        fleet.world.hub.put(name, None, None, authentication="certificateAuthority", connected=True)


def test_the_canary_is_taken_from_those_that_can_tell_something():
    """Else the wave after it, four times as large, were the first to be asked."""
    fleet, asked = a_wave(500)
    given_up(fleet, *names(500)[:150])
    asked.stop_listening(*names(500))
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().halted is not None)
    assert len(asked.by_name) == 5
    assert set(asked.by_name) <= set(names(500)[150:])


def test_devices_that_the_hub_does_not_show_hold_up_no_other():
    fleet, asked = a_wave(250)
    bad = {names(250)[3], names(250)[180]}
    shown = fleet.world.hub.shown

    def odd(device_id: str) -> Shown | None:
        if device_id in bad:
            raise ServiceRefused("400 ArgumentInvalid")
        return shown(device_id)

    fleet.world.hub.shown = odd  # type: ignore[method-assign]
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().done == 248, 3 * HOUR)
    progress = fleet.progress()
    assert (progress.halted, progress.threshold_reached, set(progress.stragglers)) == (None, True, bad)
    left = list_stragglers(fleet.rollover.id, {}, fleet.world.services)["stragglers"]
    assert all("the cloud does not show it" in one["why"] for one in left)
    assert asked.by_name.keys() >= set(names(250)) - bad
    bad.clear()
    fleet.host.run_for(HOUR)
    left = list_stragglers(fleet.rollover.id, {}, fleet.world.services)["stragglers"]
    assert all("asked" in one["why"] for one in left), "shown again, they are as any other that has not moved"
