"""The walk over every reachable state of the group plans, for both kinds of anchor: I0 to I7.

Moves: kills after any write, lost answers, another run or a device slipping in before any write, lost, repeated and
late nudges; devices that register under either CA; a thief with the CA's key who registers, whose registration is
under way when the door is shut; the turns of the works on the devices, one device at a time; time; the vault; a
person's hand in the group and the CA certificates; a breach called out of any state of an expiry rollover.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from shared import decide_group, decide_group_breach
from shared.certificate import is_same
from shared.enrollment import Slot
from shared.fleet import FleetProgress
from shared.plans import Step
from shared.verdict import Act, AlreadyDone
from tests.walk.explore import Walk, stroll, walk
from tests.walk.group import called_while_a_thief_registers, rules, weigh
from tests.walk.group_model import GroupKnobs, GroupState, a_group_state

SEED = 20261125

pytestmark = pytest.mark.usefixtures("quiet")


@dataclass(frozen=True)
class Ground:
    """One setting of the world, and how far it is walked."""

    name: str
    knobs: GroupKnobs
    budget: int
    interrupts: bool


REFERENCE = {"by_reference": True}
WORLDS = {
    "expiry, a certificate in a slot": GroupKnobs(),
    "expiry, no mirroring, retired as soon as moved": GroupKnobs(mirror_primary=False, retire_when_moved=True),
    "expiry, a CA by name": GroupKnobs(**REFERENCE, retire_when_moved=True),
    "expiry, a CA by name, not shown by Resource Manager": GroupKnobs(**REFERENCE, shown=False, vouched=True),
    "expiry, a CA by name that another group names": GroupKnobs(**REFERENCE, shared_ca=True, retire_when_moved=True),
    "breach, a certificate in a slot": GroupKnobs(breach=True),
    "breach, a certificate in a slot, no mirroring": GroupKnobs(breach=True, mirror_primary=False),
    "breach, a CA by name": GroupKnobs(**REFERENCE, breach=True),
    "breach, a CA by name, not shown, not deleted while named": GroupKnobs(
        **REFERENCE, breach=True, shown=False, minds=True, vouched=True
    ),
    "breach, a certificate in a slot, the vault does not renew": GroupKnobs(breach=True, vault_renews=False),
    "breach, cancelled and retried": GroupKnobs(breach=True, operated=True),
    "breach out of an expiry rollover, by name": GroupKnobs(**REFERENCE, breach=True, calm=False, vouched=True),
    "breach out of an expiry rollover, in a slot": GroupKnobs(breach=True, calm=False),
}
GROUNDS = [
    *(Ground(f"{name}; every race", knobs, 0, interrupts=True) for name, knobs in WORLDS.items()),
    *(Ground(f"{name}; a hand interferes", knobs, 1, interrupts=False) for name, knobs in WORLDS.items()),
]


@pytest.mark.proof
@pytest.mark.parametrize("ground", GROUNDS, ids=lambda g: g.name)
def test_a_group_keeps_the_invariants_in_every_state_and_leads_to_an_end(ground: Ground, whole: bool) -> None:
    """The whole walk with --proof; else its first state, and a random path beyond it."""
    how, interrupts, start = rules(ground.budget), ground.interrupts, a_group_state(ground.knobs)
    result = walk(start, how, interrupts=interrupts, limit=None if whole else 1)  # type: ignore[arg-type]
    if not whole:
        if ground.knobs.breach and ground.knobs.calm:
            start = called_while_a_thief_registers(start)
        stroll(start, how, result, interrupts=interrupts, paths=1, length=12, seed=SEED, weigh=weigh)  # type: ignore[arg-type]
    print(
        f"\n{ground.name}: {result.states} states, {result.runs} moves, ends {result.ends}, {len(result.broken)} broken"
    )
    assert not result.broken, "\n".join(result.broken)


# --- a walk that cannot fail proves nothing ---------------------------------------------------------------------


def _noticed(words: str, knobs: GroupKnobs, *, paths: int = 10) -> bool:
    """Whether some random paths find it broken, in these words."""
    result = Walk()
    for seed in range(paths):
        start = a_group_state(knobs)
        start = called_while_a_thief_registers(start) if knobs.breach else start
        stroll(start, rules(0), result, interrupts=False, paths=1, length=50, seed=seed, weigh=weigh)  # type: ignore[arg-type]
        if any(words in broken for broken in result.broken):
            return True
    return False


BREACH, EXPIRY = GroupKnobs(breach=True), GroupKnobs(retire_when_moved=True)


def _claims(monkeypatch: pytest.MonkeyPatch, step: Step, decision: Any) -> None:
    monkeypatch.setattr(decide_group_breach, "_DECISIONS", {**decide_group_breach._DECISIONS, step: decision})


def test_the_walk_notices_a_containment_that_is_only_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """verify_containment that always says done."""
    _claims(monkeypatch, Step.VERIFY_CONTAINMENT, lambda *_: AlreadyDone("it is so"))
    assert _noticed("I3: it says contained", BREACH)


def test_the_walk_notices_that_nothing_is_given_time_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices are looked at again before what was under way has come to the hub."""
    settings, none = GroupState.settings, timedelta()
    monkeypatch.setattr(
        GroupState, "settings", lambda s: replace(settings(s), policy=replace(settings(s).policy, settle=none))
    )
    assert _noticed("I3: it says contained", BREACH, paths=20)


def test_the_walk_notices_an_eviction_that_does_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    """remove_hub_registration that trusts the disabled door, with no look afterwards."""
    _claims(monkeypatch, Step.REMOVE_HUB_REGISTRATION, lambda *_: AlreadyDone("the door is shut"))
    _claims(monkeypatch, Step.VERIFY_CONTAINMENT, lambda *_: AlreadyDone("the door is shut"))
    assert _noticed("I3: it says contained", BREACH)


def test_the_walk_notices_a_group_that_is_enabled_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enabled before the stolen CA is out of its slots."""
    _claims(monkeypatch, Step.DELETE_PRIMARY, lambda *_: AlreadyDone("later"))
    _claims(
        monkeypatch,
        Step.ENABLE_ENROLLMENT,
        lambda _r, _i, group, *_: AlreadyDone("open") if group.enabled else Act("opens", {"do": "enrollment"}),
    )
    assert _noticed("enabled while it trusts what is stolen", BREACH)


def test_the_walk_notices_an_outgoing_ca_that_is_retired_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retired when the devices were asked, whoever moved."""
    monkeypatch.setattr(FleetProgress, "complete", property(lambda progress: progress.listed))
    assert _noticed("I2: the outgoing CA is retired and too few devices moved", EXPIRY)


def test_the_walk_notices_an_incoming_ca_that_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named when it is there, verified or not; not every DPS refuses that."""
    there = lambda certificate, seen: next((a for a in seen.authorities if is_same(a, certificate)), None)  # noqa: E731
    monkeypatch.setattr(decide_group, "verified_reference", there)
    monkeypatch.setattr(decide_group, "broken_links", lambda *_: [])
    assert _noticed("asked to move to what DPS does not let them in by", replace(EXPIRY, by_reference=True))


def test_the_walk_notices_a_group_that_is_left_with_nothing_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that stands for no CA certificate takes the place of the stolen one."""
    nobody = Act("a name", {"slot": Slot.PRIMARY, "name": "nobody"})
    _claims(monkeypatch, Step.UPLOAD_SECONDARY, lambda *_: nobody)
    assert _noticed("I1: the group is left without anything that it trusts", replace(BREACH, by_reference=True))
