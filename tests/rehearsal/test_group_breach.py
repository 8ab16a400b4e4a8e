"""The app contains the stolen key of a group's CA and brings its devices back, with host, queues, tables as deployed.

The scenario is the one that is rehearsed, with a forger at DPS and hub; its report must have no problem to tell.
"""

import time
from pathlib import Path

import pytest

from device.backoff import Backoff
from local.rehearse.fleet import Fleet, group_members
from local.rehearse.moving import MovedClock
from local.rehearse.oncall import OnCall
from local.rehearse.operator import Operator
from local.rehearse.report import Played, make_report
from local.rehearse.scenario import Stage, load
from tests.rehearsal.plant import Plant
from tests.rehearsal.yard import GUESSES, Silent

DEVICES = 6
SETTINGS = {"CONTAINMENT_SETTLE_SECONDS": "2", "FLEET_COMPLETE_SHARE": "0.8"}
"""The name that only the forger used never comes back: of so few, that is more than the share allows by default."""


@pytest.mark.proof
@pytest.mark.parametrize("name", ["group-breach", "root-breach"])
def test_the_app_contains_a_stolen_ca_and_brings_every_device_back(
    plant: Plant, whole: bool, name: str, tmp_path: Path
) -> None:
    if not whole and name != "root-breach":
        return
    plant.standin.control.post("/reset")
    plant.standin.control.patch("/knobs", GUESSES)
    host = plant.host(**SETTINGS)
    document = {**plant.document, "functions": {"url": host.url}}
    clock, began = MovedClock(document["control"]["url"]), time.time()
    operator, members, screen = Operator(document, clock), group_members(DEVICES), Silent()
    fleet = Fleet(members, document, tmp_path, clock, operator, screen, pause_s=0.05, backoff=Backoff(0.2, 0.5))
    stage = Stage(document, operator, OnCall(document), fleet, clock, screen, lambda: None)
    scenario = load(name)
    try:
        scenario.run(stage)
        stage.read_journal()
    finally:
        fleet.stop()
        host.stop()
    played = Played(name, scenario.title, scenario.proves, scenario.rollovers, began, time.time())
    fed_by = {one.registration_id: one.fed_by for one in members}
    report = make_report(played, fed_by, stage.facts(), stage.found, stage.theft_facts(), stage.group_facts())
    assert report["problems"] == []
    group = report["group"]
    assert (group["moved"], group["lost"], group["twins_kept"]) == (DEVICES, 0, DEVICES)
    assert group["stragglers"] == ["meter-666"]
    assert group["thief"]["accepted_after"] == 0
