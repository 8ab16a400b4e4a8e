"""Devices of an enrollment group that the hub refused: nobody noted them, so DPS is asked, a few a minute."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.connection_failures import take_batch
from shared.errors import NotAllowed, ServiceUnavailable
from shared.looks import COOL_DOWN, LOOKS_PER_MINUTE, MINUTE, STRANGERS_PER_MINUTE
from shared.plans import Plan, Step
from shared.rollover import Outcome
from tests.builders import OLD
from tests.fakes import World
from tests.functions.test_whole_group_breaches import breach, come_back
from tests.group_story import DEVICES, GROUP, a_group_story, begin, go_on, reasons, the_rollover
from tests.unit.hub_log import a_record, message

TRIED = "Rollover.BreachedCertificateTried"
DEVICE = DEVICES[0]


def refused(world: World, *device_ids: str) -> Counter[str]:
    """The hub's log tells that it refused these, just now; what became of them, without the count of records."""
    at = world.clock().isoformat()
    records = [a_record({"deviceId": one}, time=at) for one in device_ids or (DEVICE,)]
    return take_batch([message(*records)], world.services) - Counter(refused=len(records))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often DPS was asked for a registration, and the registry for an identity."""
    counts: Counter[str] = Counter()
    for kind, name in (("InMemoryDps", "registration"), ("InMemoryHub", "identity")):
        read = getattr(__import__("tests.fakes", fromlist=[kind]), kind)
        monkeypatch.setattr(read, name, _counting(getattr(read, name), counts, name))
    return counts


def _counting(read, counts: Counter[str], name: str):
    def counted(*given):
        counts[name] += 1
        return read(*given)

    return counted


def contained() -> World:
    world = a_group_story()
    world.vault.issues = lambda _: None
    breach(world)
    assert go_on(world).contained, reasons(world)
    assert DEVICE not in world.hub.identities
    return world


def test_a_refusal_hastens_the_rollover_of_the_group():
    world = a_group_story()
    begin(world)
    rollover = go_on(world, timedelta(minutes=1))
    assert rollover.due_at > world.clock()
    world.nudges.sent.clear()
    assert refused(world, *DEVICES) == {"in_flight": len(DEVICES)}
    assert the_rollover(world).due_at == world.clock()
    assert [(step, delay) for step, _, delay in world.nudges.sent] == [(rollover.next_step, timedelta())], "one nudge"


def test_nothing_else_becomes_of_it():
    """No rollover begins, and nothing of DPS or hub changes."""
    world = a_group_story()
    begin(world)
    before = (dict(world.dps.grouped), dict(world.hub.identities), len(list(world.services.ledger.rollovers())))
    refused(world, *DEVICES)
    assert (world.dps.grouped, world.hub.identities, len(list(world.services.ledger.rollovers()))) == before


def test_a_device_that_was_evicted_and_tries_again_is_recorded_and_announced_once_an_hour():
    world = contained()
    for _ in range(6):
        assert set(refused(world, *DEVICES)) <= {"breached_certificate_tried", "not_ours"}
        world.clock.advance(COOL_DOWN)
    assert world.topic.kinds().count(TRIED) == 1
    told = [why for what, why in reasons(world) if what == "breached certificate tried"]
    assert len(told) == 1
    assert "inferred" in told[0]
    world.clock.advance(MINUTE)
    refused(world)
    assert world.topic.kinds().count(TRIED) == 2


def test_a_refusal_from_before_the_breach_is_no_try():
    world = contained()
    early = the_rollover(world).started_at - timedelta(seconds=1)
    record = a_record({"deviceId": DEVICE}, time=early.isoformat())
    assert take_batch([message(record)], world.services)["in_flight"] == 1
    assert TRIED not in world.topic.kinds()


def test_a_device_that_is_back_is_no_thief():
    world = contained()
    come_back(world)
    assert refused(world) == {"in_flight": 1}
    assert TRIED not in world.topic.kinds()


def test_a_device_that_is_evicted_while_it_is_being_contained_hastens_the_breach():
    """It is looked at again a minute later: then it tells who goes on trying."""
    world = a_group_story()
    breach(world)
    del world.hub.identities[DEVICE]
    assert not the_rollover(world).contained
    assert refused(world) == {"in_flight": 1}
    assert TRIED not in world.topic.kinds()
    world.vault.issues = lambda _: None
    assert go_on(world).contained
    world.clock.advance(MINUTE)
    assert refused(world) == {"breached_certificate_tried": 1}


def test_a_device_of_another_group_is_no_thief_while_the_hub_has_it():
    world = contained()
    world.dps.registered("valve-1", group="line-2")
    world.hub.provision("valve-1", "ANYTHING")
    assert refused(world, "valve-1") == {"in_flight": 1}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_breach_that_is_over_keeps_nobody_out(outcome):
    world = contained()
    ended = replace(the_rollover(world), outcome=outcome, due_at=None, outbox=("Rollover.Recovered/1",))
    world.services.ledger.record(ended, None)
    assert refused(world) == {"of_group": 1}


def test_a_breach_that_nobody_approved_is_not_hastened():
    world = a_group_story()
    rollover = begin(world)
    waits = replace(rollover, plan=Plan.GROUP_BREACH, incident=_unapproved(world), done=())
    world.services.ledger.record(waits, None)
    world.nudges.sent.clear()
    assert refused(world) == {"of_group": 1}
    assert world.nudges.sent == []


def _unapproved(world: World):
    other = contained()
    return replace(the_rollover(other).incident, approve_by=world.clock() + timedelta(hours=1))


def test_what_the_hub_pinned_is_counted_and_never_nominated():
    """Who issues a group's leaves knows them, we do not: a thumbprint of nobody looks like any other."""
    world = a_group_story()
    world.hub.provision(DEVICE, "F" * 64)
    assert refused(world) == {"of_group": 1}
    assert world.topic.kinds() == []


def test_a_disabled_identity_is_somebody_s_decision():
    world = a_group_story()
    world.hub.put(DEVICE, "AA", "AA", enabled=False)
    assert refused(world) == {"kept_out": 1}


def test_a_device_that_comes_with_a_token_is_only_counted():
    world = a_group_story()
    begin(world)
    world.hub.put(DEVICE, None, None, authentication="sas")
    assert refused(world) == {"not_by_certificate": 1}


def test_a_device_with_an_enrollment_of_its_own_is_of_no_group():
    world = a_group_story()
    begin(world)
    world.dps.enroll(DEVICE, OLD)
    assert refused(world) == {"not_ours": 1}


# --- limits -----------------------------------------------------------------------------------------------------


def test_names_of_nobody_cost_dps_five_questions_a_minute_and_the_registry_none(asked):
    world = a_group_story()
    begin(world)
    asked.clear()
    for minute in range(10):
        for _ in range(5):  # five batches, as if by five instances
            refused(world, *(f"nobody-{minute}-{n}" for n in range(200)))
        world.clock.advance(MINUTE)
    assert asked == {"registration": 10 * STRANGERS_PER_MINUTE}


def test_names_that_no_registration_has_cost_nothing(asked):
    world = a_group_story()
    refused(world, "a'b", "*", "a%2Db", "(a)")
    assert asked == {}


def test_strangers_take_nothing_from_the_devices_that_are_known(asked):
    world = a_group_story()
    names = [f"pump-{n}" for n in range(100, 100 + LOOKS_PER_MINUTE)]
    refused(world, *(f"nobody-{n}" for n in range(100)))
    for name in names:
        world.services.devices.know(name, name, "")
    asked.clear()
    refused(world, *names)
    assert asked["identity"] == LOOKS_PER_MINUTE


def test_a_device_is_asked_for_once_in_ten_minutes(asked):
    world = a_group_story()
    for _ in range(20):
        refused(world, DEVICE, DEVICE)
        world.clock.advance(timedelta(seconds=55))
    assert asked["registration"] == 2


# --- failures ---------------------------------------------------------------------------------------------------


def test_a_dps_that_is_down_makes_the_batch_come_again_and_then_it_counts():
    world = a_group_story()
    begin(world)
    registration = world.dps.registration

    def down(registration_id):
        raise ServiceUnavailable("503")

    world.dps.registration = down
    with pytest.raises(ServiceUnavailable):
        refused(world)
    world.dps.registration = registration
    assert refused(world) == {"in_flight": 1}


def test_one_that_fails_stops_no_other_and_leaves_no_row_behind():
    """Its name is the client's: a thousand of them would be a thousand rows."""
    world = a_group_story()
    begin(world)
    identity = world.hub.identity

    def forbidden(device_id):
        if device_id == DEVICES[1]:
            raise NotAllowed("403")
        return identity(device_id)

    world.hub.identity = forbidden
    assert refused(world, *DEVICES) == {"in_flight": 2, "failed": 1}
    assert world.services.ledger.refused_inputs() == []


def test_the_group_is_named_in_the_event():
    world = contained()
    told = {}
    world.topic.publish = lambda event_id, kind, subject, data, at: told.update({kind: (subject, data)})
    refused(world)
    subject, data = told[TRIED]
    assert subject == GROUP
    assert "or as one of this group" in data["note"]
    assert the_rollover(world).next_step is Step.ISSUE_CERTIFICATE, "it goes on as it would"
