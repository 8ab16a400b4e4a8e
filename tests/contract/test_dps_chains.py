"""Which group decides over a device's chain, and what chains that lead nowhere are told."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.dps_kit import (
    Credential,
    Device,
    NotingHub,
    add_ca,
    self_signed,
    service,
    x509_enrollment,
    x509_group,
)
from tests.contract.reasons import ARM
from tests.standin import StandIn

pytestmark = ARM

UNAUTHORIZED = (401, 401002, "Unauthorized")
NO_CA = (401, 401002, "CA certificate not found.")
NO_MATCH = (401, 401002, "Signing certificate info did not match chain elements.")

ROOT = self_signed("Root", ca=True)
MIDDLE = ROOT.issue("Middle", ca=True)
OTHER_MIDDLE = ROOT.issue("Middle", ca=True)


@pytest.fixture(autouse=True)
def hub(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> NotingHub:
    """Takes notes in the hub's place; registrations end at once."""
    return NotingHub.in_place_of_the_hub(azure, monkeypatch)


@pytest.fixture
def device(azure: StandIn, tmp_path: Path) -> Any:
    """Makes devices: device(credential) or device(credential, registration_id)."""
    return lambda credential, name="dev1": Device(azure, name, credential, tmp_path)


def enroll(azure: StandIn, *slots: Any, name: str = "dev1", **members: Any) -> None:
    service(azure).enrollment.create_or_update(name, x509_enrollment(name, *slots, **members))


def group(azure: StandIn, *slots: Any, name: str = "g1", **members: Any) -> None:
    service(azure).enrollment_group.create_or_update(name, x509_group(name, *slots, **members))


def leaf_and_chain(*above: Credential) -> Credential:
    return MIDDLE.issue("dev1").showing(*above)


def test_a_group_admits_who_is_under_its_certificate(azure: StandIn, device: Any, hub: NotingHub) -> None:
    """azure-docs concepts-x509-attestation.

    The device's ID at the hub is its registration ID, and the hub gets the leaf (azure-docs#70976).
    """
    add_ca(azure, "root", ROOT)
    group(azure, MIDDLE)
    leaf = leaf_and_chain(MIDDLE)
    assert device(leaf).register()["status"] == "assigned"
    assert (hub.asked[0]["device_id"], hub.asked[0]["primary"]) == ("dev1", leaf.sha256)


@pytest.mark.parametrize("slots", ["enrollment", "same"])
def test_for_a_group_the_hub_gets_the_leaf_under_both_readings(
    azure: StandIn, device: Any, hub: NotingHub, slots: str
) -> None:
    """A group has no leaf certificates that could be written instead."""
    azure.control.patch("/knobs", {"hub_slots": slots})
    add_ca(azure, "root", ROOT)
    group(azure, ROOT)
    leaf = ROOT.issue("dev1")
    device(leaf).register()
    assert (hub.asked[0]["primary"], hub.asked[0]["secondary"]) == (leaf.sha256, leaf.sha256)


def test_either_slot_of_a_group_admits(azure: StandIn, device: Any) -> None:
    """azure-docs how-to-roll-certificates: the overlap of a CA roll."""
    add_ca(azure, "root", ROOT)
    group(azure, MIDDLE, OTHER_MIDDLE)
    for middle in (MIDDLE, OTHER_MIDDLE):
        assert device(middle.issue("dev1")).register()["status"] == "assigned"


def test_a_group_by_name_admits_who_is_under_either_ca(azure: StandIn, device: Any) -> None:
    """azure-docs how-to-roll-certificates: caReferences with two names."""
    old, new = self_signed("CA", ca=True), self_signed("CA", ca=True)
    add_ca(azure, "ca-2024", old)
    add_ca(azure, "ca-2027", new)
    group(azure, "ca-2024", "ca-2027")
    for root in (old, new):
        assert device(root.issue("dev1")).register()["status"] == "assigned"
    azure.world.dps.ca_certificates.delete("ca-2024")
    assert device(old.issue("dev1")).refusal() == NO_CA, "a name that dangles admits nobody"
    assert device(new.issue("dev1")).register()["status"] == "assigned"


def test_an_unverified_ca_admits_nobody(azure: StandIn, device: Any) -> None:
    """azure-docs how-to-verify-certificates; azure-iot-sdk-c#437, azure-docs#74403.

    That holds also for a group that has the certificate in its own slot.
    """
    unverified = self_signed("CA", ca=True)
    add_ca(azure, "ca-2024", unverified, verified=False)
    group(azure, "ca-2024")
    group(azure, MIDDLE, name="g2")
    assert device(unverified.issue("dev1").showing(unverified)).refusal() == NO_CA
    assert device(leaf_and_chain(MIDDLE)).refusal() == NO_CA


CHAINS = {
    "only the leaf": ((), NO_CA),
    "a wrong order": ((ROOT, MIDDLE), NO_CA),
    "up to the intermediate": ((MIDDLE,), None),
    "up to the root": ((MIDDLE, ROOT), None),
}


@pytest.mark.parametrize(("above", "refusal"), CHAINS.values(), ids=CHAINS.keys())
def test_a_device_must_send_its_chain_in_order(azure: StandIn, device: Any, above: Any, refusal: Any) -> None:
    """AzureIoTDPSCertificates#3, azure-iot-sdk-java#203 and #573: "CA certificate not found."."""
    add_ca(azure, "root", ROOT)
    group(azure, MIDDLE)
    one = device(leaf_and_chain(*above))
    if refusal:
        assert one.refusal() == refusal
    else:
        assert one.register()["status"] == "assigned"


def test_a_new_intermediate_that_the_group_does_not_name_is_told_so(azure: StandIn, device: Any) -> None:
    """azure-iot-sdk-node#532, iotedge#2739."""
    add_ca(azure, "root", ROOT)
    group(azure, OTHER_MIDDLE)
    assert device(leaf_and_chain(MIDDLE)).refusal() == NO_MATCH


def test_a_certificate_that_is_no_ca_signs_nobody(azure: StandIn, device: Any) -> None:
    """X.509 chain building (RFC 5280, basic constraints); that DPS follows it is a guess."""
    fake = ROOT.issue("neighbour")
    add_ca(azure, "root", ROOT)
    group(azure, ROOT)
    assert device(fake.issue("dev1").showing(fake)).refusal() == NO_CA


def test_the_first_entry_from_the_leaf_upwards_decides(azure: StandIn, device: Any) -> None:
    """azure-docs how-to-revoke-device-access-portal.

    A disabled individual enrollment shuts out one device of a group, a disabled group of an intermediate all that
    is under it.
    """
    add_ca(azure, "root", ROOT)
    group(azure, ROOT, name="everybody")
    group(azure, MIDDLE, name="shut", provisioningStatus="disabled")
    thief, good, shut = ROOT.issue("dev1"), ROOT.issue("dev2"), MIDDLE.issue("dev3")
    enroll(azure, thief, provisioningStatus="disabled")
    assert device(thief).register()["status"] == "disabled"
    assert device(good, "dev2").register()["status"] == "assigned"
    assert device(shut, "dev3").register()["status"] == "disabled"


def test_deleting_what_shuts_a_device_out_lets_it_in_again(azure: StandIn, device: Any) -> None:
    """azure-docs how-to-revoke-device-access-portal: do not delete the disabled individual enrollment."""
    add_ca(azure, "root", ROOT)
    group(azure, ROOT)
    thief = ROOT.issue("dev1")
    enroll(azure, thief, provisioningStatus="disabled")
    assert device(thief).register()["status"] == "disabled"
    service(azure).enrollment.delete("dev1")
    assert device(thief).register()["status"] == "assigned"


@pytest.mark.parametrize("claims", [False, True])
def test_an_enrollment_may_keep_its_registration_id_from_the_group(azure: StandIn, device: Any, claims: bool) -> None:
    """azure-docs speak of certificates only, so another leaf of the same name comes in by the group. A knob."""
    azure.control.patch("/knobs", {"enrollment_claims_registration_id": claims})
    add_ca(azure, "root", ROOT)
    group(azure, ROOT)
    stolen, fresh = ROOT.issue("dev1"), ROOT.issue("dev1")
    enroll(azure, stolen, provisioningStatus="disabled")
    if claims:
        assert device(fresh).refusal() == UNAUTHORIZED
    else:
        assert device(fresh).register()["status"] == "assigned"


@pytest.mark.parametrize("mode", ["refuse", "accept"])
def test_an_expired_ca_admits_nobody(azure: StandIn, device: Any, mode: str) -> None:
    """azure-docs#22770: after a root's expiry devices need a new chain; no source for DPS itself. A knob."""
    azure.control.patch("/knobs", {"expired_ca_at_register": mode})
    root = self_signed("Old", ca=True, start=timedelta(days=-10), lasts=timedelta(days=5))
    add_ca(azure, "old", root)
    group(azure, "old")
    one = device(root.issue("dev1"))
    if mode == "refuse":
        assert one.refusal() == NO_CA
    else:
        assert one.register()["status"] == "assigned"
