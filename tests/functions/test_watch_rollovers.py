"""The watch: what waits too long is announced once, with what to do; nothing else changes by it."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import Conflict, ServiceUnavailable
from shared.plans import Step
from shared.resuming import resume_due
from shared.rows import History
from shared.watching import tell_overdue
from tests.builders import (
    DEVICE,
    a_rollover,
    a_story,
    begin,
    deliver,
    deliver_all,
    device_moves,
    put_rollover,
    reasons,
    the_rollover,
)
from tests.certificates import NOW
from tests.fakes import World

KIND = "Rollover.WaitingTooLong"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def world() -> World:
    """A rollover whose device does not come."""
    world = a_story()
    begin(world)
    deliver_all(world)
    assert the_rollover(world).next_step is Step.INVOKE_REPROVISION_JOB
    return world


def pass_time(world: World, time: timedelta, every: timedelta = 6 * HOUR) -> None:
    """The clock goes, and the timers with it."""
    ends = world.clock() + time
    while world.clock() < ends:
        world.clock.advance(every)
        resume_due(world.services)
        deliver_all(world)
        tell_overdue(world.services)


def test_a_device_that_does_not_come_is_announced_once(world):
    sent = []
    publish = world.topic.publish

    def keep(event_id, kind, subject, data, at):
        sent.append((event_id, kind, data))
        publish(event_id, kind, subject, data, at)

    world.topic.publish = keep
    pass_time(world, 2 * DAY)
    assert sent == []
    pass_time(world, 3 * DAY)
    [(event_id, kind, data)] = sent
    assert kind == KIND
    assert event_id == f"individual.{DEVICE}.1/{[what for what, _ in reasons(world)].index('waits too long') + 1}"
    assert (data["urgency"], data["status"]) == ("ticket", "waiting")
    assert data["reason"].startswith("at invoke_reprovision_job since")
    assert data["nextStep"].startswith("bring the device online")


def test_what_waits_too_long_goes_on_by_itself_and_may_be_announced_anew(world):
    pass_time(world, 4 * DAY)
    device_moves(world)
    world.clock.advance(HOUR)
    resume_due(world.services)
    deliver_all(world)
    moved = the_rollover(world)
    assert (moved.next_step, moved.told_overdue_at) == (Step.DELETE_PRIMARY, None)
    assert world.topic.kinds().count(KIND) == 1
    pass_time(world, 10 * DAY)
    assert world.topic.kinds().count(KIND) == 1, "the outgoing certificate's end is waited for in peace"


def test_how_many_wait_too_long_is_known_while_they_do(world):
    assert tell_overdue(world.services) == 0
    world.clock.advance(4 * DAY)
    assert [tell_overdue(world.services) for _ in range(3)] == [1, 1, 1]
    device_moves(world)
    world.clock.advance(HOUR)
    resume_due(world.services)
    deliver_all(world)
    assert tell_overdue(world.services) == 0


def test_a_topic_that_is_down_gets_it_later(world):
    world.topic.down = True
    world.clock.advance(4 * DAY)
    tell_overdue(world.services)
    world.topic.down = False
    resume_due(world.services)
    assert world.topic.kinds().count(KIND) == 1


@pytest.mark.parametrize("error", [Conflict("412"), ServiceUnavailable("the table answers 503")])
def test_a_ledger_that_takes_no_record_does_not_make_it_silent(error, world, caplog):
    world.clock.advance(4 * DAY)
    commit = world.table.commit

    def fail(_writes):
        raise error

    world.table.commit = fail
    with caplog.at_level(logging.WARNING):
        tell_overdue(world.services)
        tell_overdue(world.services)
    lines = [record for record in caplog.records if record.message.startswith("waiting_too_long ")]
    assert len(lines) == 2
    assert f"rollover_id=individual.{DEVICE}.1" in lines[0].message
    assert world.topic.kinds() == ["Rollover.Started"]
    world.table.commit = commit
    tell_overdue(world.services)
    assert world.topic.kinds() == ["Rollover.Started", KIND]


def test_one_rollover_that_cannot_be_told_stops_no_other(world):
    put_rollover_of(world, "dev-00")
    put_rollover_of(world, "dev-02")
    world.clock.advance(4 * DAY)
    commit = world.table.commit

    def fail(writes):
        if writes[0].row["PartitionKey"] == "individual.dev-00":
            raise Conflict("412")
        return commit(writes)

    world.table.commit = fail
    assert tell_overdue(world.services) == 3
    assert sorted(subject for _, kind, subject in world.topic.published if kind == KIND) == ["dev-01", "dev-02"]


def put_rollover_of(world: World, registration_id: str) -> None:
    rollover = a_rollover(Step.UPLOAD_SECONDARY, registration_id=registration_id, arrived_at=NOW)
    world.services.ledger.begin(rollover, None, History(NOW, "test", "started", "for a test"))


def test_a_step_in_the_middle_of_its_act_keeps_its_record():
    world = a_story()
    now = world.clock() + DAY
    put_rollover(world, Step.UPLOAD_SECONDARY, arrived_at=world.clock(), acted_at=now, acts=1)
    world.clock.time = now
    assert tell_overdue(world.services) == 1
    assert the_rollover(world).told_overdue_at is None
    world.clock.advance(timedelta(minutes=5))
    tell_overdue(world.services)
    assert the_rollover(world).told_overdue_at is not None


def test_a_step_that_never_runs_is_announced():
    """The function is disabled, its exceptions are poison, its queue is gone: nobody else would say so."""
    world = a_story()
    begin(world)
    world.clock.advance(HOUR)
    tell_overdue(world.services)
    assert world.topic.kinds() == ["Rollover.Started", KIND]
    assert "the function issue_certificate" in reasons(world)[-1][1]


def test_the_list_shows_what_waits_too_long_and_what_to_do(world, http_of):
    http = http_of(world)
    put_rollover_of(world, "dev-02")
    assert http.get("/api/rollovers", overdue="true").json["rollovers"] == []
    world.clock.advance(2 * HOUR)
    [late] = http.get("/api/rollovers", overdue="true").json["rollovers"]
    assert late["registration_id"] == "dev-02"
    assert late["overdue_since"] == (NOW + HOUR).isoformat()
    assert "It has waited too long: see whether the function upload_secondary runs" in late["next_step_in_words"]
    assert http.get("/api/rollovers", overdue="maybe").status == 400
    fine = http.get(f"/api/rollovers/individual.{DEVICE}.1").json
    assert fine["overdue_since"] is None


@pytest.mark.parametrize(("step", "urgency"), [(Step.REMOVE_HUB_REGISTRATION, "page"), (Step.RESTORE_TWIN, "ticket")])
def test_a_breach_that_is_not_contained_gets_somebody_up(step, urgency, http_of):
    world = a_story()
    http = http_of(world)
    token = http.post("/api/breaches", registration_id=DEVICE, reason="stolen").json["confirm_token"]
    http.post("/api/breaches", confirm=token)
    while the_rollover(world).next_step is not step:
        world.clock.time = max(world.clock(), the_rollover(world).due_at)
        deliver(world, the_rollover(world).next_step)
    world.services.ledger.record(replace(the_rollover(world), waiting_for="something"), None)
    sent = []
    world.topic.publish = lambda event_id, kind, subject, data, at: sent.append((kind, data["urgency"]))
    world.clock.advance(4 * DAY)
    tell_overdue(world.services)
    assert sent == [(KIND, urgency)]
