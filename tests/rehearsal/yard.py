"""An enrollment group of light devices on the stand-in, with its owner's PKI and a person who has every right."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from device.backoff import Backoff
from device.errors import Refused
from device.ports import MethodReply
from device.store import Assignment
from local.rehearse.by_hand import ByHand
from local.rehearse.fleet import DESK, Fleet, group_members
from local.rehearse.forger import Forger
from local.rehearse.journal import DeviceFacts, by_device, facts_of
from local.rehearse.light.dps import LightRegistration
from local.rehearse.light.hub import LightHub
from local.rehearse.light.network import Network
from local.rehearse.moving import MovedClock
from local.rehearse.operator import Operator
from local.rehearse.pki import CertificateAuthority, Validity, make_root
from local.rehearse.thief import address_of
from tests.standin import StandIn

GROUP = "meters"
FORGED_NEW = "meter-666"
PATIENCE_S = 30.0
GUESSES = {"assign_delay_s": 0.0, "job_start_delay_s": 0.05, "identity_drop_delay_s": 0.05}


def valid(days: float = 300) -> Validity:
    """From yesterday on."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Validity(now - timedelta(days=1), now + timedelta(days=days))


class Silent:
    """A screen that nobody looks at."""

    def device(self, name: str, event: str, fields: Mapping[str, Any]) -> None: ...
    def phase(self, name: str, clock: datetime) -> None: ...
    def progress(self, what: str, done: int, total: int) -> None: ...
    def thief(self, name: str, what: str, service: str) -> None: ...
    def rollover(self, name: str, status: str, next_step: str | None) -> None: ...
    def stop(self) -> None: ...


class Yard:
    """The fleet is switched on by `open`, once the group trusts what signs its certificates."""

    def __init__(self, azure: StandIn, folder: Path, count: int, fed_by: str = DESK) -> None:
        azure.control.patch("/knobs", GUESSES)
        self.azure = azure
        self.clock = MovedClock(azure.endpoints["control"]["url"])
        self.hand = ByHand(azure.endpoints, self.clock)
        self.operator = Operator(azure.endpoints, self.clock)
        self.fleet = Fleet(
            group_members(count, fed_by=fed_by),
            azure.endpoints,
            folder,
            self.clock,
            self.operator,
            Silent(),
            pause_s=0.05,
            backoff=Backoff(0.2, 0.5),
        )
        self.names = self.fleet.registration_ids
        self.root = make_root("Root 1", valid())
        self.issuer = self.root.subordinate("Intermediate 1", valid(60))

    def open(self) -> None:
        """Switch the devices on, and wait until all are connected."""
        self.fleet.desk.appoint(self.issuer)
        self.fleet.start()
        self.until(lambda: self.on(self.issuer) == set(self.names))

    def entries(self) -> list[dict[str, Any]]:
        """What the journal says, without the forger."""
        forger = address_of(self.azure.endpoints)
        return [one for one in self.azure.control.get("/journal") if one.get("address") != forger]

    def facts(self) -> list[DeviceFacts]:
        return facts_of(self.entries(), self.names, time.time())

    def on(self, issuer: CertificateAuthority) -> set[str]:
        """Whose live session was made with a leaf of this CA."""
        live = [one for one in self.facts() if one.sessions and one.sessions[-1].ended_because is None]
        issued = self.fleet.desk.issued
        return {one.registration_id for one in live if issuer.sha256 in issued.get(one.sessions[-1].sha256, ())}

    def refused(self) -> dict[str, int]:
        """How often each device was refused, by hub or DPS; those never refused are left out."""
        return {one.registration_id: len(one.refusals) for one in self.facts() if one.refusals}

    def longest_gap_s(self) -> float:
        return max(one.longest_gap_s for one in self.facts())

    def trusted_slots(self) -> dict[str, str]:
        """What the group trusts: slot → SHA-256 thumbprint, or the name of a CA certificate."""
        x509 = self.hand.group(GROUP)["attestation"]["x509"]
        slots = x509.get("signingCertificates") or x509.get("caReferences")
        held = {slot: one for slot, one in slots.items() if one}
        return {slot: one if isinstance(one, str) else one["info"]["sha256Thumbprint"] for slot, one in held.items()}

    # what somebody does with a certificate, once

    def register(self, name: str, issuer: CertificateAuthority) -> str:
        """How DPS answers who has a leaf of this CA: "assigned", or its message. The hub then knows that leaf."""
        dps = self.azure.endpoints["dps"]
        with self._network() as network, _written(issuer.forge(name, issuer.validity)) as leaf:
            try:
                LightRegistration(network, dps["device_host"], dps["id_scope"], name, pause_s=0.05).register(leaf)
            except Refused as error:
                return str(error).rpartition(": ")[2]
        return "assigned"

    def reconnect(self, name: str) -> str:
        """How the hub answers a device that connects with what it has: "let in" or "refused"."""
        assignment = Assignment(self.azure.endpoints["iothub"]["device_host"], name)
        with self._network() as network:
            try:
                LightHub(network).open(assignment, self.fleet.in_use(name).path, _deaf, lambda: None).close()
            except Refused:
                return "refused"
        return "let in"

    @contextmanager
    def _network(self) -> Iterator[Network]:
        network = Network(Path(self.azure.endpoints["ca_file"]).read_text())
        try:
            yield network
        finally:
            network.close()

    # the forger, by the journal

    def answers(self, name: str) -> list[tuple[str, str]]:
        """What the forger was told under this name, oldest first: by "dps" or "iothub", "let in" or "refused"."""
        forger = address_of(self.azure.endpoints)
        own = [one for one in self.azure.control.get("/journal") if one.get("address") == forger]
        return [told for one in by_device(own).get(name, []) if (told := _told(one)) is not None]

    def let_in(self, name: str) -> list[tuple[str, str]]:
        """How often the hub let the forger in under this name."""
        return [one for one in self.answers(name) if one == ("iothub", "let in")]

    def last_answers(self, name: str) -> dict[str, str]:
        """The latest answer of each service."""
        return dict(self.answers(name))

    def refused_since_let_in(self, name: str) -> dict[str, int]:
        """By service, how often in a row the forger was refused up to now."""
        counts = {"dps": 0, "iothub": 0}
        for service, answer in self.answers(name):
            counts[service] = counts[service] + 1 if answer == "refused" else 0
        return counts

    @contextmanager
    def forger(self, stolen: CertificateAuthority, *names: str) -> Iterator[None]:
        """Somebody with this CA's key at work, under these names."""
        one = Forger(self.azure.endpoints, stolen, names, self.clock.now(), dict.fromkeys(names, _heard))
        one.start()
        try:
            yield
        finally:
            one.stop()

    def until(self, done: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < deadline, self._state()
            time.sleep(0.05)

    def _state(self) -> str:
        told: Sequence[str] = [
            f"{one.registration_id}: {len(one.sessions)} sessions, {len(one.refusals)} refusals" for one in self.facts()
        ]
        return "; ".join(told)


def _told(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    match entry["kind"], entry.get("service"):
        case "connect", "iothub":
            return "iothub", "let in" if entry["accepted"] else "refused"
        case "registration", _:
            return "dps", "let in" if entry["status"] == "assigned" else "refused"
        case "request", "dps" if entry["status"] == 401:
            return "dps", "refused"
        case _:
            return None


@contextmanager
def _written(pem: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "leaf.pem"
        file.write_bytes(pem)
        yield file


def _deaf(_name: str, _payload: Any) -> MethodReply:
    return MethodReply(404, {})


def _heard(_what: str, _service: str) -> None:
    """The journal tells it as well."""
