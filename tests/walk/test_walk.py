"""The walk over every reachable state of the expiry plan: invariants I0, I1, I2, I4, I6 and I7 of the design.

Moves: duplicate, late and lost nudges; a kill before and after any write; a lost answer; another nudge, the device or
a person slipping in before any write; the device moving or falling back; time; a newer vault version; a person
editing the enrollment or deleting the identity. I6 (ETags) is asserted by the in-memory services at every write.
"""

import logging
import random
from dataclasses import dataclass

import pytest

from shared.enrollment import Enrollment
from shared.rollover import PLANS, Plan
from tests.walk.explore import Walk, check_end, settle, successors, walk
from tests.walk.model import Knobs, State, a_state

SEED = 20261124


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("rollover").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Ground:
    """One setting of the world, and how far it is walked."""

    name: str
    knobs: Knobs
    budget: int
    interrupts: bool


WORLDS = {
    "as recorded": Knobs(),
    "retired as soon as moved": Knobs(retire_when_moved=True),
    "no mirroring": Knobs(mirror_primary=False),
    "the hub gets the enrollment's two certificates": Knobs(hub_slots="enrollment"),
    "policy never, thumbprint not refreshed": Knobs(refreshes=False),
}
GROUNDS = [
    *(Ground(f"{name}; every race", knobs, 0, interrupts=True) for name, knobs in WORLDS.items()),
    *(
        Ground(f"{name}; a person or the vault interferes", knobs, 1, interrupts=False)
        for name, knobs in WORLDS.items()
    ),
]


@pytest.mark.proof
@pytest.mark.parametrize("ground", GROUNDS, ids=lambda g: g.name)
def test_every_reachable_state_keeps_the_invariants_and_leads_to_an_end(ground: Ground, whole: bool) -> None:
    """The whole walk with --proof; else its first states, breadth first, and random paths beyond them."""
    start = a_state(ground.knobs)
    if whole:
        result = walk(start, budget=ground.budget, interrupts=ground.interrupts)
    else:
        result = walk(start, budget=ground.budget, interrupts=ground.interrupts, limit=120)
        _stroll(start, ground, result, paths=12, length=30)
    print(f"\n{ground.name}: {result.states} states, {result.runs} moves, ends {result.ends}")
    assert not result.broken, "\n".join(result.broken)
    assert result.ends.get("done")


def _stroll(start: State, ground: Ground, result: Walk, *, paths: int, length: int) -> None:
    """Random paths, seeded: they get deeper than the first states of a breadth-first walk."""
    chance = random.Random(SEED)
    for _ in range(paths):
        state, path = start, ["start"]
        for _ in range(length):
            ways = list(successors(state, budget=ground.budget, interrupts=ground.interrupts))
            name, state = chance.choice(ways)
            path.append(name)
            result.states += 1
            try:
                check_end(state, settle(state))
            except AssertionError as error:
                result.broken.append(f"{error} | {' > '.join(path)}")
                return


def test_the_walk_notices_when_the_outgoing_certificate_is_retired_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that cannot fail proves nothing: without the guard of ``has_moved`` it must."""
    monkeypatch.setattr("shared.decide_expiry.has_moved", lambda *_: True)
    result = walk(a_state(Knobs(retire_when_moved=True)), budget=0, interrupts=False, limit=400)
    assert any("I2" in broken or "I0" in broken for broken in result.broken)


def test_the_walk_notices_when_the_other_slot_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest error of all: a PUT built from scratch drops the other slot."""
    keep = Enrollment.body_with

    def forget(self: Enrollment, slot, certificate):  # type: ignore[no-untyped-def]
        body = keep(self, slot, certificate)
        body["attestation"]["x509"]["clientCertificates"][slot.other.value] = None
        return body

    monkeypatch.setattr(Enrollment, "body_with", forget)
    result = walk(a_state(Knobs()), budget=0, interrupts=False, limit=400)
    assert any("I2" in broken for broken in result.broken)


def test_the_walk_notices_a_step_that_claims_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that always says "already done" must not go unnoticed."""
    from shared import decide_expiry
    from shared.rollover import AlreadyDone

    monkeypatch.setattr(decide_expiry, "_delete_primary", lambda *_: AlreadyDone("it is so"))
    result = walk(a_state(Knobs()), budget=0, interrupts=False, limit=400)
    assert any("I0" in broken for broken in result.broken)


def test_every_step_of_the_plan_is_walked() -> None:
    """The model has an effect for each step, so none is left out of the walk."""
    from tests.walk.model import EFFECTS

    assert set(EFFECTS) == set(PLANS[Plan.EXPIRY])
