"""The app rolls a group's CA in waves, with a host, queues and tables as deployed and devices on MQTT."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from device.backoff import Backoff
from local.rehearse.fleet import Fleet, group_members
from local.rehearse.group_roll import EXPIRY, INTERMEDIATE, ROOT, GroupRoll
from local.rehearse.group_setup import IN_VAULT, Anchor, GroupOnStage
from local.rehearse.moving import MovedClock
from local.rehearse.oncall import OnCall
from local.rehearse.operator import Operator
from local.rehearse.scenario import Stage
from tests.rehearsal.plant import Host, Plant, until
from tests.rehearsal.yard import GUESSES, Silent

DEVICES, CANARY = 8, 2
OLD_LASTS, NEW_LASTS = timedelta(days=20), timedelta(days=730)


class Story:
    """A group on a stage, its app, and the CA that it trusts at first."""

    def __init__(self, plant: Plant, host: Host, folder: Path, anchor: str) -> None:
        document = {**plant.document, "functions": {"url": host.url}}
        self.host = host
        self.plant = plant
        clock = MovedClock(document["control"]["url"])
        operator = Operator(document, clock)
        self.fleet = Fleet(
            group_members(DEVICES), document, folder, clock, operator, Silent(), pause_s=0.05, backoff=Backoff(0.2, 0.5)
        )
        self.stage = Stage(document, operator, OnCall(document), self.fleet, clock, Silent(), lambda: None)
        # Azurite is one for all tests, and keeps what a first try left in the ledger.
        self.group = GroupOnStage(self.stage, anchor, f"meters-{uuid.uuid4().hex[:8]}")
        self.outgoing = self.group.anchor(OLD_LASTS)
        self.group.set_up(self.outgoing)
        self.roll = self.group.begin(EXPIRY, self.outgoing)

    def offer(self, incoming: Anchor, signs: Anchor | None = None) -> None:
        """Put a new CA into the vault, and let this one sign the devices' certificates."""
        self.fleet.desk.appoint((signs or incoming).issuer)
        self.stage.operator.import_ca(IN_VAULT, incoming.trusted, self.group.name)
        self.roll.incoming = incoming.trusted.sha256
        self.host.deliver(self.plant.event(IN_VAULT))

    def says(self) -> dict[str, Any]:
        time.sleep(0.5)
        return self.group.app_says(self.roll)

    def refused(self) -> set[str]:
        """Devices that DPS or the hub refused since the new CA was offered."""
        self.stage.read_journal()
        facts = self.stage.group_facts()
        assert facts is not None
        return {one.registration_id for one in facts.devices if one.refusals}

    def tail(self) -> str:
        return f"{self.roll.shown.get('waiting_for')}\n{self.roll.shown.get('fleet')}\n{self.host.tail()}"


@contextmanager
def a_story(plant: Plant, folder: Path, anchor: str, **settings: str) -> Iterator[Story]:
    plant.standin.control.post("/reset")
    plant.standin.control.patch("/knobs", GUESSES)
    host = plant.host(WAVE_CANARY=str(CANARY), WAVE_GROWTH="2", **settings)
    story = None
    try:
        story = Story(plant, host, folder, anchor)
        yield story
    finally:
        if story is not None:
            story.fleet.stop()
        host.stop()


def waves(roll: GroupRoll) -> list[tuple[int, int]]:
    [work] = roll.shown["fleet"]
    return [(one["size"], one["moved"]) for one in work["waves"]]


@pytest.mark.proof
def test_a_group_moves_in_waves_and_the_old_ca_goes(whole: bool, plant: Plant, tmp_path: Path) -> None:
    for anchor in (ROOT, INTERMEDIATE) if whole else (ROOT,):
        (tmp_path / anchor).mkdir()
        with a_story(plant, tmp_path / anchor, anchor, RETIRE_WHEN="moved") as story:
            incoming = story.group.anchor(NEW_LASTS)
            story.offer(incoming)
            until(lambda: story.says().get("status") == "done", "the rollover is done", story.tail, within_s=90)
            assert story.group.on(incoming) == set(story.fleet.registration_ids)
            assert waves(story.roll) == [(2, 2), (4, 4), (2, 2)]
            assert story.group.left_of(story.outgoing) == []
            assert not story.refused()


@pytest.mark.proof
def test_a_ca_whose_certificates_are_refused_harms_no_more_devices_than_the_canary(
    whole: bool, plant: Plant, tmp_path: Path
) -> None:
    """What signs the devices' certificates has the name of the new CA and another key: DPS refuses all of them."""
    if not whole:
        pytest.skip(
            "tests/fleet/test_waves.py tries the rule in memory; on a busy machine a device may miss a moment here"
        )
    with a_story(plant, tmp_path, INTERMEDIATE) as story:
        story.offer(story.group.anchor(NEW_LASTS), signs=story.group.anchor(NEW_LASTS))
        until(lambda: story.says() and len(story.refused()) == CANARY, "the canary is refused", story.tail, 60)
        plant.move_clock(minutes=61)
        story.host.run_now("resume_rollovers")
        until(lambda: story.says()["status"] == "needs_person", "it asks for a person", story.tail, 60)
        assert "2 of 2 connected devices of wave 1 have not moved" in story.roll.shown["reason"]
        assert len(story.refused()) == CANARY
        everybody = set(story.fleet.registration_ids)
        until(lambda: story.group.on(story.outgoing) == everybody, "nobody has lost the hub", story.tail)
