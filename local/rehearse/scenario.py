"""What a scenario is, and which there are. A new one is a new module beside `expiry`, and a line in `MODULES`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from local.rehearse.group_roll import BREACH, GroupFacts, GroupRoll, group_facts
from local.rehearse.journal import DeviceFacts, Entry, by_device, facts_of
from local.rehearse.mishaps import Mishap, MishapFacts, mishap_facts
from local.rehearse.theft import Theft, TheftFacts, theft_facts, without

if TYPE_CHECKING:
    from local.rehearse.fleet import Fleet, Member
    from local.rehearse.moving import MovedClock
    from local.rehearse.oncall import OnCall
    from local.rehearse.operator import Operator
    from local.rehearse.screen import Screen

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "expiry": "local.rehearse.expiry",
        "breach": "local.rehearse.breach",
        "no-events": "local.rehearse.unsure:NO_EVENTS",
        "noisy-events": "local.rehearse.unsure:NOISY_EVENTS",
        "group-expiry": "local.rehearse.group_expiry:INTERMEDIATE_EXPIRY",
        "group-breach": "local.rehearse.group_breach:INTERMEDIATE_BREACH",
        "root-expiry": "local.rehearse.group_expiry:ROOT_EXPIRY",
        "root-breach": "local.rehearse.group_breach:ROOT_BREACH",
    }
)
"""Module and, where it is not `SCENARIO`, the name in it."""
LOOK_S = 0.3
NAMED_MOST = 8
"""Devices that one line names."""


class UnknownScenario(ValueError):
    """There is no scenario of this name; the text lists those there are."""


class ScenarioFailed(Exception):
    """The scenario cannot go on; the text is one line that says what did not happen."""


@dataclass(frozen=True)
class Phase:
    """A part of a scenario. `began` and `ended` are seconds since 1970, real time; `clock` is what the clock said."""

    name: str
    began: float
    ended: float
    clock: datetime


@dataclass
class Found:
    """What a scenario saw with its own eyes; what the journal says is added in the report."""

    newest: dict[str, str] = field(default_factory=dict)
    """Registration ID → SHA-256 thumbprint of the certificate the device must end on."""
    rollovers: dict[str, int] = field(default_factory=dict)
    """Registration ID → how many rollovers the app reports as done."""
    slots: dict[str, list[str]] = field(default_factory=dict)
    """Registration ID → the slot of the certificate in use, at the start and after each rollover."""
    problems: list[str] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    thefts: list[Theft] = field(default_factory=list)
    group: GroupRoll | None = None
    mishap: Mishap | None = None


class Scenario(Protocol):
    """A module's `SCENARIO` is one of these."""

    name: str
    title: str
    rollovers: int
    """How often each device must have rolled at the end."""
    proves: str
    """What the report says that a good run shows, and does not: two sentences."""

    def members(self) -> Sequence["Member"]:
        """The fleet it needs."""

    def run(self, stage: "Stage") -> None:
        """Play it, from an empty Azure and a fleet that is switched off.

        ScenarioFailed when it cannot go on; what is wrong but lets it go on is noted in `stage.found`.
        """


def load(name: str) -> Scenario:
    """The scenario of this name; UnknownScenario otherwise."""
    if name not in MODULES:
        raise UnknownScenario(f"there is no scenario {name!r}; there are: {', '.join(MODULES)}")
    module, _, attribute = MODULES[name].partition(":")
    scenario: Scenario = getattr(import_module(module), attribute or "SCENARIO")
    return scenario


class Stage:
    """What a scenario plays on."""

    def __init__(
        self,
        document: Mapping[str, Any],
        operator: "Operator",
        on_call: "OnCall",
        fleet: "Fleet",
        clock: "MovedClock",
        screen: "Screen",
        died: Callable[[], str | None],
    ) -> None:
        self.document = document
        self.operator = operator
        self.on_call = on_call
        self.fleet = fleet
        self.clock = clock
        self.screen = screen
        self.found = Found()
        self._died = died
        self._entries: list[dict[str, Any]] = []
        self._read_at = time.time()

    def facts(self) -> list[DeviceFacts]:
        """What the stand-in's journal says of each device, up to when it was last read.

        Or up to when its key, or the key of its group's CA, was stolen.
        """
        group = self.found.group
        addresses = {one.address for one in self.found.thefts} | ({group.address} if group else set())
        own = by_device(without(self._entries, addresses))
        return [self._facts(name, own.get(name.casefold(), [])) for name in self.fleet.registration_ids]

    def _facts(self, name: str, own: Sequence[Entry]) -> DeviceFacts:
        until = min((one.began for one in self.found.thefts if one.registration_id == name), default=self._read_at)
        if self.found.group is not None and self.found.group.plan == BREACH:
            until = min(until, self.found.group.began)
        return facts_of([entry for entry in own if entry["wall"] < until], [name], until)[0]

    def theft_facts(self) -> list[TheftFacts]:
        """What the journal says of each key that was stolen."""
        return [theft_facts(self._entries, theft, self._read_at) for theft in self.found.thefts]

    def group_facts(self) -> GroupFacts | None:
        """What the journal says of the group whose CA is rolled, up to when it was last read."""
        group = self.found.group
        if group is None:
            return None
        return group_facts(self._entries, group, self.fleet.registration_ids, self._read_at)

    def mishap_facts(self) -> MishapFacts | None:
        """What the journal says of the vault's events, where the scenario had them maltreated."""
        return None if self.found.mishap is None else mishap_facts(self._entries, self.found.mishap)

    def read_journal(self) -> None:
        """Take in what the stand-in noted since the last time."""
        self._entries += self.operator.journal(self._entries[-1]["seq"] if self._entries else 0)
        self._read_at = time.time()

    @contextmanager
    def phase(self, name: str, clock: datetime | None = None) -> Iterator[None]:
        """One part of the scenario; moves the clock to `clock` at its beginning."""
        began = time.time()
        if clock is not None:
            self.clock.move_to(clock)
        now = self.clock.now()
        self.screen.phase(name, now)
        try:
            yield
        finally:
            self.found.phases.append(Phase(name, began, time.time(), now))

    def wait_for(
        self, what: str, done: Callable[[], set[str]], within_s: float = 60.0, names: Sequence[str] | None = None
    ) -> None:
        """Wait until `done` gives every device of `names`, or of the fleet.

        ScenarioFailed, naming the others, after `within_s`.
        """
        wanted = set(self.fleet.registration_ids if names is None else names)
        deadline = time.monotonic() + within_s
        while True:
            missing = wanted - done()
            self.screen.progress(what, len(wanted) - len(missing), len(wanted))
            if not missing:
                return
            if reason := self._died():
                raise ScenarioFailed(reason)
            if time.monotonic() > deadline:
                raise ScenarioFailed(f"{what}: not within {within_s:g} s for {_listed(missing)}")
            time.sleep(LOOK_S)


def _listed(names: set[str]) -> str:
    first = sorted(names)[:NAMED_MOST]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    return ", ".join(first) + more
