"""An enrollment group of light devices on the stand-in, with its owner's PKI and a person who has every right."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.rehearse.by_hand import ByHand
from local.rehearse.fleet import Fleet, group_members
from local.rehearse.forger import Forger
from local.rehearse.journal import DeviceFacts, by_device, facts_of
from local.rehearse.moving import MovedClock
from local.rehearse.operator import Operator
from local.rehearse.pki import CertificateAuthority, Validity, make_root
from local.rehearse.thief import address_of
from tests.standin import StandIn

GROUP = "meters"
FORGED_NEW = "meter-666"
PATIENCE_S = 30.0
GUESSES = {"assign_delay_s": 0.05, "job_start_delay_s": 0.05, "identity_drop_delay_s": 0.05}


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

    def __init__(self, azure: StandIn, folder: Path, count: int) -> None:
        azure.control.patch("/knobs", GUESSES)
        self.azure = azure
        self.clock = MovedClock(azure.endpoints["control"]["url"])
        self.hand = ByHand(azure.endpoints, self.clock)
        operator = Operator(azure.endpoints, self.clock)
        self.fleet = Fleet(group_members(count), azure.endpoints, folder, self.clock, operator, Silent(), pause_s=0.1)
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
        return {one.registration_id for one in live if issued.get(one.sessions[-1].sha256) is issuer}

    def refused(self) -> dict[str, int]:
        """How often each device was refused, by hub or DPS; those never refused are left out."""
        return {one.registration_id: len(one.refusals) for one in self.facts() if one.refusals}

    def longest_gap_s(self) -> float:
        return max(one.longest_gap_s for one in self.facts())

    def forgers(self, name: str) -> list[dict[str, Any]]:
        """What the journal says of the forger under one name."""
        forger = address_of(self.azure.endpoints)
        own = [one for one in self.azure.control.get("/journal") if one.get("address") == forger]
        return by_device(own).get(name, [])

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
            time.sleep(0.1)

    def _state(self) -> str:
        told: Sequence[str] = [
            f"{one.registration_id}: {len(one.sessions)} sessions, {len(one.refusals)} refusals" for one in self.facts()
        ]
        return "; ".join(told)


def _heard(_what: str, _service: str) -> None:
    """The journal tells it as well."""
