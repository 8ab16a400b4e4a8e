"""What every scenario of a group begins with: its CA in vault and DPS, a group that trusts it, its devices on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from local.rehearse.by_hand import ByHand, Slot
from local.rehearse.fleet import Member, group_members
from local.rehearse.group_roll import ROOT, GroupRoll
from local.rehearse.pki import CertificateAuthority, Validity, make_root
from local.rehearse.scenario import Stage
from local.rehearse.thief import address_of

GROUP, IN_VAULT, CA_NAME = "meters", "meters-ca", "meters-root"
LIGHT, HEAVY = 197, 3
BACKDATED, ROOT_LASTS = timedelta(days=1), timedelta(days=3650)
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Anchor:
    """What the group trusts, and with what the desk signs under it: one CA, or a root and its intermediate."""

    trusted: CertificateAuthority
    issuer: CertificateAuthority


class GroupOnStage:
    """The group of a scenario, of one kind of anchor (`group_roll.INTERMEDIATE` or `ROOT`). A second one over the same
    ledger needs another name."""

    def __init__(self, stage: Stage, anchor: str, name: str = GROUP) -> None:
        self.stage = stage
        self.name = name
        self.hand = ByHand(stage.document, stage.clock)
        self._anchor = anchor
        self._root = make_root("Meters Root", self._span(ROOT_LASTS))

    def _span(self, lasts: timedelta) -> Validity:
        now = self.stage.clock.now().replace(microsecond=0)
        return Validity(now - BACKDATED, now + lasts)

    def anchor(self, lasts: timedelta) -> Anchor:
        """A new one: same names, new keys."""
        span = self._span(lasts)
        if self._anchor == ROOT:
            root = make_root("Meters Root", span)
            return Anchor(root, root.subordinate("Meters Issuing CA", span))
        issuer = self._root.subordinate("Meters Issuing CA", span)
        return Anchor(issuer, issuer)

    def set_up(self, anchor: Anchor) -> None:
        """Make the group trust it, and wait until all devices are connected by its leaves."""
        stage = self.stage
        self.hand.add_ca(CA_NAME, anchor.trusted if self._anchor == ROOT else self._root)
        slot: Slot = CA_NAME if self._anchor == ROOT else anchor.trusted
        self.hand.create_group(self.name, slot)
        self.offer(anchor)
        stage.fleet.start()
        stage.wait_for("set-up: devices connected", lambda: self.on(anchor), PATIENCE_S)

    def offer(self, anchor: Anchor) -> None:
        """Put it into the vault, as the latest version, and let the desk sign by it from now on."""
        self.stage.fleet.desk.appoint(anchor.issuer)
        self.stage.operator.import_ca(IN_VAULT, anchor.trusted, self.name)

    def on(self, anchor: Anchor) -> set[str]:
        """Whose live session was made by a leaf under this anchor, by the journal."""
        stage = self.stage
        stage.read_journal()
        facts = stage.group_facts()
        devices = facts.devices if facts else stage.facts()
        live = [(one.registration_id, s.sha256) for one in devices for s in one.sessions if s.ended_because is None]
        return {name for name, leaf in live if anchor.trusted.sha256 in stage.fleet.desk.issued.get(leaf, ())}

    def begin(self, plan: str, outgoing: Anchor, forged: Sequence[str] = ()) -> GroupRoll:
        """Take down what the report is about, from now on."""
        stage = self.stage
        roll = GroupRoll(
            group_id=self.name,
            anchor=self._anchor,
            plan=plan,
            outgoing=outgoing.trusted.sha256,
            began=time.time(),
            address=address_of(stage.document),
            forged=tuple(forged),
            signed=stage.fleet.desk.issued,
        )
        stage.found.group = roll
        return roll

    def app_says(self, roll: GroupRoll) -> dict[str, Any]:
        """The app's rollover of the group, put on the screen on the way; empty before there is one."""
        stage = self.stage
        if roll.rollover_id is None:
            own = [one for one in stage.operator.rollovers() if str(one["id"]).startswith(f"group.{self.name}.")]
            roll.rollover_id = own[0]["id"] if own else None
        if roll.rollover_id is not None:
            roll.shown = stage.on_call.rollover(roll.rollover_id)
            stage.screen.rollover(self.name, roll.shown["status"], roll.shown["next_step"])
        return roll.shown

    def until(self, what: str, done: Callable[[], bool]) -> None:
        """Wait until it is so for the group as a whole."""
        self.stage.wait_for(what, lambda: {self.name} if done() else set(), PATIENCE_S, [self.name])

    def left_of(self, anchor: Anchor) -> list[str]:
        """What is left of this CA at DPS, seen by the operator: in words, each a thing that should not be."""
        there = self.hand.ca_certificates()
        x509 = self.hand.group(self.name)["attestation"]["x509"]
        slots = x509.get("signingCertificates") or x509.get("caReferences") or {}
        held = [one for one in slots.values() if one]
        names = [one for one in held if isinstance(one, str)]
        own = [str(one["info"]["sha256Thumbprint"]).upper() for one in held if not isinstance(one, str)]
        found = [f"DPS has it, as {name}" for name, sha1 in there.items() if sha1 == anchor.trusted.sha1]
        found += [f"the group names {name}, which DPS has not" for name in names if name not in there]
        return found + ["the group holds it"] * (anchor.trusted.sha256 in own)


def members() -> list[Member]:
    """Two hundred devices; of these, three on azure-iot-device."""
    return group_members(LIGHT, HEAVY)


class GroupScenario:
    """A scenario of a group's fleet, for one kind of anchor."""

    def __init__(self, name: str, title: str, anchor: str) -> None:
        self.name = name
        self.title = title
        self._anchor = anchor

    def members(self) -> Sequence[Member]:
        return members()
