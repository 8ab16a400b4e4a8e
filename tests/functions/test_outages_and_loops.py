"""What goes wrong at three in the morning: outages that last, worlds that undo what was done, stories that repeat."""

import json
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken

from shared.certificate import parse_certificate
from shared.certificate_event import take_event
from shared.clients.hub import HubClient
from shared.decide_expiry import has_moved
from shared.errors import BadInput, Misconfigured, ServiceUnavailable
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.poison import report
from shared.resuming import LIFE, resume_due
from shared.seen import Listed
from shared.settings import read_settings
from shared.starting import start_rollover
from shared.sweeping import in_order, sweep
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEW_256,
    NEWER,
    OLD,
    OLD_256,
    a_story,
    begin,
    deliver,
    deliver_all,
    put_rollover,
    the_rollover,
)
from tests.certificates import NOW, a_certificate
from tests.fakes import Kept, World


def _live(world: World, span: timedelta) -> None:
    """Deliver what is sent, each at its time, for so long."""
    end = world.clock.time + span
    while world.nudges.sent and world.clock.time < end:
        world.nudges.sent.sort(key=lambda nudge: nudge[2])
        step, rollover_id, delay = world.nudges.sent.pop(0)
        world.clock.advance(max(delay, timedelta(seconds=1)))
        deliver(world, step, rollover_id)


def test_an_outage_of_an_hour_is_waited_for_ever_more_patiently() -> None:
    world = a_story()
    begin(world)
    calls = []

    def down(*_) -> None:
        calls.append(world.clock.time)
        raise ServiceUnavailable("DPS answered 503 to PUT")

    replace, world.dps.replace = world.dps.replace, down
    _live(world, timedelta(hours=1))
    assert the_rollover(world).outcome is None
    assert len(calls) < 30
    world.dps.replace = replace
    _live(world, timedelta(hours=1))
    assert NEW_256 in world.dps.slots(DEVICE)


def test_a_device_that_registers_with_its_old_certificate_again_and_again_makes_no_hot_loop() -> None:
    """Its new certificate has not been delivered yet; DPS writes the old one into both hub slots each time."""
    world = a_story()
    begin(world)
    start = world.hub.start_method_job

    def job(*arguments) -> None:
        start(*arguments)
        world.clock.advance(timedelta(seconds=3))
        world.dps.registered(DEVICE)
        world.hub.provision(DEVICE, OLD_256)

    world.hub.start_method_job = job
    _live(world, timedelta(hours=1))
    assert 2 < len(world.hub.jobs) < 10
    assert the_rollover(world).outcome is None


def test_a_disabled_enrollment_is_left_alone() -> None:
    """A decommissioned device: nothing is issued for it, and nobody is called for it, year after year."""
    world = a_story()
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))
    for _ in range(30):
        sweep(world.services)
        world.clock.advance(timedelta(days=12))
    assert world.services.ledger.last(DEVICE) is None
    assert world.topic.kinds() == []
    assert world.vault.asked == 0


def test_poison_of_a_rollover_that_went_on_is_no_reason_to_end_it() -> None:
    world = a_story()
    put_rollover(world, Step.INVOKE_REPROVISION_JOB)
    deliver(world, Step.INVOKE_REPROVISION_JOB)
    report(Step.INVOKE_REPROVISION_JOB, encode_nudge(the_rollover(world).id).encode(), world.services)
    assert the_rollover(world).status == "waiting"


def test_a_topic_that_is_down_holds_up_no_nudge() -> None:
    world = a_story()
    world.topic.down = True
    begin(world)
    sent = world.nudges.sent
    sent.clear()
    told = []
    publish = world.topic.publish
    world.topic.publish = lambda *event: (told.append(len(sent)), publish(*event))
    resume_due(world.services)
    assert told == [1], "the nudge was sent first, and one failure ends the publishing"


def test_a_nudge_of_the_timer_lives_long_enough_to_become_poison() -> None:
    """A step that raises whenever only the timer wakes it must still get to the poison queue and a person (I4)."""
    queues = json.loads((Path(__file__).parents[2] / "host.json").read_text())["extensions"]["queues"]
    assert queues["visibilityTimeout"] == "00:01:00"
    assert timedelta(minutes=1) * queues["maxDequeueCount"] < LIFE


def test_a_row_that_cannot_be_read_stops_no_sweep() -> None:
    world = a_story()
    begin(world)
    row, version = world.table.rows["individual.dev-01", "rollover.000001"]
    world.table.rows["individual.dev-01", "rollover.000001"] = ({**row, "facts": '{"plan": "breach"}'}, version)
    world.vault.kept["another"] = Kept([OLD], {"rollover-enrollment": "nobody"})
    assert sweep(world.services) == {"failed": 1, "cannot": 1}


def test_what_was_mended_and_breaks_again_is_said_again() -> None:
    world = a_story()
    body = world.dps.enrolled.pop(DEVICE.lower())
    for _ in range(30):
        sweep(world.services)
        world.clock.advance(timedelta(hours=1))
    assert world.topic.kinds() == ["Rollover.CannotBegin"], "once, while it lasts"
    world.dps.enrolled[DEVICE.lower()] = body
    world.clock.advance(timedelta(days=365))
    del world.dps.enrolled[DEVICE.lower()]
    sweep(world.services)
    assert world.topic.kinds() == ["Rollover.CannotBegin"] * 2


def test_nudges_of_the_timer_die_before_they_pile_up() -> None:
    world = a_story()
    begin(world)
    lives = []
    world.nudges.send = lambda *_, life=None: lives.append(life)
    resume_due(world.services)
    assert lives == [LIFE]


def test_a_certificate_that_cannot_be_read_is_recorded_and_not_sent_again() -> None:
    world = a_story()

    def unreadable(_) -> None:
        raise BadInput("not a readable X.509 certificate (ValueError)")

    world.vault.latest = unreadable
    data = {"Id": f"https://vault.example/certificates/{CERTIFICATE}/v1"}
    take_event("Microsoft.KeyVault.CertificateNearExpiry", "e1", "t", CERTIFICATE, data, world.services)
    (refused,) = world.services.ledger.refused_inputs()
    assert "not a readable" in refused.reason


def test_a_device_that_fell_back_to_the_standby_certificate_keeps_it() -> None:
    """Restored from an old image, it registered with a superseded certificate that still lives."""
    older = parse_certificate(a_certificate(starts=NOW - timedelta(days=300), ends=NOW + timedelta(days=60)).der)
    in_use = parse_certificate(a_certificate(starts=NOW - timedelta(days=100), ends=NOW + timedelta(days=80)).der)
    latest = parse_certificate(a_certificate(starts=NOW - timedelta(days=1), ends=NOW + timedelta(days=365)).der)
    world = a_story()
    world.dps.enroll(DEVICE, older, in_use)
    world.hub.provision(DEVICE, in_use.sha256_thumbprint)
    world.vault.kept[CERTIFICATE] = Kept([older, in_use, latest])
    assert begin(world).replaces == older.sha256_thumbprint
    world.clock.advance(timedelta(seconds=1))
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, older.sha256_thumbprint)
    deliver_all(world)
    assert older.sha256_thumbprint in world.dps.slots(DEVICE)
    assert older.sha256_thumbprint in world.hub.identities[DEVICE].thumbprints()
    assert the_rollover(world).status == "refused"


def test_the_identity_is_the_one_that_registered_although_the_entry_names_another_device() -> None:
    world = a_story()
    world.dps.enroll(DEVICE, OLD, NEW, deviceId="another")
    world.vault.kept[CERTIFICATE] = Kept([OLD, NEW, NEWER])
    world.hub.provision(DEVICE, NEW_256)
    begun = start_rollover(CERTIFICATE, "test", world.services)
    assert begun.what == "begun"
    assert the_rollover(world).outgoing.sha256_thumbprint == NEW_256


def test_of_two_dead_certificates_the_younger_is_rolled() -> None:
    """The last rollover ended in need of a person and left both staged; a rescue must still begin."""
    world = a_story()
    world.dps.enroll(DEVICE, OLD, NEW)
    world.hub.put(DEVICE, OLD_256, NEW_256)
    world.vault.kept[CERTIFICATE] = Kept([OLD, NEW, NEWER])
    world.clock.time = NEW.not_after + timedelta(days=1)
    assert start_rollover(CERTIFICATE, "test", world.services).what == "begun"
    assert the_rollover(world).outgoing.sha256_thumbprint == NEW_256


def test_a_sweep_looks_first_at_what_ends_first_and_at_the_rest_in_another_order_each_time() -> None:
    """Cut off by the host's time limit, it has seen what matters, and nobody is always last."""
    day = timedelta(days=1)
    found = [Listed("far", NOW + 300 * day), Listed("soon", NOW + 20 * day), Listed("sooner", NOW), Listed("unknown")]
    names = [c.name for c in in_order(found, NOW + 30 * day, lambda rest: rest.reverse())]
    assert names == ["sooner", "soon", "unknown", "far"]


@pytest.mark.parametrize("name", ["DPS_ENDPOINT", "IOT_HUB_HOSTNAME", "RETIRE_WHEN", "ROLL_DAYS_BEFORE_EXPIRY"])
def test_a_key_pasted_into_the_wrong_setting_is_never_shown(name: str) -> None:
    pasted = "HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=c2VjcmV0a2V5"
    with pytest.raises(Misconfigured) as caught:
        read_settings({name: pasted})
    assert "c2VjcmV0a2V5" not in str(caught.value)
    assert name in str(caught.value)


def test_a_job_that_the_hub_does_not_take_is_waited_for_for_one_reason() -> None:
    """Its ID differs at each try; the reason must not, or the wait would never grow."""

    class NoToken:
        def get_token(self, *_: str, **__: object) -> AccessToken:
            return AccessToken("token", int(time.time()) + 3600)

    settings = replace(a_story().settings, hub_hostname="127.0.0.1:9")
    reasons = set()
    for job_id in ("rollover-1", "rollover-2"):
        with pytest.raises(ServiceUnavailable) as caught:
            HubClient(settings, NoToken()).start_method_job(job_id, DEVICE, "reprovision", {})
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_a_registration_that_failed_is_no_proof_of_a_move() -> None:
    world = a_story()
    rollover = put_rollover(world, Step.INVOKE_REPROVISION_JOB)
    world.hub.provision(DEVICE, NEW_256)
    world.clock.advance(timedelta(minutes=1))
    world.dps.registered(DEVICE)
    enrollment = world.dps.enrollment(DEVICE)
    assert has_moved(rollover, enrollment.registration, world.hub.identity(DEVICE))
    world.dps.registrations[DEVICE]["status"] = "failed"
    enrollment = world.dps.enrollment(DEVICE)
    assert not has_moved(rollover, enrollment.registration, world.hub.identity(DEVICE))
