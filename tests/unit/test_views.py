"""What the HTTP functions show."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import BadInput, NotFound
from shared.plans import Step
from shared.rollover import Outcome
from shared.rows import History
from shared.timers import Timer
from shared.views import list_rollovers, show_rollover
from tests.builders import DEVICE, NEW, OLD, a_rollover, begin_next
from tests.certificates import NOW
from tests.fakes import World, a_world

# --- the list ---------------------------------------------------------------------------------------------------


def listed(world: World, **filters: str) -> list[str]:
    return [shown["id"] for shown in list_rollovers(filters, world.services)["rollovers"]]


def put(world: World, registration_id: str, **changes: Any) -> None:
    record = History(NOW, "test", "started", "for a test")
    begin_next(world.services.ledger, a_rollover(registration_id=registration_id, **changes), record)


def a_full_world() -> World:
    world = a_world()
    put(world, "dev-01", outcome=Outcome.DONE, started_at=NOW - timedelta(days=365), ended_at=NOW)
    put(world, "dev-01", waiting_for="the vault", waiting_since=NOW)
    put(world, "dev-02", started_at=NOW + timedelta(hours=1))
    put(world, "dev-03", outcome=Outcome.NEEDS_PERSON, started_at=NOW + timedelta(hours=2))
    put(world, "dev-04", outcome=Outcome.REFUSED, started_at=NOW + timedelta(hours=3))
    return world


def test_rollovers_are_listed_latest_first():
    order = ["individual.dev-04.1", "individual.dev-03.1", "individual.dev-02.1", "individual.dev-01.2"]
    assert listed(a_full_world()) == [*order, "individual.dev-01.1"]


STATUSES = {
    "running": "individual.dev-02.1",
    "waiting": "individual.dev-01.2",
    "done": "individual.dev-01.1",
    "refused": "individual.dev-04.1",
    "needs_person": "individual.dev-03.1",
}


@pytest.mark.parametrize(("status", "rollover_id"), STATUSES.items())
def test_the_list_is_narrowed_by_status(status, rollover_id):
    assert listed(a_full_world(), status=status) == [rollover_id]


@pytest.mark.parametrize("registration_id", ["dev-01", "DEV-01"])
def test_the_list_is_narrowed_by_registration_id_in_any_letters(registration_id):
    assert listed(a_full_world(), registration_id=registration_id) == ["individual.dev-01.2", "individual.dev-01.1"]


def test_filters_are_combined():
    assert listed(a_full_world(), registration_id="dev-01", status="done") == ["individual.dev-01.1"]
    assert listed(a_full_world(), registration_id="dev-02", status="done") == []


def test_a_filter_that_there_is_not_is_refused_with_those_there_are_and_without_its_value():
    with pytest.raises(BadInput, match=r"'state'.*status, registration_id") as caught:
        list_rollovers({"state": "v4lue"}, a_world().services)
    assert "v4lue" not in str(caught.value)


def test_a_status_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(BadInput, match=r"'finished'.*running, waiting, done, refused, needs_person"):
        list_rollovers({"status": "finished"}, a_world().services)


def test_the_age_of_the_last_complete_run_of_each_timer_is_shown():
    world = a_world()
    world.services.timers.note_completed(Timer.SWEEP, NOW, NOW + timedelta(seconds=80))
    world.clock.time = NOW + timedelta(hours=3)
    sweep, *others = list_rollovers({}, world.services)["timers"]
    assert (sweep["timer"], sweep["took_seconds"], sweep["age_seconds"]) == ("sweep_certificates", 80, 3 * 3600 - 80)
    assert {one["completed_at"] for one in others} == {None}, "they never came to an end"


def test_inputs_that_could_not_be_used_are_listed():
    world = a_world()
    world.services.ledger.note_refused("event", "a subject", "no certificate", NOW)
    [refused] = list_rollovers({}, world.services)["refused_inputs"]
    assert (refused["source"], refused["subject"], refused["count"]) == ("event", "a subject", 1)
    assert refused["last_seen"] == NOW.isoformat()


def test_everything_listed_is_json():
    world = a_full_world()
    world.services.ledger.note_refused("event", "a subject", "no certificate", NOW)
    found = json.dumps(list_rollovers({}, world.services))
    assert len(json.loads(found)["rollovers"]) == 5


# --- one rollover -----------------------------------------------------------------------------------------------


def test_a_rollover_is_shown_with_its_plan_its_wait_and_its_history():
    world = a_world()
    put(world, DEVICE)
    ledger = world.services.ledger
    at_upload = replace(a_rollover(Step.UPLOAD_SECONDARY), etag=ledger.read(f"individual.{DEVICE}.1").etag)
    waits = replace(at_upload, waiting_for="the enrollment is disabled", waiting_since=NOW, due_at=NOW)
    ledger.record(waits, History(NOW, "step upload_secondary", "waits", "disabled", Step.UPLOAD_SECONDARY))
    shown = json.loads(json.dumps(show_rollover(f"individual.{DEVICE}.1", world.services)))
    assert [(step["step"], step["done"]) for step in shown["steps"]][:2] == [
        ("issue_certificate", True),
        ("upload_secondary", False),
    ]
    assert all(step["establishes"] for step in shown["steps"])
    assert (shown["status"], shown["next_step"]) == ("waiting", "upload_secondary")
    assert shown["waiting_for"] == "the enrollment is disabled"
    assert shown["outgoing"]["sha256_thumbprint"] == OLD.sha256_thumbprint
    assert shown["incoming"]["sha256_thumbprint"] == NEW.sha256_thumbprint
    assert [(record["seq"], record["what"]) for record in shown["history"]] == [(1, "started"), (2, "waits")]


def test_a_rollover_without_an_incoming_certificate_is_shown():
    world = a_world()
    put(world, DEVICE)
    assert show_rollover(f"individual.{DEVICE}.1", world.services)["incoming"] is None


def test_a_rollover_that_there_is_not_is_not_found():
    with pytest.raises(NotFound):
        show_rollover("individual.dev-01.9", a_world().services)


def test_an_id_that_is_none_is_bad_input():
    with pytest.raises(BadInput):
        show_rollover("../secrets", a_world().services)
