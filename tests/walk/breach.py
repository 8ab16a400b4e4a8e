"""The walk of the breach plans: who calls, who steals, what interferes, and how it ends when the world is kind.

A person's hand in DPS or at the hub breaks what the product promised, so I3 is then checked only where the product
says "contained" anew.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from shared.errors import Unsuitable
from shared.plans import PLANS, Plan
from shared.resuming import resume_due
from shared.rollover import Outcome, Rollover
from tests.walk.breach_model import LIMIT, MOMENT, BreachState, not_moved_in_time
from tests.walk.breach_moves import (
    AGAIN,
    ALLOW,
    APPROVE,
    CALL,
    CANCEL,
    DISALLOW,
    HANDS,
    OTHER_CALL,
    RETRY,
    VAULT,
    call,
    do_again,
    do_allow,
    do_approve,
    do_cancel,
    do_disallow,
    do_retry,
    event,
)
from tests.walk.breach_services import NEXT
from tests.walk.explore import ANYTHING, Job, Move, Rules, Touch, nudged, touch
from tests.walk.model import CERTIFICATE, NAME, NEW, Broken

# --- time, queues, devices --------------------------------------------------------------------------------------


def _later(state: BreachState) -> None:
    rollover = state.rollover()
    if rollover and rollover.due_at:
        state.pass_until(rollover.due_at)


def _hours(state: BreachState) -> None:
    state.pass_until(state.clock.time + timedelta(hours=13))


def _limit(state: BreachState) -> None:
    rollover = state.rollover()
    if rollover is not None:
        state.pass_until(rollover.started_at + LIMIT + MOMENT)


def _timer(state: BreachState) -> None:
    resume_due(state.services)


def _late_nudge(state: BreachState) -> None:
    """A nudge of the rollover before this one, or of one that was cancelled."""
    for old in state.services.ledger.rollovers(NAME):
        if old.outcome in (Outcome.PREEMPTED, Outcome.CANCELLED):
            step = next(step for step in PLANS[old.plan] if step not in old.done)
            state.deliver((step, old.id), state.tape)


def _devices(state: BreachState) -> dict[str, Move]:
    found: dict[str, Any] = {}
    for one in sorted(state.stolen):
        number = sorted(state.stolen).index(one) + 1
        if state.under_way is None and state.admits(one):
            found[f"the thief begins to register ({number})"] = lambda s, c=one: s.begin_registration(c)
        if state.accepts(one) and state.hub.sessions.get(NAME) != one:
            found[f"the thief connects ({number})"] = lambda s, c=one: s.connect(c)
    if state.under_way is not None:
        found["the registration under way ends"] = lambda s: s.end_registration()
    if mine := next((one for one in state.own() if state.admits(one)), None):
        found["the device registers"] = lambda s, c=mine: s.register(c)
    if mine := next((one for one in state.own() if state.accepts(one)), None):
        found["the device connects"] = lambda s, c=mine: s.connect(c)
    return found


def touched(name: str) -> Touch:
    """What the moves of devices touch. A registration that has begun is seen by nobody."""
    if "begins to register" in name:
        return touch("dps", "truth")
    if "connects" in name:
        return touch("hub", "hub truth")
    ends = ("the registration under way ends", "the device registers")
    return touch("dps vault", "registrations hub truth") if name in ends else ANYTHING


def rules(budget: int) -> Rules:
    """The breach plans, with so many hands and mishaps of the vault on a path; with none, runs are killed instead."""

    def moves(state: BreachState) -> Mapping[str, Move]:
        rollover, knobs = state.rollover(), state.knobs
        found: dict[str, Any] = dict(_devices(state))
        if rollover is not None and rollover.outcome is None:
            found |= {"time passes": _later, "hours pass": _hours, "the limit passes": _limit, "the timer": _timer}
        if rollover is not None and rollover.status == "awaiting_approval":
            found[APPROVE] = do_approve
        found["an event"] = event
        if rollover is not None and not rollover.id.endswith(".1"):
            found["a late nudge"] = _late_nudge
        if knobs.shows_late:
            found["the hub shows that a session ended"] = lambda s: s.hub.show(NAME)
        if not knobs.vault_renews:
            found["a newer version"] = VAULT["a newer version"]
        found |= _operations(state, rollover)
        mishaps = state.spent & {*HANDS, *VAULT}
        if state.tokens and len(mishaps) < budget:
            found |= {name: move for name, move in {**HANDS, **VAULT}.items() if name not in state.spent}
        return found

    def races(state: BreachState) -> Mapping[str, Move]:
        return {**_devices(state), **_operations(state, state.rollover()), **_calls(state)}

    spending = frozenset({*HANDS, *VAULT, CALL, OTHER_CALL, CANCEL, RETRY, DISALLOW, ALLOW})
    return Rules(moves, _jobs, races, spending, check, touched, kills=not budget)  # type: ignore[arg-type]


def _operations(state: BreachState, rollover: Rollover | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if state.knobs.operated and rollover is not None and state.tokens:
        if CANCEL not in state.spent and rollover.outcome is None:
            found[CANCEL] = do_cancel
        if RETRY not in state.spent and rollover.outcome in (Outcome.CANCELLED, Outcome.NEEDS_PERSON):
            found[RETRY] = do_retry
    return found


def _calls(state: BreachState) -> dict[str, Any]:
    knobs = state.knobs
    if knobs.plan is Plan.DISALLOW:
        rollover = state.rollover()
        found: dict[str, Any] = {} if rollover and rollover.plan is Plan.ALLOW else {DISALLOW: do_disallow}
        return found | ({ALLOW: do_allow} if DISALLOW in state.spent else {})
    found = {} if CALL in state.spent else {CALL: call(knobs.mode)}
    if CALL in state.spent and knobs.second_call and OTHER_CALL not in state.spent:
        found[OTHER_CALL] = call(knobs.second_call)
    return found


def _jobs(state: BreachState) -> list[Job]:
    found = [Job(name, move) for name, move in _calls(state).items()]
    if state.tokens and state.knobs.plan is Plan.BREACH:
        found.append(Job(AGAIN, do_again))  # type: ignore[arg-type]
    return found + nudged(state)


# --- the end ----------------------------------------------------------------------------------------------------


def settle(state: BreachState, known: dict, *, thief: bool) -> str:  # type: ignore[type-arg]
    """The world is kind, but perhaps for the thief, who tries again and again: how it ends."""
    kind, passed = state.clone(), []
    end = ""
    for turn in range(90):
        rollover = kind.rollover()
        key = (thief, kind.key()) if turn < 40 else None
        if rollover is None or rollover.outcome is not None:
            end = _ended(kind, rollover)
        elif key in known:
            end = known[key]
        if end:
            break
        passed.append(key)
        kind.bag = []
        if rollover.awaits_approval:
            _told_no(kind, do_approve)
        elif rollover.due_at is not None:
            kind.pass_until(rollover.due_at)
        if turn > 40:  # it waits for something that will not come
            kind.pass_until(kind.clock.time + timedelta(days=1 if turn < 60 else 30))
        _kind_turn(kind, rollover, thief=thief)
    if not end:
        last = kind.rollover()
        raise Broken(f"I4: no end is reached; it waits for {last.waiting_for!r} at {last.next_step}" if last else "I4")
    known.update((key, end) for key in passed if key is not None)
    return end


def _told_no(kind: BreachState, move: Any) -> None:
    try:
        move(kind)
    except Unsuitable:
        kind.pass_until(kind.clock.time + timedelta(hours=1))  # too late


def _kind_turn(kind: BreachState, rollover: Rollover, *, thief: bool) -> None:
    _timer(kind)
    for nudge in list(kind.bag):
        kind.deliver(nudge)
    if (rollover.waiting_for or "").startswith(("contained, no", "no replacement")):
        kept = kind.vault.kept[CERTIFICATE]
        if (
            not kept.enabled
            or kept.versions[-1] not in (NEW, NEXT)
            or kept.versions[-1].sha256_thumbprint in kind.stolen
        ):
            kind.vault.add(CERTIFICATE, NEW, NEXT)
        event(kind)
    kind.hub.show(NAME)
    for one in sorted(kind.stolen) if thief else ():
        kind.register(one)
        kind.connect(one)
    asked, kind.hub.asked = kind.hub.asked, []
    session = kind.hub.sessions.get(NAME)
    mine = next((one for one in kind.own() if kind.admits(one)), None)
    if mine is not None and (asked or session is None):
        kind.register(mine)
    mine = next((one for one in kind.own() if kind.accepts(one)), None)
    if mine is not None:
        kind.connect(mine)


def _ended(kind: BreachState, rollover: Rollover | None) -> str:
    if rollover is None:
        return "not begun"
    if rollover.outcome is Outcome.NEEDS_PERSON and not rollover.next_action:
        raise Broken("I4: a person is needed and not told what for")
    ended = rollover.outcome.value if rollover.outcome else ""
    if "times and what it establishes still" in (rollover.outcome_reason or ""):
        return f"{ended} (gave up)"
    if "not registered with the replacement yet" in (rollover.outcome_reason or ""):
        return f"{ended} (not moved)"
    in_time = kind.clock.time < rollover.started_at + LIMIT
    return ended if in_time else f"{ended} (late)"


def check(state: BreachState, known: dict) -> str:  # type: ignore[type-arg]
    """What must hold in this state, and how it ends from here."""
    rollover = state.rollover()
    hands = state.spent & set(HANDS)
    if rollover is not None and rollover.contained and not hands and (found := state.exposed()):
        raise Broken(f"I3: contained is said, and {'; '.join(found)}")
    ends = [settle(state, known, thief=thief) for thief in (False, True)]
    interfered = state.spent & {*HANDS, *VAULT, CANCEL, ALLOW}
    breached = rollover is not None and rollover.plan is not Plan.EXPIRY and rollover.outcome is None
    late = rollover is not None and state.clock.time >= rollover.started_at + LIMIT - timedelta(days=2)
    fair = {"done", "done (late)", "needs_person (gave up)"}
    fair |= {"needs_person (late)"} if late else set()
    fair |= {"needs_person (not moved)"} if rollover and not_moved_in_time(rollover, state.clock.time) else set()
    fair |= {"refused", "refused (late)"} if state.knobs.fuse == 0 else set()
    if breached and not interfered and not fair.issuperset(ends):
        raise Broken(f"nothing went wrong and it ended as {' or '.join(ends)}")
    return ends[0]
