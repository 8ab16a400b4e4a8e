"""The scenarios of a group, played on the stand-in with a few light devices and the app's part done by hand."""

import time
from pathlib import Path
from typing import Any

import pytest

from device.backoff import Backoff
from local.rehearse.fleet import Fleet, group_members
from local.rehearse.group_roll import BREACH, EXPIRY, INTERMEDIATE, ROOT
from local.rehearse.group_setup import Anchor, GroupOnStage
from local.rehearse.moving import MovedClock
from local.rehearse.report import Played, make_report, page_of
from local.rehearse.scenario import Stage, load
from tests.rehearsal.app_by_hand import AppByHand, OperatorOfIt
from tests.rehearsal.yard import GUESSES, Silent
from tests.standin import StandIn

DEVICES = 8
SCENARIOS = {
    "group-expiry": (EXPIRY, INTERMEDIATE),
    "root-expiry": (EXPIRY, ROOT),
    "group-breach": (BREACH, INTERMEDIATE),
    "root-breach": (BREACH, ROOT),
}


def played(name: str, azure: StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The report of a scenario."""
    azure.control.patch("/knobs", GUESSES)
    plan, anchor = SCENARIOS[name]
    document, offered = azure.endpoints, []
    clock, began = MovedClock(document["control"]["url"]), time.time()
    made = GroupOnStage.anchor

    def noted(self: GroupOnStage, lasts: Any) -> Anchor:
        offered.append(made(self, lasts))
        return offered[-1]

    monkeypatch.setattr(GroupOnStage, "anchor", noted)
    app = AppByHand(document, clock, anchor, offered)
    operator = OperatorOfIt(document, clock, app)
    members, screen = group_members(DEVICES), Silent()
    fleet = Fleet(members, document, folder, clock, operator, screen, pause_s=0.05, backoff=Backoff(0.2, 0.5))
    stage = Stage(document, operator, app, fleet, clock, screen, lambda: None)
    scenario = load(name)
    if plan == EXPIRY:
        app.do(app.expiry)
    try:
        scenario.run(stage)
    finally:
        stage.read_journal()
        fleet.stop()
    done = Played(name, scenario.title, scenario.proves, scenario.rollovers, began, time.time())
    fed_by = {one.registration_id: one.fed_by for one in members}
    return make_report(done, fed_by, stage.facts(), stage.found, stage.theft_facts(), stage.group_facts())


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_of_a_group_ends_well(
    name: str, azure: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = played(name, azure, tmp_path, monkeypatch)
    assert report["problems"] == []
    print(report["summary"]["verdict"])
    group = report["group"]
    assert (group["devices"], group["moved"], group["lost"]) == (DEVICES, DEVICES, 0)
    assert page_of(report).startswith("<!doctype html>")
