"""A breach that is narrowed to suspects evicts each identity of the thief, and as few others as it can know."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.enrollment import HubIdentity
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.fleet import Work
from shared.keeping_pins import EVERY, keep_pins
from tests.certificates import NOW
from tests.fleet.kit import Fleet, a_breach, a_fleet, names, thumbprint

THEFT = NOW - timedelta(days=2)


def a_narrowed_fleet(count: int, *, only: bool = True) -> Fleet:
    """Devices that registered and were looked at long before the theft."""
    rollover = a_breach(Work.EVICT)
    assert rollover.incident
    incident = replace(rollover.incident, compromised_since=THEFT, suspects_only=only)
    fleet = a_fleet(count, rollover=replace(rollover, incident=incident))
    fleet.world.clock.time = THEFT - timedelta(days=3)
    look(fleet)
    return fleet


def look(fleet: Fleet) -> None:
    while keep_pins(fleet.world.services):
        pass


def register(fleet: Fleet, name: str, leaf: str) -> None:
    fleet.world.dps.registered(name, group="pumps")
    fleet.world.hub.put(name, leaf, leaf, connected=True)


def evict(fleet: Fleet) -> None:
    fleet.world.clock.time = NOW
    fleet.begin()
    assert fleet.finish().complete


def test_the_thiefs_identities_go_and_those_of_before_stay():
    fleet = a_narrowed_fleet(350)
    fleet.world.clock.time = THEFT + timedelta(hours=1)
    dice = random.Random(5)
    since = dice.sample(names(350), 60)
    stolen, rebooted = since[:7], since[7:]
    for name in stolen:
        register(fleet, name, thumbprint(name, generation=1))
    for name in rebooted:
        register(fleet, name, thumbprint(name))
    register(fleet, "pump-of-nobody", thumbprint("pump-of-nobody"))
    fleet.world.clock.time = THEFT + timedelta(hours=30)
    look(fleet)  # it sees the thief's, and must not take them for known
    evict(fleet)
    assert {*names(350), "pump-of-nobody"} - {*fleet.world.hub.identities} == {*stolen, "pump-of-nobody"}
    progress = fleet.progress()
    assert (progress.devices, progress.spared) == (61, 290)
    kept = fleet.world.services.fleet.kept(fleet.rollover.partition).read(names(350))
    assert {*kept} == {*stolen}


def test_what_is_read_back_is_narrowed_alike():
    fleet = a_narrowed_fleet(120)
    fleet.world.clock.time = THEFT + timedelta(hours=1)
    register(fleet, "pump-000005", thumbprint("pump-000005", generation=1))
    evict(fleet)
    register(fleet, "pump-000006", thumbprint("pump-000006", generation=1))  # was under way when the door was shut
    fleet.begin(Work.CHECK)
    progress = fleet.finish()
    assert progress.complete
    assert len(fleet.world.hub.identities) == 118


def test_without_a_look_before_the_theft_whoever_registered_since_goes():
    fleet = a_narrowed_fleet(20)
    fleet.world.fleets.rows = {key: row for key, row in fleet.world.fleets.rows.items() if key[0] != "pins"}
    fleet.world.clock.time = THEFT + timedelta(hours=1)
    look(fleet)
    register(fleet, "pump-000005", thumbprint("pump-000005"))
    evict(fleet)
    assert {*names(20)} - {*fleet.world.hub.identities} == {"pump-000005"}


def test_when_all_must_go_the_suspects_go_first(monkeypatch: pytest.MonkeyPatch):
    fleet = a_narrowed_fleet(300, only=False)
    fleet.world.clock.time = THEFT + timedelta(hours=1)
    suspects = names(300)[250:280]
    for name in suspects:
        register(fleet, name, thumbprint(name, generation=1))
    fleet.world.clock.time = NOW
    order: list[str] = []
    delete = fleet.world.hub.delete

    def noting(identity: HubIdentity) -> None:
        order.append(identity.device_id)
        delete(identity)

    monkeypatch.setattr(fleet.world.hub, "delete", noting)
    fleet.begin()
    assert fleet.finish().complete
    assert not fleet.world.hub.identities
    assert sorted(order[:30]) == suspects
    assert len(order) == 300


def test_a_look_is_repeated_after_a_day_and_no_sooner():
    fleet = a_narrowed_fleet(30)
    services, pins = fleet.world.services, fleet.world.services.fleet.pins
    first = pins.round()
    assert first
    assert (first.devices, first.complete_since) == (30, THEFT - timedelta(days=3))
    fleet.world.clock.time = first.began_at + EVERY - timedelta(seconds=1)
    assert keep_pins(services) == 0
    fleet.world.clock.time += timedelta(seconds=1)
    assert keep_pins(services) == 30
    second = pins.round()
    assert second
    assert (second.began_at, second.complete_since) == (fleet.world.clock.time, first.complete_since)


def test_a_look_goes_on_over_turns_and_starts_over_when_its_place_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    fleet = a_narrowed_fleet(0)
    hub, services = fleet.world.hub, fleet.world.services
    for name in names(30):
        hub.put(name, thumbprint(name), thumbprint(name))
    hub.page = 4
    fleet.world.clock.time += EVERY
    assert keep_pins(services) == 20
    asked = hub.pinned

    def forgets(after: str | None) -> object:
        if after:
            raise ServiceRefused("the continuation token is not valid")
        return asked(after)

    monkeypatch.setattr(hub, "pinned", forgets)
    assert keep_pins(services) == 0
    monkeypatch.setattr(hub, "pinned", asked)
    assert (keep_pins(services), keep_pins(services), keep_pins(services)) == (20, 10, 0)
    assert {*services.fleet.pins.since(names(30))} == {*names(30)}


def test_a_hub_that_is_down_costs_a_turn(monkeypatch: pytest.MonkeyPatch):
    fleet = a_narrowed_fleet(3)
    fleet.world.clock.time += EVERY

    def down(after: str | None) -> object:
        raise ServiceUnavailable("503")

    asked = fleet.world.hub.pinned
    monkeypatch.setattr(fleet.world.hub, "pinned", down)
    assert keep_pins(fleet.world.services) == 0
    monkeypatch.setattr(fleet.world.hub, "pinned", asked)
    assert keep_pins(fleet.world.services) == 3


def test_without_a_group_nothing_is_looked_at():
    fleet = a_narrowed_fleet(3)
    fleet.world.dps.grouped.clear()
    fleet.world.clock.time += 2 * EVERY
    assert keep_pins(fleet.world.services) == 0
