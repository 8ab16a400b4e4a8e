"""The walk over every reachable state of the expiry plan: invariants I0, I1, I2, I4, I6 and I7 of the design.

Moves: duplicate, late and lost nudges; a kill before and after any write; a lost answer; another nudge, the device or
a person slipping in before any write; the device moving or falling back; time; a newer vault version; a person
editing the enrollment or deleting the identity. I6 (ETags) is asserted by the in-memory services at every write.
"""

from dataclasses import dataclass

import pytest

from shared.enrollment import Enrollment
from shared.plans import PLANS, Plan
from tests.walk.expiry import rules
from tests.walk.explore import stroll, walk
from tests.walk.model import Knobs, a_state

SEED = 20261124


pytestmark = pytest.mark.usefixtures("quiet")


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
    start, how = a_state(ground.knobs), rules(ground.budget)
    result = walk(start, how, interrupts=ground.interrupts, limit=None if whole else 120)
    if not whole:
        stroll(start, how, result, interrupts=ground.interrupts, paths=12, length=30, seed=SEED)
    print(f"\n{ground.name}: {result.states} states, {result.runs} moves, ends {result.ends}")
    assert not result.broken, "\n".join(result.broken)
    assert result.ends.get("done")


def test_the_walk_notices_when_the_outgoing_certificate_is_retired_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that cannot fail proves nothing: without the guard of ``has_moved`` it must."""
    monkeypatch.setattr("shared.decide_expiry.has_moved", lambda *_: True)
    result = walk(a_state(Knobs(retire_when_moved=True)), rules(0), interrupts=False, limit=400)
    assert any("I2" in broken or "I0" in broken for broken in result.broken)


def test_the_walk_notices_when_the_other_slot_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest error of all: a PUT built from scratch drops the other slot."""
    keep = Enrollment.body_with

    def forget(self: Enrollment, slot, certificate):  # type: ignore[no-untyped-def]
        body = keep(self, slot, certificate)
        body["attestation"]["x509"]["clientCertificates"][slot.other.value] = None
        return body

    monkeypatch.setattr(Enrollment, "body_with", forget)
    result = walk(a_state(Knobs()), rules(0), interrupts=False, limit=400)
    assert any("I2" in broken for broken in result.broken)


def test_the_walk_notices_a_step_that_claims_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that always says "already done" must not go unnoticed."""
    from shared import decide_expiry
    from shared.verdict import AlreadyDone

    monkeypatch.setattr(decide_expiry, "_delete_primary", lambda *_: AlreadyDone("it is so"))
    result = walk(a_state(Knobs()), rules(0), interrupts=False, limit=400)
    assert any("I0" in broken for broken in result.broken)


def test_every_step_of_the_plan_is_walked() -> None:
    """The model has an effect for each step, so none is left out of the walk."""
    from tests.walk.model import EFFECTS

    assert set(EFFECTS) == set(PLANS[Plan.EXPIRY])
