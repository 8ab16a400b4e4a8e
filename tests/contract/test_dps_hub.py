"""DPS and hub together: what a registration leaves at the hub, and what a hub that is busy does to it."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.dps_kit import Credential, Device, add_ca, self_signed, service, x509_enrollment, x509_group
from tests.contract.reasons import ARM, KNOBS, QUOTAS
from tests.contract.target import Target
from tests.standin import StandIn

ONE, TWO = self_signed("dev1"), self_signed("dev1")


@pytest.fixture
def registry(target: Target) -> Any:
    """The real client of the hub's service API; registrations end at once, at the stand-in."""
    target.hurry(assign_delay_s=0)
    return target.registry()


def thumbprints(registry: Any, device_id: str = "dev1") -> tuple[str, str]:
    found = registry.get_device(device_id).authentication.x509_thumbprint
    return found.primary_thumbprint, found.secondary_thumbprint


def enroll(azure: StandIn | Target, *slots: Any, name: str = "dev1", **members: Any) -> None:
    service(azure).enrollment.create_or_update(name, x509_enrollment(name, *slots, **members))


@ARM
def test_the_identity_is_self_signed_with_the_leaf_twice(azure: StandIn, registry: Any, tmp_path: Path) -> None:
    """azure-iot-sdk-java#1220, azure-docs#70976: also for a device of a group, under a CA."""
    root = self_signed("Root", ca=True)
    add_ca(azure, "root", root)
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", root))
    leaf = root.issue("dev1")
    Device(azure, "dev1", leaf, tmp_path).register()
    assert registry.get_device("dev1").authentication.type == "selfSigned"
    assert thumbprints(registry) == (leaf.sha256, leaf.sha256)


def test_registering_with_the_other_certificate_moves_the_hub(
    target: Target, registry: Any, tmp_path: Path, dev1: str, one: Credential, two: Credential
) -> None:
    """azure-iot-cli-extension live tests: primary first, then secondary, and the hub follows."""
    enroll(target, one, two, name=dev1)
    assert Device(target, dev1, one, tmp_path, "2021-10-01").register()["substatus"] == "initialAssignment"
    assert thumbprints(registry, dev1) == (one.sha256, one.sha256)
    assert Device(target, dev1, two, tmp_path, "2021-10-01").register()["substatus"] == "deviceDataMigrated"
    assert thumbprints(registry, dev1) == (two.sha256, two.sha256)


@KNOBS
def test_a_hub_slot_may_stay_empty_when_the_enrollments_slots_are_copied(
    azure: StandIn, registry: Any, tmp_path: Path
) -> None:
    """One reply in iotedge#2951. A knob; a lone certificate leaves the other hub slot without a value."""
    azure.control.patch("/knobs", {"hub_slots": "enrollment", "mirror_lone_primary": False})
    enroll(azure, ONE)
    assert Device(azure, "dev1", ONE, tmp_path).register()["status"] == "assigned"
    primary, secondary = thumbprints(registry)
    assert (primary, secondary or None) == (ONE.sha256, None)


def test_a_deleted_identity_comes_back_with_the_next_registration(
    target: Target, registry: Any, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """azure-docs how-to-unprovision-devices; azure-iot-cli-extension live tests."""
    enroll(target, one, name=dev1)
    Device(target, dev1, one, tmp_path).register()
    registry.delete_device(dev1)
    assert Device(target, dev1, one, tmp_path).register()["status"] == "assigned"
    assert thumbprints(registry, dev1) == (one.sha256, one.sha256)


@QUOTAS
def test_a_busy_hub_fails_registrations_that_dps_accepts(azure: StandIn, registry: Any, tmp_path: Path) -> None:
    """Both quotas count: identity registry of the hub, registrations of DPS (telemetry-simulator#39: 429003)."""
    azure.control.patch("/throttles", {"limits": {"iothub/registry": {"amount": 1, "per_s": 600}}})
    enroll(azure, ONE)
    first = Device(azure, "dev1", ONE, tmp_path).register()
    second = Device(azure, "dev1", ONE, tmp_path).register()
    assert (first["status"], second["status"], second["errorCode"] // 1000) == ("assigned", "failed", 429)


def test_disabling_the_enrollment_leaves_the_identity_enabled(
    target: Target, registry: Any, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """azure-docs how-to-revoke-device-access-portal: the hub must be told separately."""
    enroll(target, one, name=dev1)
    Device(target, dev1, one, tmp_path).register()
    body = x509_enrollment(dev1, one, provisioningStatus="disabled")
    service(target).enrollment.create_or_update(dev1, body, if_match="*")
    assert registry.get_device(dev1).status == "enabled"
