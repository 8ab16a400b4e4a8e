"""A real thief with the stolen key, in every containment mode and under every doubt about Azure that matters to it.

Before, DPS and hub accept him and he has a session. When the app says contained both refuse him and his session is
gone; and so it is when the device is back, with the certificate in no slot and the twin as it was.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.breaches import OnCall, end_of, ended, give_twin
from tests.rehearsal.plant import Host, Plant, until
from tests.rehearsal.thief import CONNECTED, NOT_AUTHORIZED, Thief

MODES = ("remove", "disable", "reprovision")
SETTINGS = {"CONTAINMENT_SETTLE_SECONDS": "2"}
"""More than the door may take to shut (``auth_propagation_s``) and a registration to end."""
NEVER = {"reprovisionPolicy": {"updateHubAssignment": False, "migrateDeviceData": False}}
DOUBTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as believed": ({}, {}),
    "a lone primary is not mirrored": ({"mirror_lone_primary": False}, {}),
    "a lone secondary is mirrored too": ({"mirror_lone_secondary": True}, {}),
    "the hub gets the enrollment's two certificates": ({"hub_slots": "enrollment"}, {}),
    "policy never, and thumbprints stay": ({}, NEVER),
    "policy never, and thumbprints are refreshed": ({"never_policy_refreshes_thumbprint": True}, NEVER),
    "a registration enables a disabled identity": ({"reregistration_reenables_identity": True}, {}),
    "writes take a second to reach registrations": ({"auth_propagation_s": 1.0}, {}),
    "the hub takes three seconds to end a session": ({"identity_drop_delay_s": 3.0}, {}),
    "a registration under way ends with its disabled entry": ({"disabling_stops_registration": True}, {}),
    "the identity says two seconds late who is connected": ({"connection_state_lag_s": 2.0}, {}),
    "the session is dropped when thumbprints change": ({"drop_session_on_thumbprint_change": True}, {}),
}
CASES = [(mode, doubt) for mode in MODES for doubt in DOUBTS]
SAMPLE = [(mode, "as believed") for mode in MODES]
refused: list[str] = []


@pytest.fixture(scope="module")
def host(plant: Plant) -> Iterator[Host]:
    """A host for this file."""
    running = plant.host(**SETTINGS)
    yield running
    running.stop()
    print(f"\nthe thief was refused by DPS and hub, when contained and afterwards, in {len(refused)} breaches")


@pytest.mark.proof
@pytest.mark.parametrize(("mode", "doubt"), CASES, ids=str)
def test_the_thief_is_refused_by_dps_and_hub(
    plant: Plant, host: Host, mode: str, doubt: str, whole: bool, tmp_path: Path
) -> None:
    """Issue 3: thief refused by DPS and hub in every mode; afterwards neither slot holds what is compromised."""
    if not whole and (mode, doubt) not in SAMPLE:
        return
    knobs, enrollment = DOUBTS[doubt]
    name, control = f"thief-{CASES.index((mode, doubt))}", plant.standin.control
    before = control.get("/knobs")
    control.patch("/knobs", knobs)
    device = plant.install(name, tmp_path, **enrollment)
    give_twin(plant, name)
    thief, oncall = Thief(plant, name, device.stolen()), OnCall(name, mode)
    try:
        assert thief.register() == "assigned"
        thief.stay()
        oncall.call(host)
        device.live(watches=True)
        until(lambda: _only(host, name)["contained"], f"{name}: contained", host.tail)
        assert thief.thrown_out, "his session is over when the app says contained"
        _is_refused(thief)
        until(lambda: ended(host, name), f"{name}: ended", host.tail)
        _is_refused(thief)
        end = end_of(plant, host, name)
        assert end["rollovers"] == [("done", True)]
        assert set(end["slots"].values()) - {None} == {1}, "the replacement and nothing else"
        assert (end["hub"], end["hub accepts what is enrolled"], end["twin"]) == ("enabled", True, True)
        refused.append(name)
    finally:
        control.patch("/knobs", before)
        thief.leave()
        device.stop()


def _only(host: Host, name: str) -> dict[str, Any]:
    (rollover,) = host.rollovers(name)
    return rollover


def _is_refused(thief: Thief) -> None:
    assert thief.connect() == NOT_AUTHORIZED
    assert thief.register() in ("401", "disabled")
    assert thief.connect() == NOT_AUTHORIZED, "nor after he has tried to register"


def test_a_thief_who_is_not_refused_is_noticed(plant: Plant, tmp_path: Path) -> None:
    """A proof that cannot fail proves nothing."""
    device = plant.install("robbed", tmp_path)
    thief = Thief(plant, "robbed", device.stolen())
    assert thief.register() == "assigned"
    assert thief.connect() == CONNECTED
    with pytest.raises(AssertionError):
        _is_refused(thief)
