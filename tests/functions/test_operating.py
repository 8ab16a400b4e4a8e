"""Cancel, retry, disallow and allow: what is taken, what is refused, and that the history says who and why."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.enrollment import Twin
from shared.plans import Step
from shared.resuming import resume_due
from shared.rollover import ACT_LEASE
from shared.seen import Issuance
from shared.starting import start_rollover
from shared.sweeping import sweep
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEW_256,
    OLD,
    OLD_256,
    STRANGER,
    STRANGER_256,
    a_story,
    begin,
    deliver_all,
    the_rollover,
)
from tests.fakes import Kept, World
from tests.http_api import Answered, HttpApi

FIRST = f"/api/rollovers/individual.{DEVICE}.1"
SECOND = f"/api/rollovers/individual.{DEVICE}.2"
TWIN = Twin("t1", {"site": "Oslo", "rows": [1, 2.5, None]}, {"interval": 30, "nested": {"ø": True}})


@pytest.fixture
def world() -> World:
    made = a_story()
    made.hub.twins[DEVICE] = TWIN
    return made


@pytest.fixture
def http(world: World, http_of: Callable[[World], HttpApi]) -> HttpApi:
    return http_of(world)


def breach(http: HttpApi, who: str = "oncall", *, accept: list[str] | None = None, **members: Any) -> Answered:
    call = {"registration_id": DEVICE, "reason": "stolen", **members}
    token = http.post("/api/breaches", who, **call).json["confirm_token"]
    accepting = {"accept_escape_routes": accept} if accept else {}
    answer = http.post("/api/breaches", who, confirm=token, **accepting)
    assert answer.status == 202
    return answer


def status(http: HttpApi, url: str = FIRST) -> str:
    return str(http.get(url).json["status"])


def admits(http: HttpApi) -> bool:
    return bool(http.world.dps.enrolled[DEVICE]["provisioningStatus"] == "enabled")


def last_record(http: HttpApi, url: str = FIRST) -> tuple[str, str, str]:
    record = http.get(url).json["history"][-1]
    return record["who"], record["what"], record["why"]


def comes_back(http: HttpApi, sha256: str = NEW_256) -> None:
    """The rightful device registers with the replacement, and the product looks."""
    http.world.clock.advance(timedelta(seconds=1))
    http.world.dps.registered(DEVICE)
    http.world.hub.provision(DEVICE, sha256)
    http.world.clock.advance(timedelta(minutes=31))
    resume_due(http.world.services)
    deliver_all(http.world)


# --- cancel -----------------------------------------------------------------------------------------------------------


def test_an_operator_ends_an_expiry_rollover_and_the_history_says_who_and_why(http):
    begin(http.world)
    answer = http.post(f"{FIRST}/cancel", "operator", reason="maintenance")
    assert (answer.status, answer.json["status"]) == (202, "cancelled")
    assert last_record(http) == ("operator (id-of-operator)", "cancelled", "maintenance")
    assert "Rollover.Cancelled" in http.world.topic.kinds()
    deliver_all(http.world)
    assert http.world.dps.slots(DEVICE) == (OLD_256, OLD_256), "no step goes on"


def test_a_cancelled_breach_leaves_the_door_shut_and_says_so(http):
    breach(http)
    answer = http.post(f"{FIRST}/cancel", reason="false alarm")
    assert "Nothing was undone" in answer.json["next_step_in_words"]
    assert not admits(http)


def test_to_cancel_again_changes_nothing(http):
    breach(http)
    http.post(f"{FIRST}/cancel", reason="false alarm")
    history = http.get(FIRST).json["history"]
    assert http.post(f"{FIRST}/cancel", "oncall-2", reason="again").status == 202
    assert http.get(FIRST).json["history"] == history


def test_what_is_done_cannot_be_cancelled(http):
    http.post(f"/api/devices/{DEVICE}/disallow", reason="odd")
    deliver_all(http.world)
    assert http.post(f"{FIRST}/cancel", reason="x").status == 409


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": None}, {"reason": 1}, {"reason": "x" * 501}])
@pytest.mark.parametrize("call", [f"{FIRST}/cancel", f"{FIRST}/retry", f"/api/devices/{DEVICE}/disallow"])
def test_nothing_is_done_without_a_reason(body, call, http):
    breach(http)
    before = http.get(FIRST).json
    assert http.post(call, **body).status == 400
    assert http.get(FIRST).json == before


def test_a_device_rolls_again_after_a_false_alarm(http):
    """Somebody has enabled the enrollment by hand, as the cancelled breach says; its certificate nears expiry."""
    breach(http)
    http.post(f"{FIRST}/cancel", reason="false alarm")
    http.world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="enabled"))
    http.world.hub.provision(DEVICE, OLD_256)
    assert start_rollover(CERTIFICATE, "sweep", http.world.services).what == "begun"


def test_a_device_rolls_again_when_nobody_approved_the_breach(http):
    http.world.settings = replace(http.world.settings, breach_fuse=0)
    breach(http)
    http.world.clock.advance(timedelta(hours=2))
    resume_due(http.world.services)
    deliver_all(http.world)
    assert status(http) == "refused"
    assert start_rollover(CERTIFICATE, "sweep", http.world.services).what == "begun"


@pytest.mark.parametrize("uses", [OLD_256, NEW_256], ids=["the old one", "the new one"])
def test_with_both_certificates_staged_a_newer_version_begins_once_the_device_shows_which_it_uses(uses, http):
    """To overwrite the one that it uses would lock it out."""
    begin(http.world)
    deliver_all(http.world)
    assert the_rollover(http.world).next_step is Step.INVOKE_REPROVISION_JOB
    said = http.post(f"{FIRST}/cancel", reason="the new one does not work").json["next_step_in_words"]
    assert "once the device has registered with one of them" in said
    http.world.vault.kept[CERTIFICATE].versions.append(STRANGER)
    started = start_rollover(CERTIFICATE, "event", http.world.services)
    assert (started.what, "once the device has registered" in started.why) == ("cannot", True)
    http.world.clock.advance(timedelta(seconds=1))
    http.world.dps.registered(DEVICE)
    http.world.hub.provision(DEVICE, uses)
    assert start_rollover(CERTIFICATE, "event", http.world.services).what == "begun"
    deliver_all(http.world)
    assert set(http.world.dps.slots(DEVICE)) == {uses, STRANGER_256}


# --- retry ------------------------------------------------------------------------------------------------------------


def _needs_person(http: HttpApi) -> str:
    """A breach whose certificate would get in by a group once it is out of the enrollment."""
    http.world.dps.enroll_group("g1", OLD)
    breach(http)
    deliver_all(http.world)
    assert status(http) == "needs_person"
    return str(http.get(FIRST).json["reason"])


def test_an_escape_route_takes_a_person_and_contained_it_stays(http):
    assert "group g1" in _needs_person(http)
    shown = http.get(FIRST).json
    assert (shown["contained"], shown["still_exposed"]) == (True, [])
    assert shown["next_step_in_words"].startswith("A person: close these ways, or accept them by name")
    assert f"{FIRST}/retry" in shown["next_step_in_words"]


def test_a_retry_goes_on_where_it_was_and_finishes_once_the_way_is_closed(http):
    _needs_person(http)
    http.world.dps.grouped.clear()
    assert http.post(f"{FIRST}/retry", reason="the group is gone").status == 202
    assert last_record(http) == ("oncall (id-of-oncall)", "goes on", "the group is gone")
    deliver_all(http.world)
    comes_back(http)
    assert status(http) == "done"
    assert http.world.hub.twins[DEVICE].equals(TWIN)


def test_a_retry_that_accepts_the_route_finishes_and_says_which(http):
    _needs_person(http)
    http.post(f"{FIRST}/retry", reason="g1 is ours", accept_escape_routes=["group g1"])
    deliver_all(http.world)
    comes_back(http)
    shown = http.get(FIRST).json
    assert (shown["status"], shown["incident"]["accepted_escape_routes"]) == ("done", ["group g1"])


def test_a_retry_without_the_right_name_needs_a_person_again(http):
    _needs_person(http)
    http.post(f"{FIRST}/retry", reason="x", accept_escape_routes=["group g2", "g1"])
    deliver_all(http.world)
    assert status(http) == "needs_person"


def test_routes_that_the_confirmation_accepts_need_no_person(http):
    http.world.dps.enroll_group("g1", OLD)
    breach(http, accept=["group g1"])
    deliver_all(http.world)
    comes_back(http)
    assert status(http) == "done"


def test_routes_that_a_second_call_accepts_are_not_lost_in_the_first(http):
    http.world.dps.enroll_group("g1", OLD)
    breach(http)
    assert breach(http, accept=["group g1"]).json["rollovers"][0]["url"] == SECOND
    deliver_all(http.world)
    comes_back(http)
    assert (status(http), status(http, SECOND)) == ("preempted", "done")


def _waits(http: HttpApi) -> dict[str, Any]:
    """An expiry whose enrollment somebody disabled, looked at twice: it looks again in minutes."""
    begin(http.world)
    http.world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))
    deliver_all(http.world)
    http.world.clock.advance(timedelta(minutes=31))
    resume_due(http.world.services)
    deliver_all(http.world)
    shown = dict(http.get(FIRST).json)
    assert (shown["status"], shown["waiting_for"][:26]) == ("waiting", "the enrollment is disabled")
    return shown


def test_a_retry_of_what_waits_looks_again_at_once_and_says_what_it_waited_for(http):
    waits = _waits(http)
    http.world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="enabled"))
    answer = http.post(f"{FIRST}/retry", "operator", reason="it is enabled again")
    assert answer.status == 202
    assert answer.json["note"] == f"it is open, and looks again at once; it waits: {waits['waiting_for']}"
    assert last_record(http) == ("operator (id-of-operator)", "looks again", "it is enabled again")
    deliver_all(http.world)
    assert http.get(FIRST).json["next_step"] == "invoke_reprovision_job"


def test_a_retry_of_what_waits_for_the_same_afterwards_takes_none_of_its_patience(http):
    _waits(http)
    before = the_rollover(http.world)
    http.post(f"{FIRST}/retry", reason="is it?")
    deliver_all(http.world)
    after = the_rollover(http.world)
    assert (after.waiting_for, after.waiting_since, after.acts) == (
        before.waiting_for,
        before.waiting_since,
        before.acts,
    )
    assert after.due_at is not None
    assert after.due_at > http.world.clock.time


def test_to_retry_again_before_it_has_looked_changes_nothing(http):
    _waits(http)
    http.post(f"{FIRST}/retry", reason="now")
    history = http.get(FIRST).json["history"]
    assert http.post(f"{FIRST}/retry", "oncall-2", reason="now!").status == 202
    assert http.get(FIRST).json["history"] == history


def test_a_retry_skips_no_approval(http):
    http.world.settings = replace(http.world.settings, breach_fuse=0)
    breach(http)
    before = http.get(FIRST).json
    answer = http.post(f"{FIRST}/retry", reason="hurry")
    assert (answer.status, answer.json["status"]) == (202, "awaiting_approval")
    assert "A second person calls" in answer.json["next_step_in_words"]
    assert http.post(f"{FIRST}/retry", reason="hurry", accept_escape_routes=["group g1"]).status == 409
    deliver_all(http.world)
    assert http.get(FIRST).json == before
    assert admits(http)


def test_a_route_is_accepted_while_the_breach_is_open(http):
    http.world.vault.issues = lambda _: None
    http.world.dps.enroll_group("g1", OLD)
    breach(http)
    deliver_all(http.world)
    assert status(http) == "waiting"
    http.post(f"{FIRST}/retry", reason="g1 is ours", accept_escape_routes=["group g1"])
    http.world.vault.kept[CERTIFICATE].versions.append(NEW)
    deliver_all(http.world)
    comes_back(http)
    assert status(http) == "done"


def test_an_operator_does_not_hurry_a_breach(http):
    breach(http)
    assert http.post(f"{FIRST}/retry", "operator", reason="x").status == 403


def test_a_retry_of_what_a_step_is_at_work_on_changes_nothing(http):
    breach(http)
    before = http.get(FIRST).json
    assert http.post(f"{FIRST}/retry", reason="x").status == 202
    assert http.get(FIRST).json == before


def test_a_retry_of_what_is_open_says_what_it_waits_for(http):
    http.world.vault.issues = lambda _: None
    breach(http)
    assert "it is being carried out" in http.post(f"{FIRST}/retry", reason="x").json["note"]
    deliver_all(http.world)
    note = http.post(f"{FIRST}/retry", reason="x").json["note"]
    assert note.startswith("it is open, and looks again at once; it waits: ")


def test_a_retry_that_does_something_needs_no_such_note(http):
    _needs_person(http)
    http.world.dps.grouped.clear()
    assert "note" not in http.post(f"{FIRST}/retry", reason="the group is gone").json


def test_a_retry_cannot_take_the_place_of_an_approval(http):
    http.world.settings = replace(http.world.settings, breach_fuse=0)
    breach(http)
    assert "a second person" in http.post(f"{FIRST}/retry", reason="x").json["note"]


def test_what_is_done_or_preempted_or_not_the_latest_is_not_retried(http):
    begin(http.world)
    breach(http)
    assert http.post(f"{FIRST}/retry", reason="x").status == 409
    http.post(f"{SECOND}/cancel", reason="x")
    http.post(f"/api/devices/{DEVICE}/disallow", reason="odd")
    assert http.post(f"{SECOND}/retry", reason="x").status == 409


def test_a_cancelled_breach_goes_on_where_it_was(http):
    breach(http)
    http.post(f"{FIRST}/cancel", reason="false alarm")
    http.post(f"{FIRST}/retry", reason="no, it is real")
    deliver_all(http.world)
    comes_back(http)
    assert status(http) == "done"


def test_a_retry_has_all_its_patience_again(http):
    """It waited a week for a replacement; the device gets its time to come back all the same."""
    http.world.vault.issues = lambda _: None
    breach(http)
    deliver_all(http.world)
    http.world.clock.advance(timedelta(days=8))
    resume_due(http.world.services)
    deliver_all(http.world)
    assert status(http) == "needs_person"
    http.world.vault.kept[CERTIFICATE].versions.append(NEW)
    http.post(f"{FIRST}/retry", reason="there is a new version")
    deliver_all(http.world)
    assert (status(http), the_rollover(http.world).next_step) == ("waiting", Step.RESTORE_TWIN)


# --- contained, and no replacement yet --------------------------------------------------------------------------------


@pytest.fixture
def resting(http: HttpApi) -> HttpApi:
    def issues(name: str) -> None:
        http.world.vault.kept[name].pending = Issuance(in_progress=True, needs_signing=True, error=None)

    http.world.vault.issues = issues
    breach(http)
    deliver_all(http.world)
    shown = http.get(FIRST).json
    assert (shown["status"], shown["contained"], shown["next_step"]) == ("waiting", True, "issue_certificate")
    assert "contained, no replacement yet" in shown["waiting_for"]
    return http


@pytest.mark.parametrize("how", ["event", "sweep"])
def test_it_goes_on_by_itself_when_the_vault_has_a_new_version(how, resting):
    resting.world.vault.kept[CERTIFICATE].versions.append(NEW)
    if how == "event":
        start_rollover(CERTIFICATE, "event", resting.world.services)
    else:
        sweep(resting.world.services)
    deliver_all(resting.world)
    comes_back(resting)
    assert status(resting) == "done"
    assert resting.world.hub.twins[DEVICE].equals(TWIN)


def test_it_does_not_go_on_with_the_compromised_version(resting):
    sweep(resting.world.services)
    deliver_all(resting.world)
    assert the_rollover(resting.world).next_step is Step.ISSUE_CERTIFICATE
    assert not admits(resting)


def test_it_goes_on_with_a_certificate_that_was_tagged_after_the_call(http):
    http.world.vault.kept.clear()
    breach(http)
    deliver_all(http.world)
    assert "no certificate of the vault is tied" in http.get(FIRST).json["waiting_for"]
    http.world.vault.kept["fresh"] = Kept([NEW], {"rollover-enrollment": DEVICE})
    sweep(http.world.services)
    deliver_all(http.world)
    comes_back(http)
    assert (status(http), http.get(FIRST).json["certificate_name"]) == ("done", "fresh")


# --- which slots ------------------------------------------------------------------------------------------------------


def test_both_slots_may_be_compromised(http):
    http.world.dps.enroll(DEVICE, OLD, NEW)
    http.world.vault.kept[CERTIFICATE] = Kept([OLD, NEW])
    http.world.vault.issues = lambda _: STRANGER
    breach(http)
    deliver_all(http.world)
    comes_back(http, STRANGER_256)
    assert set(http.world.dps.slots(DEVICE)) - {None} == {STRANGER_256}
    assert status(http) == "done"


def test_the_secondary_alone_may_be_compromised_and_the_primary_is_kept(http):
    http.world.dps.enroll(DEVICE, NEW, OLD)
    http.world.vault.kept[CERTIFICATE] = Kept([OLD, NEW])
    breach(http, compromised=["secondary"])
    deliver_all(http.world)
    assert set(http.world.dps.slots(DEVICE)) - {None} == {NEW_256}
    assert admits(http)


# --- a second breach in the place of a first --------------------------------------------------------------------------


def test_the_twin_survives_a_second_call_that_takes_the_place_of_the_first(http):
    """The first has removed the identity already, and with it the twin that the device had."""
    http.world.vault.issues = lambda _: None
    breach(http)
    deliver_all(http.world)
    assert DEVICE not in http.world.hub.identities
    breach(http, mode="disable")
    http.world.vault.issues = lambda _: NEW
    deliver_all(http.world)
    http.world.clock.advance(ACT_LEASE)  # until then a write of the first may be on its way
    resume_due(http.world.services)
    deliver_all(http.world)
    comes_back(http)
    assert (status(http), status(http, SECOND)) == ("preempted", "done")
    assert http.world.hub.twins[DEVICE].equals(TWIN)
    assert admits(http)


# --- disallow and allow -----------------------------------------------------------------------------------------------


def allowed(http: HttpApi, verb: str, who: str = "oncall", **members: Any) -> Answered:
    return http.post(f"/api/devices/{DEVICE}/{verb}", who, **members)


def test_a_disallowed_device_is_kept_out_by_both_and_loses_nothing(http):
    answer = allowed(http, "disallow", reason="odd traffic", ticket="INC-9")
    assert not admits(http), "before the answer"
    deliver_all(http.world)
    assert not http.world.hub.identities[DEVICE].enabled
    shown = http.get(answer.json["url"]).json
    assert (shown["status"], shown["contained"], shown["still_exposed"]) == ("done", True, [])
    assert (shown["incident"]["ticket"], shown["incident"]["reason"]) == ("INC-9", "odd traffic")
    allowed(http, "allow", reason="all well")
    deliver_all(http.world)
    assert admits(http)
    assert http.world.hub.identities[DEVICE].enabled
    assert http.world.hub.twins[DEVICE].equals(TWIN)
    first = http.get(SECOND).json["history"][0]
    assert (first["who"], first["why"]) == ("oncall (id-of-oncall)", "all well")


@pytest.mark.parametrize("verb", ["disallow", "allow"])
def test_to_repeat_it_changes_nothing_more(verb, http):
    if verb == "allow":
        allowed(http, "disallow", reason="odd")
        deliver_all(http.world)
    first = allowed(http, verb, reason="x").json["id"]
    assert allowed(http, verb, reason="x").json["id"] == first
    deliver_all(http.world)
    before = (dict(http.world.dps.enrolled), dict(http.world.hub.identities))
    allowed(http, verb, reason="again")
    deliver_all(http.world)
    assert (http.world.dps.enrolled, http.world.hub.identities) == before


def test_a_disallowing_preempts_an_expiry_rollover(http):
    begin(http.world)
    deliver_all(http.world)
    allowed(http, "disallow", reason="odd")
    assert status(http) == "preempted"
    assert last_record(http)[:2] == ("oncall (id-of-oncall)", "preempted")
    deliver_all(http.world)
    assert status(http, SECOND) == "done"


@pytest.mark.parametrize("verb", ["disallow", "allow"])
def test_a_device_at_which_a_breach_is_at_work_is_left_to_it(verb, http):
    breach(http)
    answer = allowed(http, verb, reason="x")
    assert (answer.status, FIRST in answer.json["detail"]) == (409, True)


def test_a_device_is_not_allowed_while_a_slot_holds_what_is_compromised(http):
    breach(http)
    http.post(f"{FIRST}/cancel", reason="we throw it away")
    answer = allowed(http, "allow", reason="x")
    assert (answer.status, OLD_256 in answer.json["detail"]) == (409, True)
    assert not admits(http)


@pytest.mark.parametrize("device", ["DEV-01", "dev-0", "*", "dev-01*", "nobody"])
@pytest.mark.parametrize("verb", ["disallow", "allow"])
def test_another_device_id_is_not_this_device(device, verb, http):
    http.world.vault.kept[CERTIFICATE].tags = {"rollover-enrollment": DEVICE}
    assert http.post(f"/api/devices/{device}/{verb}", reason="x").status == 404
    assert admits(http)


def test_a_device_whose_enrollment_was_deleted_is_kept_out_and_let_back_with_what_it_has(http, world):
    """It had an enrollment of its own, so no group lets it in: the one that the disallowing made is enabled."""
    begin(world)
    http.post(f"{FIRST}/cancel", reason="not today")
    del world.dps.enrolled[DEVICE]
    world.vault.kept[CERTIFICATE].tags = {"rollover-enrollment": DEVICE}
    assert http.post(f"/api/devices/{DEVICE}/disallow", reason="lost").status == 202
    deliver_all(world)
    assert not world.dps.enrollment(DEVICE).enabled
    assert http.post(f"/api/devices/{DEVICE}/allow", reason="found again").status == 202
    deliver_all(world)
    assert world.dps.enrollment(DEVICE).enabled
    assert world.dps.enrollment(DEVICE).holds(OLD_256)
    assert world.hub.identities[DEVICE].enabled


DELETED: dict[str, dict[str, str]] = {
    "its registration ID": {"registration_id": DEVICE},
    "its device ID": {"device_id": DEVICE},
    "its thumbprint": {"thumbprint": OLD_256},
    "its certificate in the vault": {"certificate_name": CERTIFICATE},
}


@pytest.mark.parametrize("selector", DELETED.values(), ids=DELETED.keys())
def test_a_breach_of_a_device_whose_enrollment_was_deleted_says_how_to_contain_it_at_the_hub(selector, http, world):
    del world.dps.enrolled[DEVICE]
    world.vault.kept[CERTIFICATE].tags = {"rollover-enrollment": DEVICE}
    answer = http.post("/api/breaches", reason="stolen", **selector)
    assert answer.status == 404
    assert f"the hub still accepts '{DEVICE}'" in answer.json["detail"]
    assert f"POST /api/devices/{DEVICE}/disallow" in answer.json["detail"]


def test_what_that_answer_says_contains_it_and_a_breach_can_be_called_then(http, world):
    del world.dps.enrolled[DEVICE]
    world.vault.kept[CERTIFICATE].tags = {"rollover-enrollment": DEVICE}
    http.post(f"/api/devices/{DEVICE}/disallow", reason="stolen")
    deliver_all(world)
    assert not world.hub.identities[DEVICE].enabled
    breach(http)
    deliver_all(world)
    world.clock.advance(timedelta(hours=1))
    resume_due(world.services)
    deliver_all(world)
    enrollment = world.dps.enrollment(DEVICE)
    assert (enrollment.enabled, [one.sha256_thumbprint for one in enrollment.certificates()]) == (True, [NEW_256])


def test_a_hub_that_accepts_nothing_of_it_is_not_spoken_of(http, world):
    del world.dps.enrolled[DEVICE]
    del world.hub.identities[DEVICE]
    assert "hub" not in http.post("/api/breaches", reason="stolen", registration_id=DEVICE).json["detail"]
