"""The certificate of a group's device is rolled for its own sake: the app on real parts, real registrations by mTLS."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.breaches import hub
from tests.rehearsal.plant import Host, Plant, PocketDevice, until
from tests.rehearsal.vault_group import GroupOfTheVault

NEVER = {"updateHubAssignment": False, "migrateDeviceData": False}
numbers = count(1)


@pytest.fixture(scope="module")
def host(plant: Plant) -> Iterator[Host]:
    running = plant.host()
    yield running
    running.stop()


@pytest.fixture
def group(plant: Plant, tmp_path: Path) -> Iterator[GroupOfTheVault]:
    """A CA for ten years, so that nothing is due but its devices."""
    made = GroupOfTheVault(plant, tmp_path, f"members-{next(numbers)}", days=3600)
    yield made
    made.retires()


def near_its_end(plant: Plant, group: GroupOfTheVault, kind: str) -> PocketDevice:
    """A device whose certificate has six of its twenty days left."""
    device = group.device(kind, days=20)
    plant.move_clock(days=14)
    return device


def the_rollover(host: Host, device: PocketDevice) -> dict[str, Any]:
    return next(iter(host.rollovers(device.name)), {"status": "none", "waiting_for": None})


def accepted(plant: Plant, device: PocketDevice) -> set[str]:
    """What the hub accepts."""
    shown = hub(plant).get_device(device.name).authentication.x509_thumbprint
    return {shown.primary_thumbprint, shown.secondary_thumbprint}


def test_it_rolls_by_an_event_and_the_old_certificate_leaves_the_hub(
    plant: Plant, host: Host, group: GroupOfTheVault
) -> None:
    device = near_its_end(plant, group, "event").live()
    before = accepted(plant, device)
    try:
        assert host.deliver(plant.event(device.name))
        until(lambda: the_rollover(host, device)["status"] == "done", "it is rolled", host.tail)
        shown = the_rollover(host, device)
        assert (shown["plan"], shown["member_of"]) == ("member_expiry", group.name)
        assert accepted(plant, device) == {shown["incoming"]["sha256_thumbprint"]}
        assert before == {shown["outgoing"]["sha256_thumbprint"]}
        assert len(list(plant.vault.list_properties_of_certificate_versions(device.name))) == 2
    finally:
        device.stop()


def test_it_rolls_by_the_sweep_and_ends_also_where_a_registration_refreshes_nothing(
    plant: Plant, host: Host, group: GroupOfTheVault
) -> None:
    """Reprovision policy "never": both are accepted until the old one has ended, and then the new one alone."""
    group.reprovisions(NEVER)
    device = near_its_end(plant, group, "sweep").live()
    try:
        host.run_now("sweep_certificates")
        until(lambda: device.answered, "the device has answered the job", host.tail)
        until(lambda: the_rollover(host, device)["waiting_for"], "it waits for time to pass", host.tail)
        assert len(accepted(plant, device)) == 2
        plant.move_clock(days=7)
        plant.move_clock(hours=13)  # it is asked once more
        until(lambda: the_rollover(host, device)["status"] == "done", "it is rolled", host.tail)
        assert accepted(plant, device) == {the_rollover(host, device)["incoming"]["sha256_thumbprint"]}
    finally:
        device.stop()


def test_a_device_that_is_kept_out_in_the_midst_of_it_stays_out(
    plant: Plant, host: Host, group: GroupOfTheVault
) -> None:
    """Whichever of the two certificates it comes with."""
    device = near_its_end(plant, group, "stolen")
    host.deliver(plant.event(device.name))
    until(lambda: len(accepted(plant, device)) == 2, "both are accepted", host.tail)
    old = device.stolen()
    answer = host.api("oncall").call("POST", f"/api/devices/{device.name}/disallow", json={"reason": "stolen"})
    assert answer.status_code == 202, answer.text
    assert not device.register(), "with the old one"
    device.take_latest()
    assert not device.register(), "with the new one"
    assert old.exists()
    until(lambda: the_rollover(host, device)["waiting_for"], "it is looked at twice, a minute apart", host.tail)
    plant.move_clock(minutes=2)
    until(lambda: the_rollover(host, device)["status"] == "done", "it is kept out", host.tail)
    assert hub(plant).get_device(device.name).status == "disabled"
