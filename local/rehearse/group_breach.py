"""The key of a group's CA is stolen: a forger makes himself devices; the app throws him out, and the fleet comes back.

He has a certificate in the name of a device there is, and one in a name there never was, and is in by both. On call
looks at the preview for the group and confirms; a fleet being more than one person may decide on, a second one
approves. The owner of the PKI has a new CA before it is contained. The forger goes on, until after the devices are
back.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from local.rehearse.forger import Forger
from local.rehearse.group_roll import BREACH, INTERMEDIATE, ROOT, GroupFacts, GroupRoll
from local.rehearse.group_setup import GROUP, PATIENCE_S, Anchor, GroupOnStage, GroupScenario
from local.rehearse.oncall import SECOND, OnCall
from local.rehearse.scenario import Stage

LASTS = timedelta(days=365)
REASON, TICKET = "the issuing CA's key was found in a build log", "INC-4712"
A_DEVICE, NO_DEVICE = "meter-001", "meter-666"
TWINS = 20
"""Devices whose twin is compared: the first ones."""
DESIRED: Mapping[str, Any] = MappingProxyType({"interval_s": 900, "channels": ["a", "b"]})
TRIES_AFTERWARDS = 3


class GroupBreach(GroupScenario):
    """The scenario, for one kind of anchor; see the module."""

    rollovers = 0
    proves = (
        "A good run shows that calls to the app, on real queues and tables and with real TLS and MQTT, throw whoever"
        " holds a CA's key out of hub and DPS for good, and bring the whole fleet back under a new CA. It does not show"
        " that Azure itself behaves as the stand-in does, nor how long any of it takes there, where quotas are what"
        " binds: docs/differences.md lists what is assumed."
    )

    def run(self, stage: Stage) -> None:
        """Set up, and the breach."""
        group = GroupOnStage(stage, self._anchor)
        outgoing = group.anchor(LASTS)
        with stage.phase("set-up"):
            group.set_up(outgoing)
            twins = _write_twins(stage)
        stage.found.newest = {one.registration_id: one.thumbprints[-1] for one in stage.facts()}
        roll = group.begin(BREACH, outgoing, forged=(A_DEVICE, NO_DEVICE))
        tell = {name: _teller(stage, name) for name in roll.forged}
        forger = Forger(stage.document, outgoing.trusted, roll.forged, stage.clock.now(), tell)
        try:
            with stage.phase("breach"):
                forger.start()
                group.until("the forger is in under both names", lambda: _is_in(_latest(stage)))
                _call(group, roll)
                # Before the app asks the vault for it: a version that is asked for would have to be signed there.
                incoming = group.anchor(LASTS)
                roll.incoming = incoming.trusted.sha256
                group.offer(incoming)
                group.until("contained", lambda: _is_contained(group, roll))
            with stage.phase("recovery"):
                stage.wait_for("recovery: devices back on the new CA", lambda: _back(group, roll, incoming), PATIENCE_S)
                group.until("the breach is done", lambda: group.app_says(roll)["status"] == "done")
                before = _refusals(_latest(stage))
                group.until("the forger goes on and is refused", lambda: _again(_latest(stage), before))
        finally:
            forger.stop()
        roll.twins_kept = len(stage.fleet.members) if _twins(stage) == twins else 0
        roll.still_exposed = [*roll.shown.get("still_exposed", []), *_seen_exposed(group, outgoing)]


def _write_twins(stage: Stage) -> dict[str, str]:
    for name in stage.fleet.registration_ids[:TWINS]:
        stage.operator.write_twin(name, {"site": name}, DESIRED)
    return _twins(stage)


def _twins(stage: Stage) -> dict[str, str]:
    return {name: stage.operator.twin_text(name) for name in stage.fleet.registration_ids[:TWINS]}


def _teller(stage: Stage, name: str) -> Any:
    return lambda what, who: stage.screen.thief(name, what, who)


def _latest(stage: Stage) -> GroupFacts:
    stage.read_journal()
    facts = stage.group_facts()
    if facts is None:
        raise ValueError("there is no group yet")
    return facts


def _is_in(now: GroupFacts) -> bool:
    return all(one.registrations and one.sessions for one in now.forgers)


def _call(group: GroupOnStage, roll: GroupRoll) -> None:
    """Preview, look, confirm; the second person agrees, where the app asks for one."""
    stage = group.stage
    preview = stage.on_call.preview_group(GROUP, REASON, TICKET)
    roll.confirmed = time.time()
    begun = stage.on_call.confirm(preview["confirm_token"])
    roll.rollover_id = str(begun["rollovers"][0]["id"])
    if begun["status"] == "awaiting_approval":
        second = OnCall(stage.document, SECOND)
        roll.confirmed = time.time()
        second.approve(roll.rollover_id, REASON)


def _is_contained(group: GroupOnStage, roll: GroupRoll) -> bool:
    shown = group.app_says(roll)
    if shown.get("contained"):
        roll.contained = group.stage.clock.real(datetime.fromisoformat(shown["contained_at"]))
    return bool(shown.get("contained"))


def _back(group: GroupOnStage, roll: GroupRoll, incoming: Anchor) -> set[str]:
    group.app_says(roll)
    return group.on(incoming)


def _refusals(now: GroupFacts) -> list[int]:
    return [now.refused_by(service, name) for service in ("dps", "iothub") for name in now.roll.forged]


def _again(now: GroupFacts, before: Sequence[int]) -> bool:
    return all(count >= was + TRIES_AFTERWARDS for count, was in zip(_refusals(now), before, strict=True))


def _seen_exposed(group: GroupOnStage, outgoing: Anchor) -> list[str]:
    """The same with the operator's eyes: what the app says of a breach that is done is no look."""
    found = [f"left of the stolen CA: {one}" for one in group.left_of(outgoing)]
    return found + [f"the hub knows {NO_DEVICE}, which never was"] * bool(group.hand.accepted(NO_DEVICE))


INTERMEDIATE_BREACH = GroupBreach(
    "group-breach", "The key of a group's intermediate stolen, two hundred devices", INTERMEDIATE
)
ROOT_BREACH = GroupBreach("root-breach", "The key of a group's root CA stolen, two hundred devices", ROOT)
