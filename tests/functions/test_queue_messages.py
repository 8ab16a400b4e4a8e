"""Messages: bad ones are recorded and never raise, early and late ones are ignored, poisoned ones call a person."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Conflict, ServiceUnavailable
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.poison import report
from shared.starting import start_rollover
from shared.stepping import carry_out
from tests.builders import CERTIFICATE, DEVICE, EFFECTS, NEW, a_story, deliver, put_rollover, reasons, the_rollover
from tests.certificates import NOW
from tests.fakes import World, a_world

STEP = Step.ISSUE_CERTIFICATE
BAD: dict[str, tuple[bytes, str]] = {
    "is no JSON": (b"hello", "not a nudge"),
    "is no text": (b"\xff\x00", "not a nudge"),
    "is empty": (b"", "not a nudge"),
    "names no rollover": (b"{}", "not a nudge"),
    "names something that is no ID": (encode_nudge("../x").encode(), "not a rollover ID"),
    "names a zero byte": (encode_nudge("individual.a\0b.1").encode(), "not a rollover ID"),
    "names half of a surrogate pair": (encode_nudge("individual.\ud800.1").encode(), "not a rollover ID"),
    "names a rollover that there is not": (encode_nudge("individual.ghost.4").encode(), "individual.ghost.4"),
}


HANDLERS = {
    "step": lambda message, services: carry_out(STEP, message, services, EFFECTS[STEP]),
    "poison handler": lambda message, services: report(STEP, message, services),
}


@pytest.mark.parametrize("handle", HANDLERS.values(), ids=HANDLERS.keys())
@pytest.mark.parametrize(("message", "said"), BAD.values(), ids=BAD.keys())
def test_a_message_is_recorded_and_dropped_when_it(message, said, handle):
    """Trying again cannot help: raising would send it to the poison queue, where it would be met once more."""
    world = a_world()
    handle(message, world.services)
    handle(message, world.services)
    [refused] = world.services.ledger.refused_inputs()
    assert said in refused.reason
    assert refused.count == 2
    assert "issue-certificate" in refused.source


@given(st.binary(max_size=300))
def test_no_message_whatever_its_bytes_makes_a_step_or_the_poison_handler_raise(message):
    world = a_world()
    carry_out(STEP, message, world.services, EFFECTS[STEP])
    report(STEP, message, world.services)
    for refused in world.services.ledger.refused_inputs():
        assert refused.subject.isprintable() or refused.subject == ""


def test_a_huge_message_is_recorded_by_its_beginning():
    world = a_world()
    carry_out(STEP, b"x" * 60_000, world.services, EFFECTS[STEP])
    [refused] = world.services.ledger.refused_inputs()
    assert len(refused.subject) <= 512


def a_started_world() -> World:
    world = a_story()
    put_rollover(world, STEP)
    return world


OTHERS = [step for step in Step if step is not STEP]


@pytest.mark.parametrize("step", OTHERS)
def test_a_nudge_for_a_step_whose_turn_it_is_not_is_passed_on_to_the_one_that_is_due(step):
    """Its own nudge may be the one that was lost."""
    world = a_started_world()
    before = the_rollover(world)
    assert deliver(world, step) == before
    assert world.nudges.sent == [(STEP, before.id, timedelta(0))]


@pytest.mark.parametrize("step", OTHERS)
def test_a_nudge_for_a_step_whose_turn_it_is_not_is_ignored_while_none_is_due(step):
    world = a_story()
    put_rollover(world, STEP, due_at=NOW + timedelta(seconds=1))
    deliver(world, step)
    assert world.nudges.sent == []


def test_a_nudge_before_its_time_is_ignored():
    world = a_story()
    put_rollover(world, STEP, due_at=NOW + timedelta(seconds=1))
    deliver(world, STEP)
    assert world.vault.asked == 0
    world.clock.advance(timedelta(seconds=1))
    deliver(world, STEP)
    assert world.vault.asked == 1


def test_of_two_runs_at_once_one_acts_and_the_other_stops():
    """Both read the ledger; the first to note its intention wins, the other meets the conflict and leaves."""
    world = a_started_world()
    latest = world.vault.latest

    def meanwhile(name):
        world.vault.latest = latest
        deliver(world, STEP)
        return latest(name)

    world.vault.latest = meanwhile
    deliver(world, STEP)
    assert world.vault.asked == 1
    assert [what for what, _ in reasons(world)] == ["started", "acts", "done"]


def test_a_surprise_rises_so_that_the_queue_tries_again():
    world = a_started_world()

    def surprise(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        deliver(world, STEP, effect=surprise)


def test_a_ledger_that_is_down_leaves_the_rollover_to_the_timer():
    """An outage of storage costs its own length: no message may go to poison for it, for the poison handler would
    then call a person for every rollover that was being nudged."""
    world = a_started_world()

    def down(*_):
        raise ServiceUnavailable("table answered 503")

    read, commit = world.table.read, world.table.commit
    world.table.read = down
    carry_out(STEP, encode_nudge(f"individual.{DEVICE}.1").encode(), world.services, EFFECTS[STEP])
    world.table.read, world.table.commit = read, down
    carry_out(STEP, encode_nudge(f"individual.{DEVICE}.1").encode(), world.services, EFFECTS[STEP])
    world.table.commit = commit
    assert deliver(world, STEP).next_step is Step.UPLOAD_SECONDARY


# --- poison -----------------------------------------------------------------------------------------------------


def poison(world: World, step: Step = STEP) -> None:
    report(step, encode_nudge(f"individual.{DEVICE}.1").encode(), world.services)


def test_a_poisoned_message_calls_a_person_and_says_so():
    world = a_started_world()
    poison(world)
    after = the_rollover(world)
    assert after.status == "needs_person"
    assert "issue_certificate failed again and again" in after.outcome_reason
    assert after.next_action
    assert world.topic.published == [(f"individual.{DEVICE}.1/2", "Rollover.NeedsPerson", DEVICE)]
    assert reasons(world)[-1][0] == "needs a person"


def test_who_poisons_a_breach_that_nobody_approved_is_told_to_call_it_again(http_of):
    """A retry of what nobody approved is refused."""
    world = a_story()
    http = http_of(world)
    world.settings = replace(world.settings, breach_fuse=0)
    token = http.post("/api/breaches", registration_id=DEVICE, reason="stolen").json["confirm_token"]
    http.post("/api/breaches", confirm=token)
    waits = the_rollover(world)
    assert waits.awaits_approval
    world.clock.time = waits.due_at
    report(Step.DISABLE_ENROLLMENT, encode_nudge(waits.id).encode(), world.services)
    assert (the_rollover(world).next_action or "").endswith("then call the breach again")
    assert http.post(f"/api/rollovers/{waits.id}/retry", reason="mended").status == 409


def test_a_poisoned_message_of_a_step_that_the_rollover_has_left_changes_nothing():
    world = a_story()
    put_rollover(world, Step.UPLOAD_SECONDARY)
    before = the_rollover(world)
    poison(world)
    assert the_rollover(world) == before
    assert world.topic.published == []


def test_a_poisoned_message_of_a_rollover_that_goes_on_at_this_moment_changes_nothing():
    world = a_started_world()
    commit = world.table.commit

    def overtaken(writes):
        world.table.commit = commit
        raise Conflict("412")

    world.table.commit = overtaken
    poison(world)
    assert the_rollover(world).outcome is None


def test_a_poisoned_message_that_comes_twice_is_reported_once():
    world = a_started_world()
    poison(world)
    poison(world)
    assert world.topic.kinds() == ["Rollover.NeedsPerson"]


def test_events_that_were_not_published_yet_are_published_with_the_poison():
    world = a_story()
    put_rollover(world, STEP, outbox=("Rollover.Started/1",))
    poison(world)
    assert world.topic.kinds() == ["Rollover.Started", "Rollover.NeedsPerson"]
    assert the_rollover(world).outbox == ()


def test_a_rollover_that_was_poisoned_is_begun_again_by_a_new_version():
    world = a_started_world()
    poison(world)
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    assert start_rollover(CERTIFICATE, "sweep", world.services).what == "begun"
