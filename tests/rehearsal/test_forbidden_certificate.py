"""The vault answers 403 for one certificate of fifty: forty-nine roll on the running app, and the one is named."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.plant import Host, Plant, until

SAMPLE, WHOLE = 6, 50
NO_LIMITS = {"amount": 10_000, "per_s": 1}


@pytest.mark.proof
def test_the_others_roll_and_the_one_is_named(plant: Plant, tmp_path: Path, whole: bool) -> None:
    """Roles may be given for one certificate of a vault (azure-docs key-vault rbac-guide), so they may be missing."""
    run, control = uuid.uuid4().hex[:6], plant.standin.control  # a second try meets what the first one left
    names = [f"allowed-{run}-{n:02}" for n in range((WHOLE if whole else SAMPLE) - 1)]
    forbidden = f"forbidden-{run}"
    limits = control.get("/throttles")["limits"]
    control.patch("/throttles", {"limits": dict.fromkeys(limits, NO_LIMITS)})
    control.put("/clock", {"set": control.get("/clock")["now"][:14] + "20:00Z"})
    with ThreadPoolExecutor(4) as several:
        devices = list(several.map(lambda name: plant.install(name, tmp_path), [*names, forbidden]))
    rule = {"kind": "status", "service": "keyvault", "path": f"/certificates/{forbidden}/*", "status": 403}
    control.post("/faults", {**rule, "times": -1})
    host = plant.host()
    try:
        plant.move_clock(days=336)  # 29 days before the end; the sweep is due
        for device in devices:
            device.live()
        until(lambda: _moved(host, run) == set(names), f"{len(names)} moved", host.tail)
        [refused] = [one for one in _refused(host) if one["subject"] == forbidden]
        assert "403" in refused["reason"]
        assert f"target_failed certificate={forbidden}" in host.log.read_text()
        ends = [plant.end_state(name) for name in names]
        assert all(end["versions"] == 2 and 1 in end["slots"].values() for end in ends)
        assert host.rollovers(forbidden) == []
        print(
            f"\n403 for 1 certificate of {len(devices)}: {len(_moved(host, run))} rolled, named: {refused['subject']}"
        )

        control.delete("/faults")
        plant.move_clock(hours=1)  # the next sweep
        until(lambda: forbidden in _moved(host, run), "it rolls once it may be read", host.tail)
    finally:
        control.delete("/faults")
        control.patch("/throttles", {"limits": limits})
        for device in devices:
            device.stop()
        host.stop()


def _moved(host: Host, run: str) -> set[str]:
    """Whose device registered with the new certificate."""
    ours = (one for one in host.rollovers() if run in one["registration_id"])
    return {one["registration_id"] for one in ours if one["next_step"] == "delete_primary"}


def _refused(host: Host) -> list[dict[str, Any]]:
    return list(host.api().call("GET", "/api/rollovers").json()["refused_inputs"])
