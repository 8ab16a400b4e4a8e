"""Certificates near their end are rolled, the old ones go when they have expired; then all of it once more.

Then the key of one of the devices is stolen.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from local.rehearse.breach import REMOVE, steal_and_contain
from local.rehearse.enrolling import on, set_up, slot, thumbprints
from local.rehearse.fleet import Member, members
from local.rehearse.operator import VaultCertificate
from local.rehearse.scenario import Stage

DEVICES = 10
NEAR = timedelta(days=29)
AFTER = timedelta(minutes=2)
ORDINALS = ("1st", "2nd")


class Expiry:
    """The scenario; see the module."""

    name = "expiry"
    title = "Certificates near expiry, rolled twice; then a key is stolen"
    rollovers = len(ORDINALS)
    proves = (
        "A good run shows that the app's real code, on real queues and tables and with real TLS, MQTT and device SDKs,"
        " rolls every device twice without a refused connect, that the old certificate leaves DPS once it has expired,"
        " and that one call throws the thief of a key out and brings its device back. It does not show that Azure"
        " itself behaves as the stand-in does, nor how long any of it takes there: docs/differences.md lists what is"
        " assumed."
    )

    def members(self) -> Sequence[Member]:
        return members(DEVICES)

    def run(self, stage: Stage) -> None:
        """Set up, every rollover, and the breach."""
        with stage.phase("set-up"):
            in_use = set_up(stage)
        for number in range(1, self.rollovers + 1):
            in_use = roll(stage, number, in_use)
        steal_and_contain(stage, list(in_use)[-1], REMOVE, "breach")


def roll(stage: Stage, number: int, outgoing: dict[str, VaultCertificate]) -> dict[str, VaultCertificate]:
    """One rollover of every device, from near-expiry to the outgoing certificate's end; gives the incoming ones."""
    ordinal = ORDINALS[number - 1]
    with stage.phase(f"{ordinal} rollover", _first_end(outgoing) - NEAR):
        stage.wait_for(
            f"{ordinal} rollover: the app waits for the old certificate's end", lambda: _resting(stage, outgoing)
        )
        incoming = {name: stage.operator.latest(name) for name in outgoing}
        stage.found.newest = thumbprints(incoming)
        stage.wait_for(f"{ordinal} rollover: devices on the new certificate", lambda: on(stage, stage.found.newest))
        stage.wait_for(
            f"{ordinal} rollover: hub identities on the new certificate",
            lambda: {name for name in outgoing if _moved(stage, name, outgoing[name], incoming[name])},
        )
        for name in outgoing:
            stage.found.slots[name].append(slot(stage, name, incoming[name].sha256))
    with stage.phase(f"{ordinal} expiry", _last_end(outgoing) + AFTER):
        stage.wait_for(f"{ordinal} expiry: old certificates gone", lambda: _done(stage, number))
        _check_gone(stage, number, outgoing)
    return incoming


def _check_gone(stage: Stage, number: int, outgoing: dict[str, VaultCertificate]) -> None:
    for name, certificate in outgoing.items():
        stage.found.rollovers[name] = number
        if certificate.sha256 in stage.operator.slots(name).values():
            stage.found.problems.append(f"{name}: DPS still holds the certificate that was retired")
        if certificate.sha256 in stage.operator.hub_thumbprints(name):
            stage.found.problems.append(f"{name}: the hub still accepts the certificate that was retired")
        history = stage.found.slots[name]
        if history[-1] == history[-2]:
            stage.found.problems.append(f"{name}: the slots did not swap, the new certificate is in {history[-1]}")


def _first_end(certificates: dict[str, VaultCertificate]) -> datetime:
    return min(one.not_after for one in certificates.values())


def _last_end(certificates: dict[str, VaultCertificate]) -> datetime:
    return max(one.not_after for one in certificates.values())


def _resting(stage: Stage, outgoing: dict[str, VaultCertificate]) -> set[str]:
    """Whose open rollover says that only the outgoing certificate's end is waited for."""
    return {
        str(one["registration_id"])
        for one in _shown(stage)
        if one["status"] == "waiting"
        and one["next_step"] == "delete_primary"
        and one["outgoing"]["sha256_thumbprint"] == outgoing[one["registration_id"]].sha256
    }


def _moved(stage: Stage, name: str, outgoing: VaultCertificate, incoming: VaultCertificate) -> bool:
    accepted = stage.operator.hub_thumbprints(name)
    return incoming.sha256 in accepted and outgoing.sha256 not in accepted


def _done(stage: Stage, number: int) -> set[str]:
    """Who has this many rollovers that ended well."""
    names = [str(one["registration_id"]) for one in _shown(stage) if one["status"] == "done"]
    return {name for name in names if names.count(name) >= number}


def _shown(stage: Stage) -> list[dict[str, Any]]:
    """The app's rollovers, put on the screen on the way."""
    found = stage.operator.rollovers()
    newest_first: set[str] = set()
    for one in found:
        if one["registration_id"] not in newest_first:
            newest_first.add(one["registration_id"])
            stage.screen.rollover(one["registration_id"], one["status"], one["next_step"])
    return found


SCENARIO = Expiry()
