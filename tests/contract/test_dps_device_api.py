"""The device API beside the register itself: polling, looking oneself up, quotas, wrong requests."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.dps_kit import (
    Credential,
    Device,
    NotingHub,
    call,
    self_signed,
    service,
    x509_enrollment,
)
from tests.contract.reasons import OURS, QUOTAS
from tests.contract.target import Target
from tests.standin import StandIn

ONE, TWO = self_signed("dev1"), self_signed("dev1")


@pytest.fixture
def hub(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> NotingHub:
    """Takes notes in the hub's place; registrations end at once."""
    return NotingHub.in_place_of_the_hub(azure, monkeypatch)


def enroll(azure: StandIn | Target, *slots: Any, name: str = "dev1", **members: Any) -> dict[str, Any]:
    """Create an enrollment, or replace it."""
    client = service(azure)
    there = call(azure, "GET", f"/enrollments/{name}").ok
    body = x509_enrollment(name, *slots, **members)
    return dict(client.enrollment.create_or_update(name, body, if_match="*" if there else None))


def test_a_device_can_look_itself_up(target: Target, tmp_path: Path, dev1: str, one: Credential) -> None:
    """REST: Device Registration Status Lookup; 404 before the first registration, and no csr."""
    enroll(target, one, name=dev1)
    target.hurry(assign_delay_s=0)
    device, body = Device(target, dev1, one, tmp_path), {"registrationId": dev1}
    before = device.ask("POST", "", body)
    assert (before.status_code, before.json()["errorCode"]) == (404, 404201)
    device.register()
    assert device.ask("POST", "", body).json()["status"] == "assigned"
    assert device.ask("POST", "", {**body, "csr": "AAAA"}).status_code == 400


@QUOTAS
def test_a_device_may_ask_five_times_in_ten_seconds(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-docs about-iot-dps: device polling; a device is told when to come back, whatever the knob."""
    azure.control.patch("/knobs", {"service_retry_after": False})
    enroll(azure, ONE)
    device = Device(azure, "dev1", ONE, tmp_path)
    operation = device.start().json()["operationId"]
    answers = [device.ask("GET", f"/operations/{operation}") for _ in range(6)]
    assert [one.status_code for one in answers] == [200] * 5 + [429]
    assert int(answers[-1].headers["Retry-After"]) <= 2


@QUOTAS
def test_registrations_have_a_quota_of_their_own(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-docs about-iot-dps: 1,000 a minute; a lookup counts as one."""
    assert azure.control.get("/throttles")["limits"]["dps/register"] == {"amount": 1000, "per_s": 60}
    azure.control.patch("/throttles", {"limits": {"dps/register": {"amount": 2, "per_s": 60}}})
    enroll(azure, ONE)
    device = Device(azure, "dev1", ONE, tmp_path)
    device.register()
    assert device.ask("POST", "", {"registrationId": "dev1"}).status_code == 200
    assert device.start().status_code == 429


def test_an_operation_belongs_to_the_device_that_started_it(
    target: Target, tmp_path: Path, dev1: str, dev2: str, one: Credential, two: Credential
) -> None:
    """REST: Operation Status Lookup; what a stranger sees is a guess."""
    enroll(target, one, two, name=dev1)
    operation = Device(target, dev1, one, tmp_path).start().json()["operationId"]
    assert Device(target, dev1, two, tmp_path).ask("GET", f"/operations/{operation}").status_code == 401
    assert Device(target, dev2, one, tmp_path).ask("GET", f"/operations/{operation}").status_code == 404


def test_the_body_must_name_the_same_device(
    target: Target, tmp_path: Path, dev1: str, dev2: str, one: Credential
) -> None:
    """Azure/iot-identity-service, the mock server of its DPS client: 400."""
    enroll(target, one, name=dev1)
    answer = Device(target, dev1, one, tmp_path).ask("PUT", "/register", {"registrationId": dev2})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, 400004)


@OURS
def test_a_signing_request_is_not_emulated(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-rest-api-specs 2025-07-01-preview has `csr`; the stand-in says that it lacks it."""
    enroll(azure, ONE)
    answer = Device(azure, "dev1", ONE, tmp_path).ask("PUT", "/register", {"registrationId": "dev1", "csr": "AAAA"})
    assert (answer.status_code, "signing request" in answer.text) == (501, True)
