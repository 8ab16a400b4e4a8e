"""Whole stories of devices that the hub refused, and what a flood, an outage or junk can do to the trigger."""

import logging
import random
from collections import Counter
from datetime import timedelta

import pytest

from shared.breaching import confirm, preview
from shared.connection_failures import MOST_CLAIMS, take_batch
from shared.errors import Conflict, NotAllowed, ServiceUnavailable
from shared.looks import COOL_DOWN, LOOKS_PER_MINUTE, MINUTE
from shared.plans import Step
from shared.resuming import resume_due
from shared.sweeping import sweep
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEW_256,
    NEWER,
    OLD,
    OLD_256,
    a_story,
    deliver_all,
    device_moves,
    put_rollover,
    reasons,
    the_rollover,
)
from tests.fakes import Kept, World
from tests.functions.test_hub_log_corpus import ONCALL, ahead, contained, known, taken_over
from tests.unit.hub_log import a_record, message

TRIED = "Rollover.BreachedCertificateTried"


def refused(world: World, *device_ids: str) -> Counter[str]:
    """The hub's log tells that it refused these, just now."""
    at = world.clock().isoformat()
    records = [a_record({"deviceId": one}, time=at) for one in device_ids or (DEVICE,)]
    return take_batch([message(*records)], world.services)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The device IDs that the registry was asked for."""
    asked: list[str] = []
    monkeypatch.setattr(
        "tests.fakes.InMemoryHub.identity", lambda hub, one: asked.append(one) or hub.identities.get(one)
    )
    return asked


def test_a_device_that_rolled_by_itself_gets_in_by_being_refused():
    """It fetched the vault's new version before its enrollment was told of it."""
    world = ahead()
    assert refused(world)["rolled_early"] == 1
    assert the_rollover(world).cause.startswith(f"refused connect of {DEVICE}")
    deliver_all(world)
    assert NEW_256 in world.hub.identities[DEVICE].thumbprints(), "the hub accepts what the device presents"
    device_moves(world)
    world.clock.time = OLD.not_after + timedelta(hours=1)
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).status == "done", reasons(world)
    assert set(world.dps.slots(DEVICE)) - {None} == {NEW_256}


def test_a_refusal_hastens_the_rollover_that_is_open():
    world = known(a_story())
    waiting = {"waiting_for": "the device", "due_at": world.clock() + timedelta(hours=6)}
    put_rollover(world, Step.INVOKE_REPROVISION_JOB, **waiting)
    world.nudges.sent.clear()
    assert refused(world)["in_flight"] == 1
    assert [(step, delay) for step, _, delay in world.nudges.sent] == [(Step.INVOKE_REPROVISION_JOB, timedelta())]


def test_a_thief_who_tries_again_is_recorded_and_announced_once_an_hour():
    world = contained()
    for _ in range(6):
        assert set(refused(world)) <= {"refused", "breached_certificate_tried", "cooling"}
        world.clock.advance(COOL_DOWN - timedelta(seconds=1))
    assert world.topic.kinds().count(TRIED) == 1
    assert [what for what, _ in reasons(world)].count("breached certificate tried") == 1
    assert "the device itself" in next(why for what, why in reasons(world) if what == "breached certificate tried")
    world.clock.advance(timedelta(minutes=10))
    refused(world)
    assert world.topic.kinds().count(TRIED) == 2


def test_a_thief_who_was_first_refused_while_the_breach_was_being_contained_is_recorded_a_minute_later():
    world = a_story()
    shown = preview({"registration_id": DEVICE, "reason": "stolen"}, ONCALL, world.services)
    confirm({"confirm": shown["confirm_token"]}, ONCALL, world.services)
    assert refused(world)["in_flight"] == 1
    assert refused(world)["cooling"] == 1
    deliver_all(world)
    world.clock.advance(MINUTE)
    assert refused(world)["breached_certificate_tried"] == 1
    assert world.topic.kinds().count(TRIED) == 1


def test_the_event_says_that_it_is_inferred():
    world = contained()
    told = {}
    world.topic.publish = lambda event_id, kind, subject, data, at: told.update({kind: data})
    refused(world)
    assert "inferred" in told[TRIED]["note"]
    assert told[TRIED]["incidentId"].startswith("incident-")
    assert told[TRIED]["deviceId"] == DEVICE


def test_a_topic_that_is_down_gets_the_event_later():
    world = contained()
    world.topic.down = True
    refused(world)
    world.topic.down = False
    resume_due(world.services)
    assert world.topic.kinds().count(TRIED) == 1


def test_a_step_that_goes_on_at_the_same_moment_loses_no_record():
    world = contained()
    commit = world.table.commit

    def overtaken(writes):
        if any("history." in write.row["RowKey"] for write in writes):
            world.table.commit = commit
            raise Conflict("a step was first")
        return commit(writes)

    world.table.commit = overtaken
    refused(world)
    assert world.topic.kinds().count(TRIED) == 1


def test_a_device_that_is_back_is_no_thief():
    world = contained()
    world.clock.advance(timedelta(seconds=1))
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW_256)
    world.clock.time = the_rollover(world).due_at
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).status == "done", reasons(world)
    assert refused(world)["unexplained"] == 1
    assert TRIED not in world.topic.kinds()


def test_a_stranger_at_the_hub_is_nominated_once_a_day_and_left_alone(caplog):
    world = taken_over(ahead())
    before = world.hub.identities[DEVICE]
    for _ in range(3):
        refused(world)
        world.clock.advance(COOL_DOWN)
    assert world.topic.kinds() == ["Rollover.BreachNominated"]
    assert world.hub.identities[DEVICE] == before
    assert world.services.ledger.last(DEVICE) is None
    assert "breach_nominated" in caplog.text


def test_an_old_version_of_the_vault_at_the_hub_is_no_stranger():
    """The vault lists its versions by SHA-1, DPS writes SHA-256: both are compared."""
    world = known(a_story())
    world.vault.kept[CERTIFICATE] = Kept([OLD, NEW, NEWER])
    world.dps.enroll(DEVICE, NEWER)
    world.hub.provision(DEVICE, OLD_256)
    assert refused(world)["unexplained"] == 1
    assert world.topic.kinds() == []


def test_what_cannot_be_explained_is_logged(caplog):
    caplog.set_level(logging.INFO, "rollover")
    refused(known(a_story()))
    assert f"refusal_unexplained device_id={DEVICE}" in caplog.text
    assert "hub_log_read refused=1 unexplained=1" in caplog.text


# --- limits -----------------------------------------------------------------------------------------------------


def test_a_thousand_claims_of_nobody_cost_the_registry_nothing(read):
    world = ahead()
    counts = refused(world, *(f"nobody-{n}" for n in range(1000)))
    assert read == []
    assert counts == {"refused": 1000, "not_ours": MOST_CLAIMS, "over_budget": 1000 - MOST_CLAIMS}


def test_a_thousand_claims_of_our_own_devices_cost_the_registry_twenty_a_minute(read):
    world = ahead()
    names = [f"pump-{n}" for n in range(1000)]
    for name in names:
        world.services.devices.know(name, name, "")
    for _ in range(5):  # five batches, as if by five instances
        refused(world, *names)
    assert len(read) == LOOKS_PER_MINUTE
    for _ in range(30):
        world.clock.advance(MINUTE)
        refused(world, *names)
    assert LOOKS_PER_MINUTE < len(read) <= 31 * LOOKS_PER_MINUTE
    row, _ = world.table.read("hub-log", "looks")
    assert len(row["recent"]) < 30_000, "the row stays within a column"


def test_one_device_is_looked_at_once_in_ten_minutes(read):
    world = known(a_story())
    for _ in range(20):
        refused(world, DEVICE, DEVICE)
        world.clock.advance(timedelta(seconds=55))
    assert read == [DEVICE, DEVICE]


def test_a_device_among_a_flood_has_its_turn_like_any_other():
    """Who is looked at is drawn by lot: who floods cannot choose."""
    begun = 0
    for seed in range(20):
        world = ahead()
        at = world.clock().isoformat()
        names = [*(f"nobody-{n}" for n in range(3 * MOST_CLAIMS)), DEVICE]
        flood = message(*(a_record({"deviceId": one}, time=at) for one in names))
        begun += take_batch([flood], world.services, random.Random(seed).shuffle)["rolled_early"]
    assert 0 < begun < 20


def test_instances_that_take_looks_at_once_share_the_budget(read):
    world = ahead()
    for n in range(100):
        world.services.devices.know(f"pump-{n}", f"pump-{n}", "")
    commit = world.table.commit

    def overtaken(writes):
        world.table.commit = commit
        refused(world, *(f"pump-{n}" for n in range(15)))
        return commit(writes)

    world.table.commit = overtaken
    refused(world, *(f"pump-{n}" for n in range(50, 70)))
    assert len(read) == LOOKS_PER_MINUTE


def test_a_row_of_looks_that_a_person_edited_is_written_anew(read):
    world = known(a_story())
    refused(world)
    world.table.rows["hub-log", "looks"][0]["recent"] = "[[1]]"
    refused(world)
    assert read == [DEVICE, DEVICE]


# --- failures ---------------------------------------------------------------------------------------------------


def test_a_registry_that_is_down_makes_the_batch_come_again_and_then_it_counts(monkeypatch):
    world = ahead()
    identity = world.hub.identity

    def down(device_id):
        raise ServiceUnavailable("503")

    world.hub.identity = down
    with pytest.raises(ServiceUnavailable):
        refused(world)
    world.hub.identity = identity
    assert refused(world)["rolled_early"] == 1, "what was not looked at is not left alone"


def test_one_device_that_fails_stops_no_other(caplog):
    world = ahead()
    world.services.devices.know("forbidden", "forbidden", "")
    identity = world.hub.identity

    def forbidden(device_id):
        if device_id == "forbidden":
            raise NotAllowed("403")
        return identity(device_id)

    world.hub.identity = forbidden
    assert refused(world, "forbidden", DEVICE) == {"refused": 2, "failed": 1, "rolled_early": 1}
    assert [one.subject for one in world.services.ledger.refused_inputs()] == ["forbidden"]


def test_the_same_batch_again_begins_nothing_new():
    """Event Hubs delivers at least once."""
    world = ahead()
    batch = [message(a_record()), message(a_record())]
    for _ in range(3):
        take_batch(batch, world.services)
        world.clock.advance(timedelta(hours=2))
    assert len(list(world.services.ledger.rollovers())) == 1


def test_junk_is_counted_and_noted_once_by_its_reason():
    """However much of it comes: the notes are as many as there are reasons."""
    world = ahead()
    for n in range(50):
        counts = take_batch([f"junk {n}".encode() * 100, message(n, a_record({"deviceId": f"a/{n}"}))], world.services)
        assert counts == {"unreadable": 3}
    noted = world.services.ledger.refused_inputs()
    assert {(one.source, one.subject, one.count) for one in noted} == {("hub log", "a record", 50)}
    assert len(noted) == 3


def test_no_bytes_can_poison_the_trigger():
    """Seeded: a message cut, repeated and mixed at random."""
    world = ahead()
    for seed in range(500):
        chance = random.Random(seed)
        body = bytearray(message(a_record(), a_record(as_text=False)))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(body))
            cut = bytes(chance.choices(b'{}[]":,\\\n0a\x00\xff', k=chance.randrange(1, 9)))
            body[at : at + chance.randrange(9)] = cut
        take_batch([bytes(body), bytes(chance.randbytes(chance.randrange(50)))], world.services)


# --- what is known of a device ID -------------------------------------------------------------------------------


def test_the_sweep_tells_which_enrollment_a_device_id_belongs_to():
    world = a_story()
    world.dps.edit(DEVICE, lambda body: body.update(deviceId="pump-7"))
    world.dps.registrations[DEVICE]["deviceId"] = "pump-7"
    world.hub.provision("pump-7", OLD_256)
    sweep(world.services)
    found = world.services.devices.find("pump-7")
    assert (found.registration_id, found.certificate_name) == (DEVICE, CERTIFICATE)
    version = world.table.version
    world.services.devices.know("pump-7", DEVICE, "")
    world.services.devices.know("pump-7", DEVICE, CERTIFICATE)
    assert world.table.version == version, "what is known is not written again, nor forgotten"


def test_a_device_id_that_belongs_to_another_enrollment_by_now_begins_nothing():
    world = ahead()
    world.services.devices.know("pump-7", DEVICE, CERTIFICATE)
    world.hub.provision("pump-7", OLD_256)
    assert refused(world, "pump-7")["unexplained"] == 1
    assert world.services.ledger.last(DEVICE) is None


def test_a_breach_tells_it_too():
    world = contained()
    assert world.services.devices.find(DEVICE).registration_id == DEVICE


@pytest.mark.parametrize("error", [KeyError("x509"), NotAllowed("403")], ids=["unexpected", "refused"])
def test_a_device_whose_look_fails_takes_none_of_its_batch_along(error, monkeypatch):
    """Else Event Hubs would bring the batch again, and those behind it would be left alone for their ten minutes."""
    world = known(ahead())
    identity = world.hub.identity

    def failing(device_id):
        if device_id == "dev-00":
            raise error
        return identity(device_id)

    monkeypatch.setattr(world.hub, "identity", failing)
    world.services.devices.know("dev-00", "dev-00", "")
    records = [a_record({"deviceId": one}, time=world.clock().isoformat()) for one in ("dev-00", DEVICE)]
    counts = take_batch(
        [message(*records)], world.services, shuffle=lambda claims: claims.sort(key=lambda c: c.device_id)
    )
    assert (counts["failed"], counts["rolled_early"]) == (1, 1)


def test_a_stranger_whose_look_fails_takes_none_of_its_batch_along(monkeypatch):
    world = a_story()
    registration = world.dps.registration

    def failing(name):
        if name == "dev-00":
            raise KeyError("status")
        return registration(name)

    monkeypatch.setattr(world.dps, "registration", failing)
    records = [a_record({"deviceId": one}, time=world.clock().isoformat()) for one in ("dev-00", "dev-99")]
    counts = take_batch(
        [message(*records)], world.services, shuffle=lambda claims: claims.sort(key=lambda c: c.device_id)
    )
    assert (counts["failed"], counts["not_ours"]) == (1, 1)
