"""The timer: nudges what is due, publishes what is unpublished; one rollover in trouble stops no other."""

from datetime import timedelta

import pytest

from shared.errors import NotFound, ServiceUnavailable
from shared.plans import Step
from shared.resuming import resume_due
from shared.rollover import ACT_LEASE, Outcome
from shared.rows import History
from tests.builders import DEVICE, a_rollover, a_story, deliver, the_rollover
from tests.certificates import NOW
from tests.fakes import World, a_world


def put(world: World, registration_id: str, **changes) -> None:
    rollover = a_rollover(registration_id=registration_id, **changes)
    world.services.ledger.begin(rollover, None, History(NOW, "test", "started", "for a test"))


def nudged(world: World) -> list[tuple[str, Step]]:
    return sorted((rollover_id.split(".")[1], step) for step, rollover_id, _ in world.nudges.sent)


def test_every_open_rollover_that_is_due_is_nudged_at_its_step():
    world = a_world()
    put(world, "due-now", due_at=NOW)
    put(world, "due-long", due_at=NOW - timedelta(days=3), done=(Step.ISSUE_CERTIFICATE,))
    put(world, "later", due_at=NOW + timedelta(minutes=1))
    put(world, "ended", due_at=None, outcome=Outcome.DONE)
    assert resume_due(world.services) == 2
    assert nudged(world) == [("due-long", Step.UPLOAD_SECONDARY), ("due-now", Step.ISSUE_CERTIFICATE)]


def test_an_unpublished_event_does_not_make_a_rollover_due():
    world = a_world()
    put(world, "later", due_at=NOW + timedelta(minutes=1), outbox=("Rollover.Started/1",))
    resume_due(world.services)
    assert nudged(world) == []
    assert world.topic.kinds() == ["Rollover.Started"]


def test_the_ledger_is_not_written_by_a_nudge():
    """Twice a minute for a year must not cost a thousand writes, nor race the step."""
    world = a_world()
    put(world, "due-now", due_at=NOW)
    before = world.table.version
    resume_due(world.services)
    resume_due(world.services)
    assert world.table.version == before


def test_a_message_that_was_lost_costs_a_minute():
    world = a_story()
    put(world, DEVICE)
    deliver(world, Step.ISSUE_CERTIFICATE)
    world.nudges.sent.clear()
    resume_due(world.services)
    assert nudged(world) == [(DEVICE, Step.UPLOAD_SECONDARY)]


def test_a_step_that_is_acting_is_left_alone_until_its_lease_is_over():
    world = a_story()
    put(world, DEVICE)

    def die(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(world, Step.ISSUE_CERTIFICATE, effect=die)
    assert resume_due(world.services) == 0
    world.clock.advance(ACT_LEASE)
    assert resume_due(world.services) == 1
    assert the_rollover(world).acts == 1


def test_an_event_that_cannot_be_published_stops_no_other_rollover():
    world = a_world()
    for device in ("a", "b", "c"):
        put(world, device, outbox=("Rollover.Started/1",))

    def gone(*_):
        raise NotFound("Event Grid topic answered 404")

    world.topic.publish = gone
    resume_due(world.services)
    assert [device for device, _ in nudged(world)] == ["a", "b", "c"]


def test_a_queue_that_is_down_stops_no_nudge_to_another_and_no_publishing():
    world = a_world()
    put(world, "a")
    put(world, "b", done=(Step.ISSUE_CERTIFICATE,), outbox=("Rollover.Started/1",))
    send = world.nudges.send

    def down(step, *rest, **life):
        if step is Step.ISSUE_CERTIFICATE:
            raise ServiceUnavailable("queue answered 503")
        send(step, *rest, **life)

    world.nudges.send = down
    resume_due(world.services)
    assert nudged(world) == [("b", Step.UPLOAD_SECONDARY)]
    assert world.topic.kinds() == ["Rollover.Started"]


def test_a_row_that_cannot_be_read_stops_no_other_rollover():
    """A row of a later release after a roll-back, or one that somebody edited by hand."""
    world = a_world()
    for device in ("a", "b", "c"):
        put(world, device)
    row, version = world.table.rows["individual.b", "rollover.000001"]
    world.table.rows["individual.b", "rollover.000001"] = ({**row, "facts": '{"plan": "breach"}'}, version)
    resume_due(world.services)
    assert [device for device, _ in nudged(world)] == ["a", "c"]
