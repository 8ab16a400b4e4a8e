"""Lifecycle events: recorded first, published after; each has an ID of its own that stays the same."""

from datetime import timedelta

import pytest

from shared.chain import verify
from shared.errors import NotFound, ServiceRefused, ServiceUnavailable
from shared.plans import Step
from shared.resuming import resume_due
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    OLD,
    a_story,
    begin,
    deliver,
    deliver_all,
    put_rollover,
    the_rollover,
)
from tests.certificates import NOW
from tests.fakes import World


def a_refused_rollover(world: World) -> None:
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    world.vault.kept[CERTIFICATE].enabled = False
    deliver(world, Step.ISSUE_CERTIFICATE)


def test_the_beginning_and_the_end_of_a_rollover_are_published_with_its_subject():
    world = a_story()
    begin(world)
    a_refused_rollover(world)
    first = f"individual.{DEVICE}.1"
    assert world.topic.published == [
        (f"{first}/1", "Rollover.Started", DEVICE),
        (f"{first}/2", "Rollover.Refused", DEVICE),
    ]


def test_the_number_in_an_event_id_is_that_of_its_history_record():
    world = a_story()
    begin(world)
    a_refused_rollover(world)
    history = {record.seq: record.what for record in world.services.ledger.history(the_rollover(world))}
    assert history[2] == "refused"


def test_waiting_and_going_on_publish_nothing():
    world = a_story()
    begin(world)
    deliver(world, Step.ISSUE_CERTIFICATE)
    deliver(world, Step.UPLOAD_SECONDARY)
    assert world.topic.kinds() == ["Rollover.Started"]


DOWN = {
    "is down": ServiceUnavailable("Event Grid topic gave no answer"),
    "refuses the app's identity": ServiceRefused("Event Grid topic answered 403"),
    "is not there any more": NotFound("Event Grid topic answered 404"),
}


@pytest.mark.parametrize("error", DOWN.values(), ids=DOWN.keys())
def test_a_rollover_goes_on_and_keeps_its_events_while_the_topic(error):
    world = a_story()
    publish = world.topic.publish

    def fail(*_):
        raise error

    world.topic.publish = fail
    begin(world)
    deliver_all(world)
    assert the_rollover(world).next_step is Step.INVOKE_REPROVISION_JOB
    assert the_rollover(world).outbox == ("Rollover.Started/1",)
    world.topic.publish = publish
    resume_due(world.services)
    assert world.topic.kinds() == ["Rollover.Started"]
    assert the_rollover(world).outbox == ()


def test_events_that_pile_up_are_published_in_their_order():
    world = a_story()
    world.topic.down = True
    begin(world)
    a_refused_rollover(world)
    world.topic.down = False
    resume_due(world.services)
    assert world.topic.kinds() == ["Rollover.Started", "Rollover.Refused"]
    resume_due(world.services)
    assert len(world.topic.published) == 2


def test_an_event_is_published_again_under_the_same_id_when_the_host_died_after_it():
    """Subscribers tell a repeat by its ID."""
    world = a_story()
    publish = world.topic.publish

    def die(*arguments):
        publish(*arguments)
        raise KeyboardInterrupt

    world.topic.publish = die
    with pytest.raises(KeyboardInterrupt):
        begin(world)
    world.topic.publish = publish
    resume_due(world.services)
    assert world.topic.published == [(f"individual.{DEVICE}.1/1", "Rollover.Started", DEVICE)] * 2


def test_an_event_of_a_rollover_that_ended_is_still_published():
    world = a_story()
    put_rollover(world, Step.ISSUE_CERTIFICATE)
    world.topic.down = True
    a_refused_rollover(world)
    world.clock.advance(timedelta(hours=5))
    world.topic.down = False
    resume_due(world.services)
    assert world.topic.kinds() == ["Rollover.Refused"]


def test_an_event_carries_the_head_of_the_history_as_it_was_recorded_with_it():
    """It lies outside the table then: what ``shared.chain`` calls an anchor."""
    world = a_story()
    sent = []
    world.topic.publish = lambda event_id, kind, subject, data, at: sent.append(data)
    begin(world)
    a_refused_rollover(world)
    anchors = [(data["historyRecords"], data["historyHead"]) for data in sent]
    assert [records for records, _ in anchors] == [1, 2]
    rows = [row for row, _ in world.table.scan("", partition=f"individual.{DEVICE}")]
    found = verify(f"individual.{DEVICE}", rows, {sent[0]["rolloverId"]: anchors})
    assert (found.first_break, found.covered, found.anchored) == (None, 2, 2)


def test_the_data_of_an_event_says_what_a_pager_needs_and_holds_no_certificate():
    world = a_story()
    sent = []
    world.topic.publish = lambda event_id, kind, subject, data, at: sent.append((kind, data, at))
    begin(world)
    a_refused_rollover(world)
    (_, _, _), (kind, data, at) = sent
    assert kind == "Rollover.Refused"
    assert at == NOW
    assert (data["status"], data["registrationId"], data["certificateName"]) == ("refused", DEVICE, CERTIFICATE)
    assert data["outgoingSha256Thumbprint"] == OLD.sha256_thumbprint
    assert data["incomingSha256Thumbprint"] == NEW.sha256_thumbprint
    assert "disabled" in data["reason"]
    assert "BEGIN" not in str(data)
