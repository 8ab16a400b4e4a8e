"""The walk over every reachable state of the group plans, for both kinds of anchor: I0 to I7.

Moves: kills before and after any write, lost answers, another run or a device slipping in before any write, lost,
repeated and late nudges; devices that register under either CA; a thief with the CA's key who registers, whose
registration is under way when the door is shut; the turns of the works on the devices, one device at a time; time; the
vault; a person's hand in the group and the CA certificates; a breach called out of any state of an expiry rollover.
"""

from dataclasses import dataclass

import pytest

from tests.walk.explore import stroll, walk
from tests.walk.group import rules
from tests.walk.group_model import GroupKnobs, a_group_state

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
    """The whole walk with --proof; else its first states, breadth first, and a random path beyond them."""
    start, how = a_group_state(ground.knobs), rules(ground.budget)
    result = walk(start, how, interrupts=ground.interrupts, limit=None if whole else 2)  # type: ignore[arg-type]
    if not whole:
        stroll(start, how, result, interrupts=ground.interrupts, paths=1, length=12, seed=SEED)  # type: ignore[arg-type]
    print(
        f"\n{ground.name}: {result.states} states, {result.runs} moves, ends {result.ends}, {len(result.broken)} broken"
    )
    assert not result.broken, "\n".join(result.broken)
