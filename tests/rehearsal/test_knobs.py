"""What nobody could confirm about Azure is a knob of the stand-in; a rollover ends well under its other setting too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.plant import Host, Plant, until

NEVER = {"reprovisionPolicy": {"updateHubAssignment": False, "migrateDeviceData": False}}
OTHER_SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a lone primary is not mirrored": ({"mirror_lone_primary": False}, {}),
    "a lone secondary is mirrored too": ({"mirror_lone_secondary": True}, {}),
    "the hub gets the enrollment's two certificates": ({"hub_slots": "enrollment"}, {}),
    "policy never, and thumbprints stay": ({}, NEVER),
    "policy never, and thumbprints are refreshed": ({"never_policy_refreshes_thumbprint": True}, NEVER),
    "the session is dropped when thumbprints change": ({"drop_session_on_thumbprint_change": True}, {}),
    "unset members come as null": ({"null_members": "null"}, {}),
    "writes take a second to reach registrations": ({"auth_propagation_s": 1.0}, {}),
    "429 without Retry-After": ({"service_retry_after": False}, {}),
    "hub queries lag": ({"hub_query_lag_s": 5.0}, {}),
    "a wrong info keeps what is stored": ({"info_mismatch_at_put": "keep"}, {}),
    "expired certificates are refused at PUT": ({"expired_certificate_at_put": "refuse"}, {}),
}
SAMPLE = ("the hub gets the enrollment's two certificates", "policy never, and thumbprints stay")


@pytest.fixture
def host(plant: Plant) -> Iterator[Host]:
    """A host with the default policy: retired once expired."""
    running = plant.host()
    yield running
    running.stop()


@pytest.mark.proof
@pytest.mark.parametrize("doubt", OTHER_SETTINGS)
def test_a_rollover_ends_well_under_the_other_setting(
    plant: Plant, host: Host, doubt: str, whole: bool, tmp_path: Path
) -> None:
    """Design: an UNKNOWN becomes a knob, and the product must be right under both settings."""
    if not whole and doubt not in SAMPLE:
        return  # the sample: the two settings under which the hub cannot show that a device moved
    knobs, enrollment = OTHER_SETTINGS[doubt]
    control = plant.standin.control
    before = control.get("/knobs")
    name = f"doubt-{list(OTHER_SETTINGS).index(doubt)}"
    control.patch("/knobs", knobs)
    device = plant.install(name, tmp_path, **enrollment).live()
    try:
        plant.move_clock(days=336)
        assert host.deliver(plant.event(name))
        until(lambda: device.answered, f"{name}: the device has answered the job", host.tail)
        until(lambda: _first(host, name)["waiting_for"], f"{name}: the rollover waits for time to pass", host.tail)
        plant.move_clock(days=30)  # a day past the outgoing certificate's end
        if not _ends_soon(host, name):  # the hub could not show the move: the device is asked once more
            plant.move_clock(hours=13)
        until(lambda: _first(host, name)["status"] == "done", f"{name}: done", host.tail)
        assert set(plant.end_state(name)["slots"].values()) - {None} == {1}
    finally:
        control.patch("/knobs", before)
        device.stop()


def _first(host: Host, name: str) -> dict[str, Any]:
    return host.rollovers(name)[-1]


def _ends_soon(host: Host, name: str) -> bool:
    try:
        return until(lambda: _first(host, name)["status"] == "done", "done", within_s=8)
    except AssertionError:
        return False
