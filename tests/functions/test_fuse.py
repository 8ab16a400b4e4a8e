"""More devices than the fuse allows: a second person, or a broken glass that everybody hears."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.plans import Step
from shared.resuming import resume_due
from tests.builders import OLD, OLD_256, deliver, deliver_all
from tests.fakes import World, a_world
from tests.http_api import Answered, HttpApi

DEVICES = [f"dev-{number:02}" for number in range(1, 4)]
CALL: dict[str, Any] = {"thumbprint": OLD_256, "reason": "a key that three devices share is out"}


@pytest.fixture
def world() -> World:
    """Three devices with one certificate, and a fuse of two."""
    made = a_world()
    made.settings = replace(made.settings, breach_fuse=2)
    for name in DEVICES:
        made.dps.enroll(name, OLD)
        made.dps.registered(name)
        made.hub.provision(name, OLD_256)
    return made


@pytest.fixture
def http(world: World, http_of: Callable[[World], HttpApi]) -> HttpApi:
    return http_of(world)


def confirm(http: HttpApi, who: str = "oncall", **members: Any) -> Answered:
    shown = http.post("/api/breaches", who, **CALL).json
    assert shown["fuse"] == {"limit": 2, "exceeded": True}
    answer = http.post("/api/breaches", who, confirm=shown["confirm_token"], **members)
    assert answer.status == 202
    return answer


def doors(world: World) -> set[str]:
    return {body["provisioningStatus"] for body in world.dps.enrolled.values()}


def urls(answer: Answered) -> list[str]:
    return [one["url"] for one in answer.json["rollovers"]]


def test_nothing_is_done_until_a_second_person_approves(http):
    hub = dict(http.world.hub.identities)
    answer = confirm(http)
    assert answer.json["status"] == "awaiting_approval"
    assert "second person" in answer.json["next_step"]
    deliver_all(http.world)
    resume_due(http.world.services)
    deliver_all(http.world)
    assert doors(http.world) == {"enabled"}
    assert http.world.hub.identities == hub
    assert http.world.topic.kinds().count("Rollover.ApprovalNeeded") == len(DEVICES)


def test_at_the_limit_nobody_is_asked(http):
    http.world.settings = replace(http.world.settings, breach_fuse=3)
    shown = http.post("/api/breaches", **CALL).json
    assert shown["fuse"] == {"limit": 3, "exceeded": False}
    assert http.post("/api/breaches", confirm=shown["confirm_token"]).json["status"] == "running"


def test_the_first_person_is_no_second_one(http):
    [url, *_] = urls(confirm(http))
    answer = http.post(f"{url}/approve", "oncall")
    assert (answer.status, answer.json["roles"]) == (403, ["Breach.Execute"])
    assert http.get(url).json["status"] == "awaiting_approval"


@pytest.mark.parametrize("who", ["operator", "auditor", "stranger"])
def test_nor_is_somebody_without_the_role(who, http):
    [url, *_] = urls(confirm(http))
    assert http.post(f"{url}/approve", who).status == 403
    assert doors(http.world) == {"enabled"}


def test_one_approval_shuts_every_door_of_the_incident_before_it_is_answered(http):
    found = urls(confirm(http))
    answer = http.post(f"{found[1]}/approve", "oncall-2", reason="read aloud on the phone")
    assert answer.status == 202
    assert doors(http.world) == {"disabled"}
    for url in found:
        shown = http.get(url).json
        assert shown["incident"]["approved_by"] == "oncall-2 (id-of-oncall-2)"
        [record] = [one for one in shown["history"] if one["what"] == "approved"]
        assert (record["who"], record["why"]) == ("oncall-2 (id-of-oncall-2)", "read aloud on the phone")


def test_a_repeated_approval_changes_nothing_and_a_third_person_is_too_late(http):
    [url, *_] = urls(confirm(http))
    http.post(f"{url}/approve", "oncall-2")
    history = http.get(url).json["history"]
    assert http.post(f"{url}/approve", "oncall-2").status == 202
    assert http.post(f"{url}/approve", "oncall").status == 409
    assert http.get(url).json["history"] == history


def test_once_approved_all_devices_are_contained_although_each_holds_the_others_certificate(http):
    """Each identity that pins the certificate is an escape route of the others: of one call, none needs a person."""
    [url, *_] = found = urls(confirm(http))
    http.post(f"{url}/approve", "oncall-2")
    deliver_all(http.world)
    assert [http.get(one).json["contained"] for one in found] == [True] * 3


def test_a_device_is_not_called_contained_while_another_of_the_same_call_accepts_the_certificate(http):
    [url, *rest] = urls(confirm(http))
    http.post(f"{url}/approve", "oncall-2")
    for step in (Step.REMOVE_HUB_REGISTRATION, Step.REMOVE_HUB_REGISTRATION, Step.VERIFY_CONTAINMENT):
        http.world.clock.advance(timedelta(seconds=1))
        deliver(http.world, step)
    shown = http.get(url).json
    assert (shown["contained"], shown["status"]) == (False, "waiting")
    assert sum("hub identity" in one for one in shown["still_exposed"]) == len(rest)
    deliver_all(http.world)
    assert http.get(url).json["contained"]


def test_after_an_hour_it_is_refused_and_nothing_was_done(http):
    [url, *_] = found = urls(confirm(http))
    http.world.clock.advance(timedelta(hours=1))
    assert http.post(f"{url}/approve", "oncall-2").status == 409
    resume_due(http.world.services)
    deliver_all(http.world)
    assert [http.get(one).json["status"] for one in found] == ["refused"] * 3
    assert "nothing was done" in http.get(url).json["reason"]
    assert doors(http.world) == {"enabled"}
    assert http.post(f"{url}/approve", "oncall-2").status == 409
    assert http.post(f"{url}/retry", "oncall", reason="again").status == 409


def test_a_broken_glass_acts_at_once_and_is_loud(http, caplog):
    answer = confirm(http, break_glass="alone on call, the key is on a forum")
    assert answer.json["status"] == "running"
    assert doors(http.world) == {"disabled"}
    [record, *_] = http.get(urls(answer)[0]).json["history"]
    assert record["what"] == "BROKE THE GLASS"
    assert "alone on call, the key is on a forum" in record["why"]
    assert record["who"] == "oncall (id-of-oncall)"
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING and "glass_broken" in one.getMessage()]
    assert len(warnings) == len(DEVICES)
    assert http.world.topic.kinds().count("Rollover.GlassBroken") == len(DEVICES)


@pytest.mark.parametrize("reason", ["", "  ", 7, True, ["x"]])
def test_the_glass_is_not_broken_without_a_reason(reason, http):
    shown = http.post("/api/breaches", **CALL).json
    assert http.post("/api/breaches", confirm=shown["confirm_token"], break_glass=reason).status == 400
    assert doors(http.world) == {"enabled"}


def test_the_glass_is_not_broken_for_few_devices(http):
    """Under the fuse nobody needs to be asked, so the history must not cry wolf."""
    shown = http.post("/api/breaches", registration_id=DEVICES[0], reason="x").json
    answer = http.post("/api/breaches", confirm=shown["confirm_token"], break_glass="alone")
    assert http.get(urls(answer)[0]).json["incident"]["break_glass"] is None
    assert "Rollover.GlassBroken" not in http.world.topic.kinds()


def test_who_asked_for_approval_may_still_break_the_glass_with_a_new_preview(http):
    shown = http.post("/api/breaches", **CALL).json
    http.post("/api/breaches", confirm=shown["confirm_token"])
    refused = http.post("/api/breaches", confirm=shown["confirm_token"], break_glass="nobody answers the phone")
    assert (refused.status, doors(http.world)) == (409, {"enabled"})
    answer = confirm(http, break_glass="nobody answers the phone")
    assert doors(http.world) == {"disabled"}
    assert {one["status"] for one in answer.json["rollovers"]} == {"running"}


def test_the_same_call_of_another_person_waits_with_the_first_and_needs_no_third(http):
    first = urls(confirm(http, "oncall"))
    second = confirm(http, "oncall-2")
    assert (urls(second), second.json["status"]) == (first, "awaiting_approval")
    assert http.post(f"{first[0]}/approve", "oncall-2").status == 202
    assert doors(http.world) == {"disabled"}
