"""Rollovers from their beginning to their end, through the functions, with a device that does what it is asked."""

from datetime import timedelta

import pytest

from shared.certificate import parse_certificate
from shared.plans import Step
from shared.resuming import resume_due
from shared.sweeping import sweep
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW_256,
    OLD,
    OLD_256,
    a_story,
    begin,
    deliver_all,
    reasons,
    the_rollover,
)
from tests.certificates import NOW, generation
from tests.fakes import InMemoryHub, World


def moves_when_asked(world: World, sha256_thumbprint: str = NEW_256) -> None:
    """The device takes its new certificate when the job reaches it."""
    start = InMemoryHub.start_method_job

    def reached(*arguments):
        start(world.hub, *arguments)
        world.clock.advance(timedelta(seconds=1))
        world.dps.registered(DEVICE)
        world.hub.provision(DEVICE, sha256_thumbprint)

    world.hub.start_method_job = reached


@pytest.mark.parametrize("mirror", [True, False])
def test_a_certificate_rolls_by_itself_from_the_sweep_to_the_end(mirror):
    world = a_story(mirror_primary=mirror)
    moves_when_asked(world)
    assert sweep(world.services) == {"begun": 1}
    deliver_all(world)
    waiting = the_rollover(world)
    assert (waiting.next_step, waiting.due_at) == (Step.DELETE_PRIMARY, OLD.not_after)
    world.clock.time = OLD.not_after
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).status == "done"
    assert set(world.dps.slots(DEVICE)) - {None} == {NEW_256}
    assert world.topic.kinds() == ["Rollover.Started", "Rollover.DeviceMoved", "Rollover.Completed"]


def test_the_history_tells_the_whole_story():
    world = a_story(retire_when_moved=True)
    moves_when_asked(world)
    begin(world)
    deliver_all(world)
    told = reasons(world)
    assert [what for what, _ in told] == ["started", *["acts", "done"] * 5]
    assert all(why for _, why in told)
    records = world.services.ledger.history(the_rollover(world))
    assert [record.seq for record in records] == list(range(1, 12))
    assert records[0].who.startswith("sweep")


@pytest.mark.parametrize("mirror", [True, False])
def test_years_of_rollovers_use_the_slots_in_turn(mirror):
    world = a_story(retire_when_moved=True, mirror_primary=mirror)
    standby = []
    for year in range(1, 5):
        incoming = parse_certificate(generation(year).der)
        world.vault.issues = lambda _, incoming=incoming: incoming
        moves_when_asked(world, incoming.sha256_thumbprint)
        begin(world)
        deliver_all(world)
        rollover = the_rollover(world)
        assert (rollover.id, rollover.status) == (f"individual.{DEVICE}.{year}", "done")
        assert set(world.dps.slots(DEVICE)) - {None} == {incoming.sha256_thumbprint}
        standby.append(rollover.standby.value)
        assert sweep(world.services) == {"nothing": 1}
        world.clock.time = incoming.not_after - timedelta(days=20)
    assert standby == ["secondary", "primary", "secondary", "primary"]


def test_a_device_that_moved_before_anything_was_done_costs_only_the_retirement():
    """The fleet's own pipeline was faster: the vault renewed, somebody uploaded, the device registered."""
    world = a_story(retire_when_moved=True)
    world.vault.kept[CERTIFICATE].versions.append(world.vault.issues(CERTIFICATE))
    world.dps.enroll(DEVICE, OLD, world.vault.kept[CERTIFICATE].versions[-1])
    world.hub.provision(DEVICE, NEW_256)
    begin(world)
    deliver_all(world)
    assert the_rollover(world).status == "done"
    assert world.vault.asked == 0
    assert world.hub.asked == []


def test_no_message_holds_more_than_the_id_of_a_rollover_and_no_row_holds_a_certificate():
    world = a_story(retire_when_moved=True)
    moves_when_asked(world)
    begin(world)
    deliver_all(world)
    for row, _ in world.table.rows.values():
        assert "BEGIN CERTIFICATE" not in str(row)
        assert "PRIVATE KEY" not in str(row)
    assert OLD_256 in str(world.table.rows)
    assert world.clock() < NOW + timedelta(minutes=2)
