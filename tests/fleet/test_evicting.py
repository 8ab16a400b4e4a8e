"""A fleet is evicted: every identity deleted, every twin kept, whatever goes wrong on the way."""

from tests.fleet.kit import a_fleet, names


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
