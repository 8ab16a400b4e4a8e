"""The walk over every reachable state of the breach plans, of preemption and of cancel: I0 to I7 but I2.

Moves besides those of the expiry walk: a thief who registers, whose registration is under way when the door is shut,
who connects and stays connected; a call out of any state of an open expiry rollover, confirmed again, or in another
mode; cancel, retry, approve, disallow, allow; a person's hand in DPS or at the hub; the vault.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from shared import decide_breach, hub_effects
from shared.enrollment import Removed
from shared.incident import Mode
from shared.plans import PLANS, Plan, Step
from shared.rollover import Outcome, Rollover
from shared.verdict import Act, AlreadyDone
from tests.walk.breach import rules
from tests.walk.breach_model import BreachKnobs, BreachState, a_breached_state
from tests.walk.explore import Walk, stroll, walk

SEED = 20261125
DISABLE, REPROVISION = Mode.DISABLE, Mode.REPROVISION


pytestmark = pytest.mark.usefixtures("quiet")


def _modes(name: str, knobs: BreachKnobs) -> dict[str, BreachKnobs]:
    return {f"{name}, {mode}": replace(knobs, mode=mode) for mode in Mode}


WORLDS = {
    **_modes("one certificate", BreachKnobs()),
    **_modes("two certificates, both stolen, no mirroring", BreachKnobs(stolen="both", mirror_primary=False)),
    **_modes("the secondary is stolen, the hub gets both", BreachKnobs(stolen="secondary", hub_slots="enrollment")),
    **_modes("policy never, thumbprint not refreshed", BreachKnobs(refreshes=False)),
    **_modes("a registration enables the identity", BreachKnobs(reenables=True)),
    **_modes("out of an expiry rollover", BreachKnobs(calm=False)),
    **_modes("out of an expiry rollover, all is stolen", BreachKnobs(calm=False, stolen="all", mirror_primary=False)),
    **_modes("cancelled and retried", BreachKnobs(operated=True)),
    "the hub shows sessions late, remove": BreachKnobs(shows_late=True),
    "the hub shows sessions late, disable": BreachKnobs(shows_late=True, mode=DISABLE),
    "the vault does not renew, remove": BreachKnobs(vault_renews=False),
    "a second person approves, remove": BreachKnobs(fuse=0),
    "remove, then disable": BreachKnobs(second_call=DISABLE),
    "remove, then reprovision": BreachKnobs(second_call=REPROVISION),
    "disable, then remove": BreachKnobs(mode=DISABLE, second_call=Mode.REMOVE),
    "reprovision, then remove": BreachKnobs(mode=REPROVISION, second_call=Mode.REMOVE),
    "disallowed and allowed": BreachKnobs(plan=Plan.DISALLOW, mode=DISABLE, operated=True, reenables=True),
}


@dataclass(frozen=True)
class Ground:
    """One setting of the world, and how far it is walked."""

    name: str
    knobs: BreachKnobs
    budget: int
    interrupts: bool


HANDS_IN = ("one certificate", "two certificates", "a registration enables", "disallowed")
GROUNDS = [
    *(Ground(f"{name}; every race", knobs, 0, interrupts=True) for name, knobs in WORLDS.items()),
    *(
        Ground(f"{name}; a hand interferes", knobs, 1, interrupts=False)
        for name, knobs in WORLDS.items()
        if name.startswith(HANDS_IN)
    ),
]


@pytest.mark.proof
@pytest.mark.parametrize("ground", GROUNDS, ids=lambda g: g.name)
def test_a_breach_keeps_the_invariants_in_every_state_and_leads_to_an_end(ground: Ground, whole: bool) -> None:
    """The whole walk with --proof; else its first states, breadth first, and a random path beyond them."""
    start, how = a_breached_state(ground.knobs), rules(ground.budget)
    result = walk(start, how, interrupts=ground.interrupts, limit=None if whole else 2 - ground.interrupts)
    if not whole:
        stroll(start, how, result, interrupts=ground.interrupts, paths=1, length=10, seed=SEED)
    print(
        f"\n{ground.name}: {result.states} states, {result.runs} moves, ends {result.ends}, {len(result.broken)} broken"
    )
    assert not result.broken, "\n".join(result.broken)


# --- a walk that cannot fail proves nothing ---------------------------------------------------------------------


def _noticed(words: Iterable[str], knobs: BreachKnobs | None = None, limit: int = 500) -> bool:
    """Whether a short walk finds it broken, in these words."""
    result: Walk = walk(a_breached_state(knobs or BreachKnobs()), rules(0), interrupts=False, limit=limit, enough=1)
    return any(word in broken for broken in result.broken for word in words)


def test_the_walk_notices_a_containment_that_is_only_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """verify_containment that always says done."""
    claim = {**decide_breach._DECISIONS, Step.VERIFY_CONTAINMENT: lambda *_: AlreadyDone("it is so")}
    monkeypatch.setattr(decide_breach, "_DECISIONS", claim)
    assert _noticed(["I3: it says contained"])


def test_the_walk_notices_that_nothing_is_given_time_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A containment stated at the first look."""
    settings = BreachState.settings
    none = timedelta()
    monkeypatch.setattr(
        BreachState, "settings", lambda s: replace(settings(s), policy=replace(settings(s).policy, settle=none))
    )
    assert _noticed(["I3: it says contained"])


def test_the_walk_notices_a_twin_that_is_kept_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity is deleted first."""

    def remove(rollover, identity, services):  # type: ignore[no-untyped-def]
        twin = services.hub.twin(identity.device_id)
        services.hub.delete(identity)
        services.ledger.keep_removed(rollover.id, Removed(services.now(), identity.generation, False, twin))

    monkeypatch.setattr(hub_effects, "remove", remove)
    assert _noticed(["deleted before its twin is kept"])


def test_the_walk_notices_a_twin_that_a_later_one_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of an identity that a late registration made anew is kept over the one from before."""

    def remove(rollover, identity, services):  # type: ignore[no-untyped-def]
        twin = services.hub.twin(identity.device_id)
        services.ledger.keep_removed(rollover.id, Removed(services.now(), identity.generation, False, twin))
        services.hub.delete(identity)

    monkeypatch.setattr(hub_effects, "remove", remove)
    assert _noticed(["not the one from before the breach"])


def test_the_walk_notices_an_enrollment_that_is_enabled_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enabled before the stolen certificate is out of its slots."""
    order = PLANS[Plan.BREACH]
    early = tuple(s for s in order if s is not Step.DELETE_PRIMARY)
    at = early.index(Step.ENABLE_ENROLLMENT) + 1
    monkeypatch.setitem(PLANS, Plan.BREACH, (*early[:at], Step.DELETE_PRIMARY, *early[at:]))  # type: ignore[arg-type]
    claim = {
        **decide_breach._DECISIONS,
        Step.ENABLE_ENROLLMENT: lambda _r, _i, seen, _p: (
            AlreadyDone("open") if seen.enrollment.enabled else Act("opens", {"do": "enrollment"})
        ),
    }
    monkeypatch.setattr(decide_breach, "_DECISIONS", claim)
    assert _noticed(["enabled while a slot holds"], limit=800)


def test_the_walk_notices_that_a_broken_containment_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``_broken`` a registration that was under way stays at the hub."""
    monkeypatch.setattr(decide_breach, "_broken", lambda *_: None)
    assert _noticed(["nothing went wrong and it ended", "I4"])


def test_the_walk_notices_a_preempted_rollover_that_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nudge of it comes late."""

    def next_step(self: Rollover) -> Step | None:
        if self.outcome not in (None, Outcome.PREEMPTED):
            return None
        return next((step for step in PLANS[self.plan] if step not in self.done), None)

    monkeypatch.setattr(Rollover, "next_step", property(next_step))
    assert _noticed(["a rollover that is preempted acts"], BreachKnobs(calm=False))
