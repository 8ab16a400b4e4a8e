"""Who is admitted by an individual enrollment, and what a device that nobody admits is told."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.dps_kit import (
    Credential,
    Device,
    add_ca,
    self_signed,
    service,
    x509_enrollment,
)
from tests.contract.reasons import CLOCK, KNOBS, OURS
from tests.contract.target import Target
from tests.standin import StandIn

UNAUTHORIZED = (401, 401002, "Unauthorized")
NO_CA = (401, 401002, "CA certificate not found.")
NO_MATCH = (401, 401002, "Signing certificate info did not match chain elements.")

ROOT = self_signed("Root", ca=True)
MIDDLE = ROOT.issue("Middle", ca=True)
OTHER_MIDDLE = ROOT.issue("Middle", ca=True)


@pytest.fixture(autouse=True)
def quick(target: Target) -> None:
    """Registrations end at once, at the stand-in."""
    target.hurry(assign_delay_s=0)


@pytest.fixture
def device(target: Target, tmp_path: Path) -> Any:
    """Makes devices: device(credential) or device(credential, registration_id)."""
    return lambda credential, name="dev1": Device(target, name, credential, tmp_path)


def enroll(azure: StandIn | Target, *slots: Any, name: str = "dev1", **members: Any) -> None:
    service(azure).enrollment.create_or_update(name, x509_enrollment(name, *slots, **members))


def test_either_slot_admits(target: Target, device: Any, dev1: str, one: Credential, two: Credential) -> None:
    """azure-iot-cli-extension live tests: the primary registers, then the secondary."""
    enroll(target, one, two, name=dev1)
    assert device(one, dev1).register()["status"] == device(two, dev1).register()["status"] == "assigned"


def test_a_certificate_that_left_its_slot_is_refused(
    target: Target, device: Any, dev1: str, one: Credential, two: Credential
) -> None:
    """azure-docs how-to-roll-certificates."""
    enroll(target, one, name=dev1)
    service(target).enrollment.create_or_update(dev1, x509_enrollment(dev1, two), if_match="*")
    assert device(one, dev1).refusal() == UNAUTHORIZED


def test_the_common_name_must_be_the_registration_id_in_any_case(target: Target, device: Any, dev1: str) -> None:
    """azure-docs concepts-x509-attestation; azure-iot-sdk-c#1082, azure-iot-sdk-java#277. Not checked at PUT
    (azure-iot-cli-extension live tests enroll certificates of unrelated names)."""
    stranger, upper = self_signed("unrelated"), self_signed(dev1.upper())
    enroll(target, stranger, upper, name=dev1)
    assert device(stranger, dev1).refusal() == UNAUTHORIZED
    assert device(upper, dev1).register()["status"] == "assigned"


def test_a_leaf_enrolled_under_another_id_is_refused(
    target: Target, device: Any, dev1: str, dev2: str, one: Credential
) -> None:
    """azure-docs concepts-x509-attestation: the entry found by the leaf decides."""
    enroll(target, one, name=dev2)
    assert device(one, dev1).refusal() == UNAUTHORIZED


@pytest.mark.parametrize("start", [timedelta(days=-10), timedelta(days=1)])
def test_a_leaf_outside_its_validity_is_refused(target: Target, device: Any, start: timedelta, dev1: str) -> None:
    """IoT Hub documents the check; that DPS makes it too is a guess."""
    one = self_signed(dev1, start=start, lasts=timedelta(days=5))
    enroll(target, one, name=dev1)
    assert device(one, dev1).refusal() == UNAUTHORIZED


@CLOCK
def test_validity_is_judged_by_the_clock_that_rehearsals_move(azure: StandIn, device: Any) -> None:
    """No fact about Azure."""
    one = self_signed("dev1", lasts=timedelta(days=5))
    enroll(azure, one)
    azure.control.put("/clock", {"advance_s": 6 * 86400})
    assert device(one).refusal() == UNAUTHORIZED


def test_a_device_without_a_certificate_is_refused(target: Target, dev1: str) -> None:
    """azure-docs iot-dps-https-x509-support."""
    dps = target.endpoints["dps"]
    url = f"{dps['device_url']}/{dps['id_scope']}/registrations/{dev1}/register"
    answer = requests.put(url, params={"api-version": "2021-06-01"}, json={"registrationId": dev1}, timeout=10)
    assert (answer.status_code, answer.json()["errorCode"]) == (401, 401002)


@OURS
def test_registering_with_a_key_is_not_emulated(azure: StandIn) -> None:
    """Azure can; the stand-in says that it lacks it."""
    body = {"registrationId": "dev1", "attestation": {"type": "symmetricKey"}}
    service(azure).enrollment.create_or_update("dev1", body)
    dps = azure.endpoints["dps"]
    url = f"{dps['service_url']}/{dps['id_scope']}/registrations/dev1/register"
    answer = requests.put(url, params={"api-version": "2021-06-01"}, json={"registrationId": "dev1"}, timeout=10)
    assert (answer.status_code, "symmetricKey" in answer.text) == (501, True)


def test_a_wrong_id_scope_is_refused(target: Target, device: Any, dev1: str, one: Credential) -> None:
    """A guess; only the code 401002 is seen in the wild."""
    enroll(target, one, name=dev1)
    url = f"{target.endpoints['dps']['device_url']}/0ne99999999/registrations/{dev1}/register"
    cert, body = one.files(device(one, dev1).folder), {"registrationId": dev1}
    assert requests.put(url, params={"api-version": "2021-06-01"}, json=body, cert=cert, timeout=10).status_code == 401


@KNOBS
@pytest.mark.parametrize("needed", [False, True])
def test_an_enrolled_leaf_of_a_ca_may_need_that_ca_verified(azure: StandIn, device: Any, needed: bool) -> None:
    """azure-docs iot-dps-https-x509-support says so, azure-docs#45917 asks, old reports do without. A knob."""
    azure.control.patch("/knobs", {"individual_leaf_needs_verified_ca": needed})
    leaf, own = ROOT.issue("dev1"), self_signed("dev2")
    enroll(azure, leaf)
    enroll(azure, own, name="dev2")
    assert device(own, "dev2").register()["status"] == "assigned", "who signed himself needs nobody"
    if needed:
        assert device(leaf).refusal() == NO_CA
        add_ca(azure, "root", ROOT)
    assert device(leaf).register()["status"] == "assigned"


@KNOBS
def test_a_write_may_take_its_time_to_reach_registrations(azure: StandIn, device: Any) -> None:
    """azure-iot-sdk-node#679: 401002 right after writes, gone minutes later. A knob.

    Until then the entry counts as it was before, so that a removed certificate is still admitted.
    """
    one, two = self_signed("dev1"), self_signed("dev1")
    azure.control.patch("/knobs", {"auth_propagation_s": 60})
    enroll(azure, one)
    assert device(one).refusal() == UNAUTHORIZED
    azure.control.put("/clock", {"advance_s": 61})
    assert device(one).register()["status"] == "assigned"
    service(azure).enrollment.create_or_update("dev1", x509_enrollment("dev1", two), if_match="*")
    assert device(one).register()["status"] == "assigned"
    assert device(two).refusal() == UNAUTHORIZED
    azure.control.put("/clock", {"advance_s": 61})
    assert device(one).refusal() == UNAUTHORIZED
    assert device(two).register()["status"] == "assigned"


@KNOBS
@pytest.mark.parametrize("seconds", [0, 60])
def test_another_credential_may_be_refused_for_a_while_after_a_success(
    azure: StandIn, device: Any, seconds: int
) -> None:
    """azure-iot-sdk-node#721, azure-iot-sdk-c#1748: seen with symmetric keys over HTTPS. A knob."""
    azure.control.patch("/knobs", {"register_auth_cache_s": seconds})
    one, two = self_signed("dev1"), self_signed("dev1")
    enroll(azure, one, two)
    device(one).register()
    if seconds:
        assert device(two).refusal() == UNAUTHORIZED
        assert device(one).register()["status"] == "assigned"
        azure.control.put("/clock", {"advance_s": 61})
    assert device(two).register()["status"] == "assigned"
