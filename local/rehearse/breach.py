"""The key of a device is stolen; the person on call contains it with one call, and the device comes back by itself.

The thief registers and connects before anybody knows. The device is not kept out of the way: it and the thief throw
each other out of the hub, which is how it shows. On call looks at the preview for the certificate's thumbprint and
confirms. The thief goes on trying DPS and hub, until after the device is back.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from local.rehearse.enrolling import set_up
from local.rehearse.fleet import Member, members
from local.rehearse.scenario import Stage
from local.rehearse.theft import Theft, TheftFacts
from local.rehearse.thief import Thief, address_of

REMOVE, DISABLE, REPROVISION = MODES = ("remove", "disable", "reprovision")
REASON, TICKET = "the key was read out of a meter that came back from repair", "INC-4711"
QUEUED_MESSAGES = 3
TRIES_AFTERWARDS = 3
# What a twin may hold: names and texts of any script, numbers of each kind, nested and empty objects.
TAGS: Mapping[str, Any] = MappingProxyType(
    {"site": "Zürich Süd, Halle 7", "floor": -1, "owner": {"team": "Zähler", "on_call": True}, "notes": {}}
)
DESIRED: Mapping[str, Any] = MappingProxyType(
    {"interval_s": 900, "tariff": 0.1, "limits": {"low": 1.5e-7, "high": 9007199254740991}, "channels": ["a", "b", 3]}
)


class Breach:
    """The scenario: a stolen key for each containment mode, one after another."""

    name = "breach"
    title = "Stolen keys, contained in each of the three modes"
    rollovers = 0
    proves = (
        "A good run shows that one call to the app, on real queues and tables and with real TLS, MQTT and device SDKs,"
        " throws the holder of a stolen key out of hub and DPS for good and brings the rightful device back on a new"
        " certificate. It does not show that Azure itself behaves as the stand-in does, nor how long any of it takes"
        " there: docs/differences.md lists what is assumed."
    )

    def members(self) -> Sequence[Member]:
        return members(len(MODES))

    def run(self, stage: Stage) -> None:
        """Set up, then one breach after another."""
        with stage.phase("set-up"):
            certificates = set_up(stage)
        for name, mode in zip(certificates, MODES, strict=True):
            steal_and_contain(stage, name, mode, f"breach: {mode}")


def steal_and_contain(stage: Stage, name: str, mode: str, label: str) -> None:
    """One breach, from the theft of a device's key to the thief's last try, as a phase with the name `label`."""
    stage.operator.write_twin(name, TAGS, DESIRED)
    stage.operator.queue_messages(name, QUEUED_MESSAGES)
    twin = stage.operator.twin_text(name)
    stored = stage.fleet.in_use(name)
    stolen = stored.credential.sha256
    theft = Theft(name, mode, stolen, address_of(stage.document), time.time(), QUEUED_MESSAGES)
    stage.found.thefts.append(theft)
    thief = Thief(stage.document, name, stored.path, lambda what, who: stage.screen.thief(name, what, who))
    try:
        with stage.phase(label):
            thief.start()
            _until(stage, theft, "the thief is in, by DPS and hub", _thief_is_in)
            _until(stage, theft, "the device and the thief throw each other out", _device_came_back)
            rollover_id = _call(stage, theft)
            _until(stage, theft, "contained", lambda _: _is_contained(stage, theft, rollover_id))
            _until(stage, theft, "the device is back on a new certificate", lambda now: now.recovered_s is not None)
            _until(stage, theft, "the breach is done", lambda _: _shown(stage, name, rollover_id)["status"] == "done")
            before = len(_latest(stage, theft).refused)
            _until(stage, theft, "the thief goes on and is refused", lambda now: _again(now, before))
    finally:
        thief.stop()
    theft.replacement = stage.operator.latest(name).sha256
    theft.twin_restored = stage.operator.twin_text(name) == twin
    theft.still_exposed = [*stage.on_call.rollover(rollover_id)["still_exposed"], *_seen_exposed(stage, name, stolen)]


def _call(stage: Stage, theft: Theft) -> str:
    """Preview, look, confirm; gives the ID of the rollover that it began."""
    preview = stage.on_call.preview(theft.stolen, theft.mode, REASON, TICKET)
    named = [target["registration_id"] for target in preview["targets"]]
    if named != [theft.registration_id]:
        stage.found.problems.append(f"{theft.registration_id}: the preview named {', '.join(named) or 'nothing'}")
    theft.previewed_messages = sum(target["queued_messages"] for target in preview["targets"])
    theft.confirmed = time.time()
    begun = stage.on_call.confirm(preview["confirm_token"])
    theft.incident = begun["incident"]
    return str(begun["rollovers"][0]["id"])


def _seen_exposed(stage: Stage, name: str, stolen: str) -> list[str]:
    """The same with the operator's eyes: what the app says of a breach that is done is no look."""
    found = []
    if stolen in stage.operator.slots(name).values():
        found.append("a slot of the enrollment holds the stolen certificate")
    if stolen in stage.operator.hub_thumbprints(name):
        found.append("the hub identity accepts the stolen certificate")
    return found


def _until(stage: Stage, theft: Theft, what: str, done: Callable[[TheftFacts], bool]) -> None:
    """Wait until `done` says so of the latest facts of the theft."""
    name = theft.registration_id
    stage.wait_for(f"{name}: {what}", lambda: {name} if done(_latest(stage, theft)) else set(), names=[name])


def _latest(stage: Stage, theft: Theft) -> TheftFacts:
    stage.read_journal()
    return next(one for one in stage.theft_facts() if one.theft is theft)


def _thief_is_in(now: TheftFacts) -> bool:
    return bool(now.thief.registrations and now.thief.sessions)


def _device_came_back(now: TheftFacts) -> bool:
    return any(one.began > now.thief.sessions[0].began for one in now.device.sessions)


def _again(now: TheftFacts, before: int) -> bool:
    services = [one.service for one in now.refused[before:]]
    return min(services.count("dps"), services.count("iothub")) >= TRIES_AFTERWARDS


def _shown(stage: Stage, name: str, rollover_id: str) -> dict[str, Any]:
    """The app's rollover, put on the screen on the way."""
    shown = stage.on_call.rollover(rollover_id)
    stage.screen.rollover(name, shown["status"], shown["next_step"])
    return shown


def _is_contained(stage: Stage, theft: Theft, rollover_id: str) -> bool:
    shown = _shown(stage, theft.registration_id, rollover_id)
    if shown["contained"]:
        theft.contained = stage.clock.real(datetime.fromisoformat(shown["contained_at"]))
    return bool(shown["contained"])


SCENARIO = Breach()
