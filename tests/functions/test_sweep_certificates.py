"""The sweep: every certificate of the vault is looked at, whatever became of the events and of the others."""

from datetime import timedelta

import pytest

from shared.certificate import Certificate, parse_certificate
from shared.errors import BadInput, Conflict, NotFound, ServiceRefused, ServiceUnavailable
from shared.plans import Step
from shared.sweeping import sweep
from tests.builders import OLD, deliver
from tests.certificates import NOW, a_certificate, generation
from tests.fakes import Kept, World, a_world

DEVICES = ("dev-01", "dev-02", "dev-03")


def a_fleet() -> World:
    """Three devices, each on a certificate that is due."""
    world = a_world()
    for device in DEVICES:
        certificate = due(device)
        world.dps.enroll(device, certificate)
        world.dps.registered(device)
        world.hub.provision(device, certificate.sha256_thumbprint)
        world.vault.kept[f"{device}-cert"] = Kept([certificate])
    return world


def due(device: str) -> Certificate:
    return parse_certificate(generation(0, device).der)


def begun(world: World) -> list[str]:
    return sorted(rollover.registration_id for rollover in world.services.ledger.rollovers())


def test_without_any_event_every_certificate_that_is_due_begins():
    world = a_fleet()
    assert sweep(world.services) == {"begun": 3}
    assert begun(world) == list(DEVICES)


def test_a_second_sweep_begins_nothing_more():
    world = a_fleet()
    sweep(world.services)
    assert sweep(world.services) == {"open": 3}


ERRORS = [
    BadInput("not a readable X.509 certificate"),
    ServiceUnavailable("Key Vault answered 429"),
    ServiceRefused("Key Vault answered 403"),
    NotFound("gone"),
    Conflict("409"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_one_certificate_that_fails_does_not_stop_the_others_and_is_named(error):
    world = a_fleet()
    latest = world.vault.latest

    def failing(name):
        if name == "dev-02-cert":
            raise error
        return latest(name)

    world.vault.latest = failing
    assert sweep(world.services) == {"begun": 2, "failed": 1}
    assert begun(world) == ["dev-01", "dev-03"]
    [refused] = world.services.ledger.refused_inputs()
    assert (refused.source, refused.subject, refused.reason) == ("sweep", "dev-02-cert", str(error))
    world.vault.latest = latest
    assert sweep(world.services) == {"open": 2, "begun": 1}


def test_one_that_fails_in_a_way_nobody_thought_of_does_not_stop_the_others_and_is_named():
    world = a_fleet()
    latest = world.vault.latest

    def failing(name):
        if name == "dev-02-cert":
            raise KeyError("thumbprint")
        return latest(name)

    world.vault.latest = failing
    assert sweep(world.services) == {"begun": 2, "failed": 1}
    [refused] = world.services.ledger.refused_inputs()
    assert (refused.subject, refused.announced) == ("dev-02-cert", True)
    assert refused.reason.startswith("unexpected: KeyError at test_sweep_certificates.py:")


def test_certificates_of_others_in_the_same_vault_are_said_once_and_left_alone():
    world = a_fleet()
    web = parse_certificate(a_certificate("www.example").der)
    world.vault.kept["website"] = Kept([web])
    for _ in range(3):
        assert sweep(world.services)["cannot"] == 1
    assert [refused.count for refused in world.services.ledger.refused_inputs()] == [3]
    assert world.topic.kinds().count("Rollover.CannotBegin") == 1


def test_what_is_not_due_begins_nothing():
    world = a_fleet()
    world.clock.time = NOW - timedelta(days=100)
    assert sweep(world.services) == {"nothing": 3}
    assert begun(world) == []


def test_a_certificate_that_lives_an_hour_begins_in_its_last_third_and_not_at_birth():
    """Key Vault's near-expiry event never comes for it: it is inside the 30 days from the start."""
    world = a_world()
    start, end = NOW, NOW + timedelta(hours=1)
    short = parse_certificate(a_certificate("dev-01", starts=start, ends=end).der)
    world.dps.enroll("dev-01", short)
    world.hub.provision("dev-01", short.sha256_thumbprint)
    world.vault.kept["dev-01-cert"] = Kept([short])
    assert sweep(world.services) == {"nothing": 1}
    world.clock.advance(timedelta(minutes=40))
    assert sweep(world.services) == {"begun": 1}


def test_a_rollover_that_the_sweep_began_can_be_carried_out():
    world = a_fleet()
    sweep(world.services)
    world.vault.issues = lambda name: parse_certificate(generation(1, name.removesuffix("-cert")).der)
    assert deliver(world, Step.ISSUE_CERTIFICATE).next_step is Step.UPLOAD_SECONDARY
    assert OLD.common_name == "dev-01"
