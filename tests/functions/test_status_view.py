"""How a breach stands, for somebody who has just been woken: what is exposed, what is contained, what comes next."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import ServiceRefused, ServiceUnavailable
from shared.plans import Step
from shared.resuming import resume_due
from tests.builders import DEVICE, NEW_256, OLD_256, a_story, deliver, deliver_all, the_rollover
from tests.fakes import World
from tests.http_api import HttpApi

FIRST = f"/api/rollovers/individual.{DEVICE}.1"


@pytest.fixture
def http(http_of: Callable[[World], HttpApi]) -> HttpApi:
    world = a_story()
    world.hub.put(DEVICE, OLD_256, OLD_256, connected=True)
    return http_of(world)


def breach(http: HttpApi, **members: Any) -> None:
    token = http.post("/api/breaches", registration_id=DEVICE, reason="stolen", **members).json["confirm_token"]
    assert http.post("/api/breaches", confirm=token).status == 202


def shown(http: HttpApi) -> dict[str, Any]:
    return http.get(FIRST).json


def until(http: HttpApi, step: Step) -> dict[str, Any]:
    """Let it go on until this step is next."""
    for _ in range(40):
        rollover = the_rollover(http.world)
        if rollover.next_step is step:
            return shown(http)
        assert rollover.next_step is not None
        http.world.clock.advance(
            max(timedelta(), rollover.due_at - http.world.clock()) if rollover.due_at else timedelta()
        )
        deliver(http.world, rollover.next_step)
    raise AssertionError(f"it does not come to {step}")


PINNED = f"IoT Hub: the identity {DEVICE} accepts a compromised certificate: its holder can connect"
SESSION = f"IoT Hub: the hub still has a session of {DEVICE}"


def test_what_is_exposed_is_said_at_every_stage(http):
    http.world.settings = replace(http.world.settings, breach_fuse=0)
    breach(http)
    door = (
        f"DPS: the enrollment {DEVICE} is enabled and slot primary and secondary holds a compromised certificate:"
        " its holder can register"
    )
    assert shown(http)["still_exposed"] == [door, PINNED, SESSION]
    http.post(f"{FIRST}/approve", "oncall-2")
    assert shown(http)["still_exposed"] == [PINNED, SESSION], "the door at DPS is shut"
    deliver(http.world, Step.REMOVE_HUB_REGISTRATION)
    assert shown(http)["still_exposed"] == [], "the identity is disabled and its session gone"
    assert not shown(http)["contained"], "which is not yet read back twice"
    assert shown(http)["contained_at"] is None
    after = until(http, Step.ISSUE_CERTIFICATE)
    assert (after["contained"], after["still_exposed"]) == (True, [])
    assert after["contained_at"] == next(
        one["at"] for one in after["history"] if one["step"] == "verify_containment" and one["what"] == "done"
    )


@pytest.mark.parametrize("mode", ["remove", "disable"])
def test_what_was_contained_and_is_opened_again_is_exposed_at_once(mode, http):
    """Read now and not remembered."""
    breach(http, mode=mode)
    until(http, Step.ISSUE_CERTIFICATE)
    http.world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="enabled"))
    http.world.hub.provision(DEVICE, OLD_256)
    assert len(shown(http)["still_exposed"]) == 2


def test_another_identity_with_the_certificate_is_exposed(http):
    breach(http)
    http.world.hub.provision("dev-77", OLD_256)
    assert "hub identity dev-77: it accepts the certificate's thumbprint" in shown(http)["still_exposed"]


@pytest.mark.parametrize("error", [ServiceUnavailable("DPS answered 503"), ServiceRefused("DPS answered 403")])
@pytest.mark.parametrize("service", ["dps.enrollment", "hub.identity", "hub.holders"])
def test_what_cannot_be_read_counts_as_exposed(service, error, http, monkeypatch):
    breach(http)
    until(http, Step.ISSUE_CERTIFICATE)

    def fails(*_: Any) -> None:
        raise error

    where, method = service.split(".")
    monkeypatch.setattr(getattr(http.world, where), method, fails)
    assert shown(http)["still_exposed"] == [f"it cannot be read now whether it is contained: {error}"]


def test_what_ended_without_being_done_still_says_what_is_exposed(http):
    breach(http)
    http.post(f"{FIRST}/cancel", reason="x")
    assert shown(http)["still_exposed"] == [PINNED, SESSION]


def test_a_disallowed_device_is_exposed_until_it_is_kept_out(http):
    http.post(f"/api/devices/{DEVICE}/disallow", reason="odd")
    assert shown(http)["still_exposed"] == [
        f"IoT Hub: the identity {DEVICE} is enabled: the device can connect",
        SESSION,
    ]


def test_reprovision_says_that_the_hub_accepts_it_until_the_device_is_back(http):
    breach(http, mode="reprovision")
    found = until(http, Step.INVOKE_REPROVISION_JOB)
    assert (found["contained"], PINNED in found["still_exposed"]) == (False, True)


# --- what comes next --------------------------------------------------------------------------------------------------


def test_what_comes_next_and_who_does_it_is_said_at_every_stage(http):
    http.world.settings = replace(http.world.settings, breach_fuse=0)
    breach(http)
    waiting = shown(http)
    assert (waiting["status"], waiting["contained"]) == ("awaiting_approval", False)
    assert waiting["next_step_in_words"] == (
        f"A second person calls POST {FIRST}/approve before 2026-11-24 13:00:00Z. Nothing was done so far."
    )
    http.post(f"{FIRST}/approve", "oncall-2")
    assert shown(http)["next_step_in_words"].startswith("By itself: remove_hub_registration (the hub accepts no")
    found = until(http, Step.RESTORE_TWIN)
    deliver(http.world, Step.RESTORE_TWIN)
    assert "it waits: the device is not back yet" in shown(http)["next_step_in_words"], found
    http.world.clock.advance(timedelta(minutes=31))
    http.world.dps.registered(DEVICE)
    http.world.hub.provision(DEVICE, NEW_256)
    resume_due(http.world.services)
    deliver_all(http.world)
    done = shown(http)
    assert (done["status"], done["next_step_in_words"]) == ("done", "Nothing: it is done.")
    assert (done["contained"], done["still_exposed"]) == (True, [])


def test_what_nobody_approved_says_to_call_again(http):
    http.world.settings = replace(http.world.settings, breach_fuse=0)
    breach(http)
    http.world.clock.advance(timedelta(hours=1))
    resume_due(http.world.services)
    deliver_all(http.world)
    found = shown(http)
    assert found["status"] == "refused"
    assert "call the breach again" in found["next_step_in_words"]
    assert len(found["still_exposed"]) == 3


def test_what_lost_its_place_says_to_whom(http):
    breach(http)
    breach(http, mode="disable")
    found = shown(http)
    assert found["next_step_in_words"] == f"Nothing here: individual.{DEVICE}.2 took its place."
    assert found["still_exposed"] == []


def test_whoever_reads_sees_the_list_by_incident_and_status(http):
    breach(http)
    incident = shown(http)["incident"]["id"]
    for params in ({"incident": incident}, {"registration_id": "DEV-01"}, {"status": "running"}):
        [one] = http.get("/api/rollovers", "auditor", **params).json["rollovers"]
        assert one["id"] == f"individual.{DEVICE}.1"
    for params in ({"incident": incident[:-1]}, {"registration_id": "dev-0"}, {"status": "done"}):
        assert http.get("/api/rollovers", "auditor", **params).json["rollovers"] == []


@pytest.mark.parametrize("params", [{"status": "open"}, {"Status": "done"}, {"registrationid": DEVICE}])
def test_a_filter_that_there_is_not_lists_nothing(params, http):
    assert http.get("/api/rollovers", **params).status == 400
