"""The walk of the group plans: who calls, who steals, what interferes, and how it ends when the world is kind."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.operating import cancel, retry
from shared.plans import PLANS, Step
from shared.resuming import resume_due
from shared.rollover import Outcome, Rollover
from shared.starting import start_rollover
from tests.fakes import somebody
from tests.walk.explore import ANYTHING, Job, Move, Rules, Touch, nudged, touch
from tests.walk.group_model import (
    CERTIFICATE,
    FLEET,
    GROUP,
    LIMIT,
    MADE,
    NEW,
    NEXT,
    OLD,
    STRANGER,
    GroupState,
)
from tests.walk.model import Broken

ONCALL = somebody("oncall", Role.BREACH_EXECUTE)
CALL, AGAIN = "a breach is called", "the call is confirmed again"
CANCEL, RETRY = "a person cancels", "a person retries"

# --- people, time, queues, devices --------------------------------------------------------------------------------


def _call(state: GroupState) -> None:
    trusted = set(state.trusted()) - {"-", "?"}
    # What is stolen is what the call names: of anything else the product is told nothing.
    state.stolen |= {"o"} if "o" in trusted else trusted
    state.previewing = True
    try:
        asked = {"enrollment_group": GROUP, "reason": "copied"}
        if "o" in trusted:
            asked = {"thumbprint": OLD.sha1_thumbprint, "reason": "copied"}
        found = preview(asked, ONCALL, state.services)
    finally:
        state.previewing = False
    if [one["enrollment_group"] for one in found["targets"]] == [GROUP]:
        state.token = found["confirm_token"]
        confirm({"confirm": state.token, "accept_escape_routes": ["group h"]}, ONCALL, state.services)


def _again(state: GroupState) -> None:
    confirm({"confirm": state.token}, ONCALL, state.services)


def _on(do: Any) -> Any:
    def move(state: GroupState) -> None:
        if (rollover := state.rollover()) is not None:
            do(rollover.id, state)

    return move


def event(state: GroupState) -> None:
    last = state.rollover()
    if last is None and state.knobs.breach and state.knobs.calm:
        return  # an expiry rollover is for the other worlds
    if last is None or last.outcome is None or last.outcome is Outcome.NEEDS_PERSON:
        start_rollover(CERTIFICATE, "event", state.services)


def _later(state: GroupState) -> None:
    rollover = state.rollover()
    if rollover and rollover.due_at:
        state.pass_until(rollover.due_at)


def _limit(state: GroupState) -> None:
    rollover = state.rollover()
    if rollover is not None:
        began = max(rollover.outgoing.not_after, rollover.started_at) if rollover.plan.expires else rollover.started_at
        state.pass_until(began + LIMIT + timedelta(seconds=1))


def _expire(state: GroupState) -> None:
    state.pass_until(OLD.not_after + timedelta(minutes=1))


def _timer(state: GroupState) -> None:
    resume_due(state.services)


def _late_nudge(state: GroupState) -> None:
    for old in state.services.ledger.rollovers_of_group(GROUP):
        if old.outcome in (Outcome.PREEMPTED, Outcome.CANCELLED):
            step = next(step for step in PLANS[old.plan] if step not in old.done)
            state.deliver((step, old.id), state.tape)


def _devices(state: GroupState) -> dict[str, Any]:
    found: dict[str, Any] = {}
    fleet = FLEET[:1] if state.alike() else FLEET
    for device_id in fleet:
        for ca in state.own():
            if ca not in state.stolen and state.admits(ca) and state.leaf(device_id) != f"L-{ca}":
                found[f"{device_id} registers under {ca}"] = lambda s, d=device_id, c=ca: s.register(d, c)
    for ca in sorted(state.stolen):
        if state.under_way is None and state.admits(ca) and not state.thiefs():
            for device_id in (*fleet, MADE):
                move = lambda s, d=device_id, c=ca: s.begin_registration(d, c)  # noqa: E731
                found[f"the thief begins to register as {device_id}"] = move
    if state.under_way is not None:
        found["the registration under way ends"] = lambda s: s.end_registration()
    if state.working() is not None:
        found["the engine takes a turn"] = lambda s: s.turn()
    return found


REGISTERS, BEGINS, TURN = touch("dps vault", "hub truth"), touch("dps", "truth"), touch("", "hub fleet table truth")


def touched(name: str) -> Touch:
    """What these moves touch. A registration that has begun is seen by nobody; one that ends, at the hub alone."""
    if "registers under" in name:
        return REGISTERS
    if "begins to register" in name:
        return BEGINS
    return {"the registration under way ends": touch("", "hub truth"), "the engine takes a turn": TURN}.get(
        name, ANYTHING
    )


def called_while_a_thief_registers(state: GroupState) -> GroupState:
    """Where it matters: DPS has admitted the thief, the hub does not know it yet, and the breach is called."""
    state.begin_registration(MADE, "o")
    _call(state)
    state.spent |= {CALL}
    return state


# --- hands --------------------------------------------------------------------------------------------------------


def _edits(change: Any) -> Any:
    def edit(state: GroupState) -> None:
        body = state.dps.grouped.get(GROUP)
        if body is not None:
            group = state.dps.group(GROUP)
            new = change(state, group)
            if group is not None and new is not None:
                state.dps.replace_group(group, new)
        state.notice_door()

    return edit


def _clears(state: GroupState, group: Any) -> Any:
    from shared.enrollment import Slot

    held = group.references if group.by_reference else group.signing
    return group.body_without(Slot.SECONDARY) if held[Slot.PRIMARY] and held[Slot.SECONDARY] else None


def _puts(certificate: Any, name: str, slot: str) -> Any:
    from shared.enrollment import Slot

    def change(state: GroupState, group: Any) -> Any:
        if not group.by_reference:
            return group.body_with(Slot(slot), certificate)
        if not any(one.sha1_thumbprint == certificate.sha1_thumbprint for one in state.authorities.kept.values()):
            state.authorities.add(name, certificate)
        there = next(
            one.name for one in state.authorities.kept.values() if one.sha1_thumbprint == certificate.sha1_thumbprint
        )
        return group.body_naming(Slot(slot), there)

    return change


def _forgets(state: GroupState) -> None:
    """The CA certificate above the group's, or the incoming one, leaves the DPS by a person's hand."""
    names = [name for name in state.authorities.kept if state.knobs.by_reference is (name != "root")]
    if names:
        del state.authorities.kept[names[-1]]
    state.notice_door()


HANDS: dict[str, Any] = {
    "enables the group": _edits(lambda _, group: group.body_with_status(enabled=True)),
    "disables the group": _edits(lambda _, group: group.body_with_status(enabled=False)),
    "clears secondary": _edits(_clears),
    "puts a stranger into secondary": _edits(_puts(STRANGER, "ca-s", "secondary")),
    "puts what is outgoing into primary": _edits(_puts(OLD, "ca-o", "primary")),
    "deletes a CA certificate": _forgets,
    "deletes the group": lambda state: state.dps.grouped.pop(GROUP, None) and None,
}


def _adds(state: GroupState) -> None:
    state.vault.add(CERTIFICATE, NEW, NEXT)
    event(state)


VAULT: dict[str, Any] = {
    "a newer version": _adds,
    "the latest is disabled": lambda state: setattr(state.vault.kept[CERTIFICATE], "enabled", False),
    "the engine gives up": lambda state: state.give_up(),
}
"""And of the engine: what no person's hand is, and happens as often."""


def rules(budget: int) -> Rules:
    """The group plans, with so many hands and mishaps of the vault on a path; with none, runs are killed instead."""

    def moves(state: GroupState) -> Mapping[str, Move]:
        rollover = state.rollover()
        found: dict[str, Any] = _devices(state)
        if rollover is not None and rollover.outcome is None:
            found |= {"time passes": _later, "the limit passes": _limit, "the timer": _timer}
        if not state.knobs.breach or not state.knobs.calm:
            found["the outgoing CA expires"] = _expire
        found["an event"] = event
        if rollover is not None and not rollover.id.endswith(".1"):
            found["a late nudge"] = _late_nudge
        if not state.knobs.vault_renews:
            found["a newer version"] = _adds
        found |= _operations(state, rollover)
        mishaps = state.spent & {*HANDS, *VAULT}
        if rollover is not None and len(mishaps) < budget:
            found |= {name: move for name, move in {**HANDS, **VAULT}.items() if name not in state.spent}
        return found

    def races(state: GroupState) -> Mapping[str, Move]:
        return {**_devices(state), **_operations(state, state.rollover()), **_calls(state)}

    spending = frozenset({*HANDS, *VAULT, CALL, CANCEL, RETRY})
    return Rules(moves, _jobs, races, spending, check, touched, kills=not budget)  # type: ignore[arg-type]


def weigh(name: str) -> float:
    """A path that lets the product go on gets to every step; one that waits for the deadline ends at once."""
    if name in ("the limit passes", "the outgoing CA expires"):
        return 0.05
    goes_on = name in ("time passes", "the engine takes a turn") or name in tuple(Step)
    return 4.0 if goes_on else 1.0


def _operations(state: GroupState, rollover: Rollover | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if state.knobs.operated and rollover is not None:
        if CANCEL not in state.spent and rollover.outcome is None:
            found[CANCEL] = _on(lambda known, s: cancel(known, "a false alarm", ONCALL, s.services))
        if RETRY not in state.spent and rollover.outcome in (Outcome.CANCELLED, Outcome.NEEDS_PERSON):
            found[RETRY] = _on(lambda known, s: retry(known, "mended", (), ONCALL, s.services))
    return found


def _calls(state: GroupState) -> dict[str, Any]:
    return {CALL: _call} if state.knobs.breach and CALL not in state.spent else {}


def _jobs(state: GroupState) -> list[Job]:
    found = [Job(name, move) for name, move in _calls(state).items()]
    if state.token:
        found.append(Job(AGAIN, _again))  # type: ignore[arg-type]
    return found + nudged(state)  # type: ignore[arg-type]


# --- the end ------------------------------------------------------------------------------------------------------


def settle(state: GroupState, known: dict, *, thief: bool) -> str:  # type: ignore[type-arg]
    """The world is kind, but perhaps for the thief, who tries again and again: how it ends."""
    kind, passed, end = state.clone(), [], ""
    for turn in range(90):
        rollover = kind.rollover()
        key = (thief, kind.key()) if turn < 40 else None
        if rollover is None or rollover.outcome is not None:
            end = _ended(rollover)
        elif key in known:
            end = known[key]
        if end:
            break
        passed.append(key)
        kind.bag = []
        if rollover.due_at is not None:
            kind.pass_until(rollover.due_at)
        if turn > 40:  # it waits for something that will not come
            kind.pass_until(kind.clock.time + timedelta(days=1 if turn < 60 else 30))
        _kind_turn(kind, rollover, thief=thief)
    if not end:
        last = kind.rollover()
        raise Broken(f"I4: no end is reached; it waits for {last.waiting_for!r} at {last.next_step}" if last else "I4")
    known.update((key, end) for key in passed if key is not None)
    return end


def _kind_turn(kind: GroupState, rollover: Rollover, *, thief: bool) -> None:
    _timer(kind)
    for nudge in list(kind.bag):
        kind.deliver(nudge)
    while kind.working() is not None:
        kind.turn()
    if (rollover.waiting_for or "").startswith(("contained, no", "no replacement")):
        kind.vault.add(CERTIFICATE, NEW, NEXT)
        event(kind)
    for ca in sorted(kind.stolen) if thief else ():
        kind.begin_registration(MADE, ca)
    if rollover.next_step in (Step.INVOKE_REPROVISION_JOB, Step.RESTORE_TWIN):
        for device_id in FLEET:
            for ca in (one for one in kind.own()[:1] if one not in kind.stolen):
                kind.register(device_id, ca)
        kind.look_again()


def _ended(rollover: Rollover | None) -> str:
    if rollover is None:
        return "not begun"
    if rollover.outcome is Outcome.NEEDS_PERSON and not rollover.next_action:
        raise Broken("I4: a person is needed and not told what for")
    ended = rollover.outcome.value if rollover.outcome else ""
    if "times and what it establishes still" in (rollover.outcome_reason or ""):
        return f"{ended} (gave up)"
    return f"{ended} (late)" if "days after" in (rollover.outcome_reason or "") else ended


def check(state: GroupState, known: dict) -> str:  # type: ignore[type-arg]
    """What must hold in this state, and how it ends from here."""
    rollover = state.rollover()
    if rollover is not None and rollover.contained and not state.spent & set(HANDS) and (found := state.exposed()):
        raise Broken(f"I3: contained is said, and {'; '.join(found)}")
    ends = [settle(state, known, thief=thief) for thief in ((False, True) if state.stolen else (False,))]
    interfered = state.spent & {*HANDS, *VAULT, CANCEL} or state.knobs.shared_ca
    fair = {"done", "needs_person (gave up)", "not begun", "preempted"}
    late = rollover is not None and state.clock.time >= rollover.started_at + LIMIT - timedelta(days=2)
    fair |= {"needs_person (late)", "refused", "needs_person"} if late else set()
    if not interfered and rollover is not None and rollover.outcome is None and not fair.issuperset(ends):
        raise Broken(f"nothing went wrong and it ended as {' or '.join(ends)}")
    return ends[0]
