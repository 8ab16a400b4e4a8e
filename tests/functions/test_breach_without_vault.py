"""A key is stolen while the vault is down: the door is shut all the same; what is unknown is said, and found later."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from shared.certificate import parse_certificate
from shared.errors import RolloverError, ServiceUnavailable
from shared.plans import Step
from shared.resuming import resume_due
from shared.rollover import Outcome
from tests.builders import CERTIFICATE, DEVICE, NEW_256, NEWER, OLD_256, a_story, deliver_all, the_rollover
from tests.certificates import NOW, a_certificate, generation
from tests.fakes import World
from tests.http_api import HttpApi
from tests.outages import READS_OF_VAULT, VAULT_DOWN, VAULT_SHUT, resource_manager_breaks, vault_breaks

CALL = {"registration_id": DEVICE, "reason": "laptop stolen"}


@pytest.fixture
def world() -> World:
    return a_story()


@pytest.fixture
def http(world: World, http_of: Callable[[World], HttpApi]) -> HttpApi:
    return http_of(world)


def silence() -> NoReturn:
    raise ServiceUnavailable("Key Vault gave no answer to GET certificate (ServiceResponseTimeoutError)")


def preview(http: HttpApi) -> dict[str, Any]:
    answer = http.post("/api/breaches", **CALL)
    assert answer.status == 200, answer.json
    return dict(answer.json)


def confirm(http: HttpApi, shown: dict[str, Any]) -> None:
    assert http.post("/api/breaches", confirm=shown["confirm_token"]).status == 202


@pytest.mark.parametrize("error", [VAULT_DOWN, VAULT_SHUT], ids=["down", "its firewall keeps us out"])
def test_the_preview_says_that_the_replacement_is_not_known(world: World, http: HttpApi, error: RolloverError) -> None:
    vault_breaks(world, error)
    (target,) = preview(http)["targets"]
    assert target["replacement"] is None
    assert target["replacement_note"].startswith("not known, for the vault cannot be read (Key Vault answered ")
    assert [one["sha256_thumbprint"] for one in target["compromised"]] == [OLD_256]


def test_it_is_contained_and_rests_until_the_vault_is_back(world: World, http: HttpApi) -> None:
    mend = vault_breaks(world, VAULT_DOWN)
    confirm(http, preview(http))
    assert world.dps.enrolled[DEVICE]["provisioningStatus"] == "disabled", "before the answer"
    deliver_all(world)
    rests = the_rollover(world)
    assert (rests.contained, rests.next_step, rests.outcome) == (True, Step.ISSUE_CERTIFICATE, None)
    mend()
    world.clock.time = the_rollover(world).due_at or world.clock.time
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).next_step is Step.RESTORE_TWIN
    assert set(world.dps.slots(DEVICE)) - {None} == {NEW_256}


def test_a_vault_that_goes_between_preview_and_confirmation_is_no_difference(world: World, http: HttpApi) -> None:
    shown = preview(http)
    mend = vault_breaks(world, VAULT_DOWN)
    confirm(http, shown)
    mend()
    assert the_rollover(world).incident is not None


def test_a_replacement_with_the_stolen_key_is_found_out_once_the_vault_is_back(world: World, http: HttpApi) -> None:
    """At the call nobody could tell the stolen certificate's key."""
    mend = vault_breaks(world, VAULT_DOWN)
    confirm(http, preview(http))
    assert [one.public_key_sha256 for one in the_rollover(world).leaving] == [None]
    mend()
    longer = a_certificate(ends=NOW + timedelta(days=400), key=generation(0).key)
    world.vault.issues = lambda _: parse_certificate(longer.der)
    world.clock.time = the_rollover(world).due_at or world.clock.time
    deliver_all(world)
    assert "it has the outgoing certificate's key" in (the_rollover(world).waiting_for or "")
    assert set(world.dps.slots(DEVICE)) - {None} == {OLD_256}


def test_a_silent_vault_is_waited_for_once_in_a_call(world: World, http: HttpApi) -> None:
    """Each question to it would take seconds; two devices share the certificate here."""
    enrollment = world.dps.enrollment(DEVICE)
    assert enrollment is not None
    (old,) = enrollment.certificates()
    world.dps.enroll("dev-02", world.vault.kept[CERTIFICATE].versions[0])
    asked = []
    for name in READS_OF_VAULT:
        setattr(world.vault, name, lambda *_, name=name: asked.append(name) or silence())
    answer = http.post("/api/breaches", thumbprint=old.sha256_thumbprint, reason="laptop stolen")
    assert len(answer.json["targets"]) == 2
    assert len(asked) == 1


def test_naming_the_vaults_certificate_needs_the_vault(world: World, http: HttpApi) -> None:
    vault_breaks(world, VAULT_DOWN)
    answer = http.post("/api/breaches", certificate_name=CERTIFICATE, reason="laptop stolen")
    assert answer.status == 503


def test_a_devices_thumbprint_needs_no_resource_manager_though_groups_name_ca_certificates(
    world: World, http: HttpApi
) -> None:
    world.dps.enroll_group("line-1", ca_references=["root"])
    resource_manager_breaks(world)
    answer = http.post("/api/breaches", thumbprint=OLD_256, reason="laptop stolen")
    assert answer.status == 200
    assert [one["registration_id"] for one in answer.json["targets"]] == [DEVICE]


def test_a_newer_version_while_the_device_is_waited_for_is_taken_beside_the_first(world: World, http: HttpApi) -> None:
    """A device that fetches only the newest would else be locked out by it."""
    confirm(http, preview(http))
    deliver_all(world)
    assert the_rollover(world).next_step is Step.RESTORE_TWIN
    world.vault.kept[CERTIFICATE].versions.append(replace(NEWER, not_before=NOW))
    world.clock.time = max(world.clock.time, the_rollover(world).due_at or NOW)
    resume_due(world.services)
    deliver_all(world)
    waits = the_rollover(world)
    assert (waits.contained, waits.next_step) == (True, Step.RESTORE_TWIN)
    assert set(world.dps.slots(DEVICE)) == {NEW_256, NEWER.sha256_thumbprint}
    assert world.dps.enrolled[DEVICE]["provisioningStatus"] == "enabled"


def test_a_device_that_is_back_gets_its_twin_although_the_vault_is_down(world: World, http: HttpApi) -> None:
    confirm(http, preview(http))
    deliver_all(world)
    vault_breaks(world, VAULT_DOWN)
    world.clock.time = max(world.clock.time, the_rollover(world).due_at or NOW)
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW_256)
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).outcome is Outcome.DONE
