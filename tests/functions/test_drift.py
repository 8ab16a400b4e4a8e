"""The watch compares what DPS and hub hold with what rollovers left there; it tells people, once, and never acts."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.comparing import CLOSELY, KINDS, NEXT, ROUND, compare_some
from shared.drift import Finding
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.plans import PLANS, Plan, Step
from shared.resuming import resume_due
from shared.rollover import Outcome
from shared.rows import History
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEW_256,
    OLD,
    OLD_256,
    STRANGER,
    STRANGER_256,
    a_rollover,
    a_story,
    as_incoming,
    begin,
    deliver_all,
    device_moves,
    the_rollover,
)
from tests.certificates import NOW
from tests.fakes import World, a_world
from tests.group_story import GROUP, NEW_CA, OLD_CA, OLD_ROOT

Change = Callable[[World], object]


def rolled() -> World:
    """OLD was rolled to NEW, and everything is as it should be."""
    world = a_story(retire_when_moved=True)
    begin(world)
    deliver_all(world)
    device_moves(world)
    world.clock.advance(timedelta(hours=1))
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).outcome is Outcome.DONE
    return quiet(world)


def breached(http_of: Any, *, done: bool = True, mode: str = "remove", **settings: Any) -> World:
    """OLD was compromised; contained, and, if ``done``, recovered with NEW."""
    world = a_story(**settings)
    if not done:
        world.vault.issues = lambda _: None
    http = http_of(world)
    token = http.post("/api/breaches", registration_id=DEVICE, reason="stolen", mode=mode).json["confirm_token"]
    http.post("/api/breaches", confirm=token)
    for _ in range(4 if done else 1):
        deliver_all(world)
        device_moves(world) if done and the_rollover(world).next_step is Step.RESTORE_TWIN else None
        world.clock.advance(timedelta(hours=1))
        resume_due(world.services)
    assert the_rollover(world).contained
    assert (the_rollover(world).outcome is Outcome.DONE) is done
    return quiet(world)


def disallowed(http_of: Any) -> World:
    """The device is kept out."""
    world = a_story()
    http_of(world).post(f"/api/devices/{DEVICE}/disallow", reason="odd")
    deliver_all(world)
    assert the_rollover(world).outcome is Outcome.DONE
    return quiet(world)


def quiet(world: World) -> World:
    compare_some(world.services)
    assert not kinds(world), "all is as it was left"
    world.topic.published.clear()
    world.clock.advance(ROUND)
    return world


def kinds(world: World) -> list[str]:
    told = ("Rollover.Drifted", "Rollover.CompromisedBack", "Rollover.BreachNominated")
    return [kind for kind in world.topic.kinds() if kind in told]


def findings(world: World, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What one round logs."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        compare_some(world.services)
    lines = [record.__dict__["fields"] for record in caplog.records if record.message.startswith("drifted ")]
    return [line["finding"] for line in lines]


def disable(world: World) -> None:
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))


def enable(world: World) -> None:
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="enabled"))


def disable_at_hub(world: World) -> None:
    world.hub.put(DEVICE, NEW_256, NEW_256, enabled=False)


ROLLED: dict[str, tuple[Change, list[str]]] = {
    "another certificate lies beside it": (lambda w: w.dps.enroll(DEVICE, NEW, STRANGER), ["slots"]),
    "the outgoing one is back": (lambda w: w.dps.enroll(DEVICE, NEW, OLD), ["slots"]),
    "it was replaced": (lambda w: w.dps.enroll(DEVICE, STRANGER), ["slots", "slots"]),
    "somebody disabled the enrollment": (disable, ["status"]),
    "somebody disabled the identity": (disable_at_hub, ["status"]),
    "the enrollment is gone, the identity is not": (lambda w: w.dps.enrolled.clear(), ["gone"]),
    "the identity is gone, the enrollment is not": (lambda w: w.hub.identities.clear(), ["gone"]),
    "the hub accepts the outgoing one again": (lambda w: w.hub.provision(DEVICE, OLD_256), ["slots"]),
    "the hub accepts the outgoing one beside it": (lambda w: w.hub.put(DEVICE, NEW_256, OLD_256), ["slots"]),
    "the hub accepts a certificate beside it that nobody issued": (
        lambda w: w.hub.put(DEVICE, NEW_256, STRANGER_256),
        ["never_issued"],
    ),
}


@pytest.mark.parametrize(("change", "expected"), ROLLED.values(), ids=ROLLED)
def test_after_a_rollover_somebody_is_told_that(change, expected, caplog):
    world = rolled()
    change(world)
    assert findings(world, caplog) == expected
    assert len(kinds(world)) == len(expected)


@pytest.mark.parametrize("change", [one for one, _ in ROLLED.values()], ids=ROLLED)
def test_nothing_is_done_about_it_and_it_is_told_once(change, caplog):
    world = rolled()
    change(world)
    before = (dict(world.dps.enrolled), dict(world.hub.identities), world.hub.asked[:], the_rollover(world))
    findings(world, caplog)
    told = len(kinds(world))
    for _ in range(8):
        world.clock.advance(ROUND)
        assert findings(world, caplog) == []
    assert len(kinds(world)) == told
    assert (dict(world.dps.enrolled), dict(world.hub.identities), world.hub.asked[:], the_rollover(world)) == before


FINE: dict[str, Change] = {
    "nothing changed": lambda w: None,
    "the device was taken out of service on both sides": lambda w: (w.dps.enrolled.clear(), w.hub.identities.clear()),
    "the device was faster than its enrollment": lambda w: (
        w.vault.kept[CERTIFICATE].versions.append(STRANGER),
        w.hub.put(DEVICE, NEW_256, STRANGER_256),
    ),
}


@pytest.mark.parametrize("change", FINE.values(), ids=FINE)
def test_no_drift_is_seen_where(change, caplog):
    world = rolled()
    change(world)
    assert findings(world, caplog) == []


def test_an_open_rollover_looks_for_itself(caplog):
    world = a_story()
    begin(world)
    disable(world)
    world.hub.provision(DEVICE, STRANGER_256)
    assert findings(world, caplog) == []


BACK: dict[str, Change] = {
    "in a slot": lambda w: w.dps.enroll(DEVICE, NEW, OLD),
    "at the hub": lambda w: w.hub.provision(DEVICE, OLD_256),
}


@pytest.mark.parametrize("change", BACK.values(), ids=BACK)
def test_a_compromised_certificate_that_is_back_gets_somebody_up(change, http_of, caplog):
    world = breached(http_of, retire_when_moved=True)
    change(world)
    sent = []
    world.topic.publish = lambda event_id, kind, subject, data, at: sent.append((kind, data))
    assert findings(world, caplog)[0] == "compromised_back"
    kind, data = sent[0]
    assert (kind, data["urgency"], data["rolloverId"]) == ("Rollover.CompromisedBack", "page", f"individual.{DEVICE}.1")
    assert "POST /api/breaches" in data["nextStep"]
    assert OLD_256 in data["reason"]


@pytest.mark.parametrize("change", [enable, lambda w: w.hub.provision(DEVICE, OLD_256)], ids=["at DPS", "at the hub"])
@pytest.mark.parametrize("ended", [False, True])
def test_so_does_one_that_rests_contained_and_is_opened(change, ended, http_of, caplog):
    """However it ended: nobody looks any more then."""
    world = breached(http_of, done=False)
    if ended:
        http_of(world).post(f"/api/rollovers/individual.{DEVICE}.1/cancel", reason="no replacement to be had")
    change(world)
    assert findings(world, caplog) == ["compromised_back"]


def test_a_disabled_identity_may_go_on_holding_what_is_compromised(http_of, caplog):
    """That is how mode disable contains; once somebody enables it, it lets the thief in."""
    world = breached(http_of, done=False, mode="disable")
    assert findings(world, caplog) == []
    world.clock.advance(ROUND)
    world.hub.put(DEVICE, OLD_256, OLD_256, enabled=True)
    assert findings(world, caplog) == ["compromised_back"]


KEPT_OUT: dict[str, Change] = {
    "its enrollment is enabled": enable,
    "its identity is enabled": lambda w: w.hub.put(DEVICE, OLD_256, OLD_256, enabled=True),
}


@pytest.mark.parametrize("change", KEPT_OUT.values(), ids=KEPT_OUT)
def test_a_device_that_is_kept_out_gets_somebody_up_when(change, http_of, caplog):
    world = disallowed(http_of)
    change(world)
    assert findings(world, caplog) == ["let_in_again"]
    assert kinds(world) == ["Rollover.CompromisedBack"]


def test_a_kept_entry_that_is_deleted_lets_the_device_of_a_group_in_again(http_of, caplog):
    world = disallowed(http_of)
    last = the_rollover(world)
    assert last.incident is not None
    of_a_group = replace(last, incident=replace(last.incident, leaf=OLD.pem))
    world.services.ledger.record(of_a_group, None)
    assert findings(world, caplog) == []
    world.clock.advance(ROUND)
    world.dps.enrolled.clear()
    assert findings(world, caplog) == ["let_in_again"]


def test_an_allowed_device_is_as_it_was(http_of, caplog):
    world = disallowed(http_of)
    http_of(world).post(f"/api/devices/{DEVICE}/allow", reason="fine")
    deliver_all(world)
    assert findings(world, caplog) == []
    world.clock.advance(ROUND)
    disable(world)
    assert findings(world, caplog) == ["status"]


# --- groups -----------------------------------------------------------------------------------------------------


def a_group_rolled() -> World:
    world = a_world()
    world.dps.enroll_group(GROUP, NEW_CA)
    rollover = a_rollover(
        registration_id="",
        device_id="",
        group_id=GROUP,
        plan=Plan.GROUP_EXPIRY,
        done=PLANS[Plan.GROUP_EXPIRY],
        outcome=Outcome.DONE,
        due_at=None,
        outgoing=replace(a_rollover().outgoing, sha1_thumbprint=OLD_CA.sha1_thumbprint, sha256_thumbprint="A"),
        incoming=as_incoming(NEW_CA),
    )
    world.services.ledger.begin(rollover, None, History(NOW, "test", "started", "for a test"))
    return quiet(world)


OF_GROUPS: dict[str, tuple[Change, list[str]]] = {
    "it trusts another one": (lambda w: w.dps.enroll_group(GROUP, NEW_CA, OLD_ROOT), ["slots"]),
    "it trusts the outgoing one again": (lambda w: w.dps.enroll_group(GROUP, NEW_CA, OLD_CA), ["slots"]),
    "somebody disabled it": (
        lambda w: w.dps.enroll_group(GROUP, NEW_CA, provisioningStatus="disabled"),
        ["status"],
    ),
    "it is gone": (lambda w: w.dps.grouped.clear(), []),
}


@pytest.mark.parametrize(("change", "expected"), OF_GROUPS.values(), ids=OF_GROUPS)
def test_of_a_group_somebody_is_told_that(change, expected, caplog):
    world = a_group_rolled()
    change(world)
    assert findings(world, caplog) == expected


# --- many -------------------------------------------------------------------------------------------------------


def a_fleet(count: int) -> World:
    """So many devices, each rolled to NEW and then disabled by somebody."""
    world = a_world()
    for number in range(count):
        name = f"dev-{number:04}"
        world.dps.enroll(name, NEW, provisioningStatus="disabled")
        rollover = a_rollover(
            Step.DELETE_PRIMARY, registration_id=name, device_id=name, outcome=Outcome.DONE, due_at=None
        )
        world.services.ledger.begin(rollover, None, History(NOW, "test", "started", "for a test"))
    return world


def named(caplog: pytest.LogCaptureFixture, event: str, field: str) -> set[str]:
    lines = [record.__dict__["fields"] for record in caplog.records]
    return {line[field] for line in lines if line["event"] == event}


def test_what_has_drifted_is_read_slice_by_slice_each_target_once_a_round(caplog):
    world = a_fleet(2 * CLOSELY + 1)
    reads = []
    read = world.dps.enrollment
    world.dps.enrollment = lambda name: (reads.append(name), read(name))[1]
    assert [compare_some(world.services) for _ in range(4)] == [CLOSELY, CLOSELY, 1, 0]
    assert len(reads) == len(set(reads)) == 2 * CLOSELY + 1
    world.clock.advance(ROUND)
    assert compare_some(world.services) == CLOSELY, "the next round begins"


@pytest.mark.parametrize("error", [ServiceRefused("DPS answered 403"), KeyError("odd")], ids=["refused", "a surprise"])
def test_targets_that_cannot_be_read_stop_no_other_and_are_named(error, caplog):
    world = a_fleet(20)
    read = world.dps.enrollment
    bad = {f"dev-{number:04}" for number in range(5, 10)}

    def enrollment(name):
        if name in bad:
            raise error
        return read(name)

    world.dps.enrollment = enrollment
    with caplog.at_level(logging.WARNING):
        assert compare_some(world.services) == 20
    assert named(caplog, "target_failed", "target") == {f"individual.{name}" for name in bad}
    assert len(named(caplog, "drifted", "registration_id")) == 15


def test_a_service_that_does_not_answer_is_not_asked_two_hundred_times_and_holds_nothing_up_for_ever(caplog):
    world = a_fleet(8)
    asked = []

    def down(name):
        asked.append(name)
        raise ServiceUnavailable("DPS answered 429")

    world.dps.enrollment, read = down, world.dps.enrollment
    compare_some(world.services)
    assert asked == ["dev-0000", "dev-0001", "dev-0002"]
    world.dps.enrollment = read
    with caplog.at_level(logging.WARNING):
        assert compare_some(world.services) == 5, "behind them"
    assert len(named(caplog, "drifted", "registration_id")) == 5


def test_a_place_that_a_person_spoiled_begins_a_round():
    world = a_fleet(3)
    compare_some(world.services)
    world.table.rows["timers", "place"] = ({"PartitionKey": "timers", "RowKey": "place", "after": 7}, 99)
    assert compare_some(world.services) == 3


def test_every_finding_is_published_as_something_and_says_what_to_do():
    assert set(KINDS) == set(NEXT) == set(Finding)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.NEEDS_PERSON, Outcome.CANCELLED])
def test_a_device_that_dps_does_not_admit_is_told_of_where_nothing_was_rolled(outcome, caplog):
    """Its enrollment holds a good certificate that it never got: the sweep, which goes by that, finds nothing due."""
    world = rolled()
    world.services.ledger.record(replace(the_rollover(world), outcome=outcome), None)
    assert findings(world, caplog) == []
    world.hub.provision(DEVICE, OLD_256)
    world.clock.advance(ROUND)
    assert findings(world, caplog) == ["apart"]
    assert NEXT[Finding.APART].startswith("put the certificate that the device uses into a slot")
