"""The thief of a rehearsal is a real one: in by DPS and hub with a copied key, refused by both once it is of no use."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.rehearse.thief import Thief, address_of
from tests.contract.dps_kit import Credential, Device, call, self_signed, service, x509_enrollment
from tests.contract.iothub_parts import Rest
from tests.standin import StandIn

NAME = "meter-01"
PATIENCE_S = 10.0


@pytest.fixture
def stolen(azure: StandIn, tmp_path: Path) -> Credential:
    """Of a device that registered."""
    azure.control.patch("/knobs", {"assign_delay_s": 0})
    credential = self_signed(NAME)
    service(azure).enrollment.create_or_update(NAME, x509_enrollment(NAME, credential))
    Device(azure, NAME, credential, tmp_path).register()
    return credential


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """What the thief tells."""
    return []


@pytest.fixture
def thief(azure: StandIn, stolen: Credential, told: list[tuple[str, str]], tmp_path: Path) -> Iterator[Thief]:
    """At work; it has read the device's file, which may go."""
    chain, key = (Path(one) for one in stolen.files(tmp_path))
    both = tmp_path / "stolen.pem"
    both.write_bytes(key.read_bytes() + chain.read_bytes())
    one = Thief(azure.endpoints, NAME, both, lambda what, who: told.append((what, who)))
    both.unlink()
    one.start()
    yield one
    one.stop()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def noted(azure: StandIn, kind: str) -> list[dict[str, Any]]:
    """Entries of the journal that came from the thief's address."""
    found = azure.control.get(f"/journal?kind={kind}")
    return [one for one in found if one.get("address") == address_of(azure.endpoints)]


def test_with_the_key_alone_he_is_in_and_the_journal_knows_him_by_his_address(
    azure: StandIn, thief: Thief, told: list[tuple[str, str]]
) -> None:
    until(lambda: ("let in", "hub") in told)
    assert [one["status"] for one in noted(azure, "registration")] == ["assigned"]
    assert [one["accepted"] for one in noted(azure, "connect") if one["service"] == "iothub"] == [True]
    assert len(azure.control.get("/journal?kind=registration")) == 2, "the other one is the device's own"


def test_he_is_thrown_out_and_tries_both_doors_for_ever(
    azure: StandIn, thief: Thief, stolen: Credential, told: list[tuple[str, str]]
) -> None:
    until(lambda: ("let in", "hub") in told)
    entry = x509_enrollment(NAME, stolen, provisioningStatus="disabled")
    assert call(azure, "PUT", f"/enrollments/{NAME}", entry, headers={"If-Match": "*"}).ok
    Rest(azure).call("DELETE", f"/devices/{NAME}", If_Match="*")
    until(lambda: told.count(("refused", "hub")) > 1)
    assert ("thrown out", "hub") in told
    assert [one["status"] for one in noted(azure, "registration")][1:] == ["disabled"] * 2
    service(azure).enrollment.delete(NAME)
    until(lambda: ("refused", "dps") in told)


def test_a_service_that_does_not_answer_is_no_reason_to_give_up(
    azure: StandIn, thief: Thief, told: list[tuple[str, str]]
) -> None:
    azure.control.post("/faults", {"service": "dps", "operation": "DeviceRegister", "kind": "reset", "times": 1})
    until(lambda: ("let in", "hub") in told)
    assert thief.is_alive()
