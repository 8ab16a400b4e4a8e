"""Every decision of the agent, as pure functions: ``begin`` gives the first state, ``step`` the next.

The device holds at most two credentials: CURRENT, which the hub accepted last, and OTHER, which is a candidate (new,
not yet accepted) or the previous one. An *attempt* is one thing tried with one of them; its outcome is an event.

A swap, from a live session: ``Register(OTHER)``, the old session stays up; ``Connect(OTHER)``; the hub accepts, the
swap is committed. DPS or hub refuses: the session with CURRENT is kept, and the candidate is tried again later.
While the fate of a candidate is open no connection is made with CURRENT: DPS may have written the candidate's
thumbprint to the hub already, and the hub would refuse.

Asked for one more registration with what it is on (the cloud cannot see otherwise that it moved), an online device
does ``Register(CURRENT)``, ``Connect(CURRENT)``, and keeps its session if that is refused.

When the hub refuses CURRENT, the ladder: ``Register(CURRENT)``, ``Register(OTHER)``, ``Connect(OTHER)`` in case only
DPS has changed its mind, ``Look`` at the source, wait, from the top again. A lost network changes nothing but the
time of the next try.

A candidate found at the start (power cut during a swap) is registered first, before anything is connected. If the
cut came before DPS saw it, this is the swap's first step; if it came after, the hub accepts only the candidate and
registering it again changes nothing. CURRENT first would be refused in the second case, the candidate at the hub
first in the first case. DPS refuses the candidate: the hub was not told about it now, so CURRENT is next. DPS does not
answer: after ``PATIENCE`` tries the hub is asked directly, CURRENT and then the candidate, so that an outage of DPS
alone keeps no device offline. So each credential's refusal leads to the other one, and nothing waits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import assert_never

PATIENCE = 3
"""Refusals by the hub just after DPS accepted (its write may take time to arrive), and tries of DPS on a cold start."""


class Role(Enum):
    CURRENT = "current"
    OTHER = "other"


class Other(Enum):
    """What the other slot holds."""

    NONE = auto()
    CANDIDATE = auto()
    PREVIOUS = auto()


class Standing(Enum):
    """What became of a credential in this round of the ladder."""

    OPEN = auto()
    HUB_REFUSED = auto()  # the hub does not know it; DPS may
    DPS_REFUSED = auto()  # the other way round: DPS may have let it in before, and the hub still does
    REFUSED = auto()


class Event(Enum):
    """How the attempt ended, or what came from outside."""

    DPS_ACCEPTED = auto()
    DPS_REFUSED = auto()
    DPS_UNREACHABLE = auto()
    HUB_ACCEPTED = auto()
    HUB_REFUSED = auto()
    HUB_UNREACHABLE = auto()
    SESSION_LOST = auto()
    FOUND = auto()  # a new candidate is in the store, or somebody asks for the refused one again
    ASKED_AGAIN = auto()  # somebody asks for one more registration with what the device is on
    NOTHING_FOUND = auto()
    WAIT_OVER = auto()


class Note(Enum):
    """What the agent does beside the next attempt."""

    COMMIT = auto()
    ROLLED_BACK = auto()


@dataclass(frozen=True, slots=True)
class Register:
    role: Role


@dataclass(frozen=True, slots=True)
class Connect:
    role: Role


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the source for a credential."""


type Attempt = Register | Connect | Look


@dataclass(frozen=True, slots=True)
class State:
    """``doing`` is under way, or follows when the wait is over; None while there is nothing to do but stay online."""

    has_current: bool
    other: Other
    assigned: bool
    doing: Attempt | None
    waiting: bool = False
    online: bool = False
    current_is: Standing = Standing.OPEN
    other_is: Standing = Standing.OPEN
    dps_accepted: bool = False  # the credential that is to connect next
    hub_refusals: int = 0  # since then
    failures: int = 0  # in a row, without a session
    swap_failures: int = 0  # in a row, beside a session

    @property
    def failures_to_wait_for(self) -> int:
        return self.swap_failures if self.online else self.failures

    @property
    def swap_under_way(self) -> bool:
        """The candidate's fate is open: another one must not take its slot."""
        return self.other is Other.CANDIDATE and self.other_is is Standing.OPEN


def begin(*, has_current: bool, other: Other, assigned: bool) -> State:
    """Give the state a device starts in, from what its store holds."""
    state = State(has_current=has_current, other=other, assigned=assigned, doing=None)
    if other is Other.CANDIDATE:
        return _do(state, Register(Role.OTHER))
    return _do(state, _next_on_ladder(state))


def step(state: State, event: Event) -> tuple[State, Note | None]:
    """Give the state after ``event``, and what else is to be done. Total: no event is an error in any state."""
    match event:
        case Event.DPS_ACCEPTED:
            role = _role(state)
            return _do(replace(state, assigned=True, dps_accepted=True), Connect(role)), None
        case Event.DPS_REFUSED:
            return _dps_refused(state)
        case Event.DPS_UNREACHABLE:
            return _dps_unreachable(state), None
        case Event.HUB_ACCEPTED:
            return _hub_accepted(state)
        case Event.HUB_REFUSED:
            return _hub_refused(state)
        case Event.HUB_UNREACHABLE:
            undecided = _role(state) is Role.CURRENT or not state.dps_accepted
            retry = Register(Role.OTHER) if state.swap_under_way and undecided else Connect(_role(state))
            return _wait(state, retry), None
        case Event.SESSION_LOST:
            return _session_lost(state), None
        case Event.FOUND:
            fresh = replace(state, other=Other.CANDIDATE, other_is=Standing.OPEN, swap_failures=0)
            return _do(fresh, Register(Role.OTHER)), None
        case Event.ASKED_AGAIN:
            idle = state.online and state.doing is None
            return (_do(state, Register(Role.CURRENT)) if idle else state), None
        case Event.NOTHING_FOUND:
            return _next_round(state), None
        case Event.WAIT_OVER:
            return replace(state, waiting=False), None
        case _:
            assert_never(event)


def _dps_refused(state: State) -> tuple[State, Note | None]:
    if _role(state) is Role.CURRENT:
        if state.online:  # registered again on request only; the session is none the worse
            return _do(state, None), None
        state = replace(state, current_is=Standing.REFUSED)
        return _do(state, _next_on_ladder(state)), None
    return _other_refused(state, Standing.DPS_REFUSED)


def _other_refused(state: State, standing: Standing) -> tuple[State, Note | None]:
    note = Note.ROLLED_BACK if state.swap_under_way and state.has_current else None
    state = replace(state, other_is=standing)
    if state.online:
        return _wait(state, Register(Role.OTHER)), note
    return _do(state, _next_on_ladder(state)), note


def _dps_unreachable(state: State) -> State:
    role = _role(state)
    if state.online or not state.assigned or state.failures + 1 < PATIENCE:
        return _wait(state, Register(role))
    if role is Role.OTHER and state.has_current and state.current_is is Standing.OPEN:
        return _do(state, Connect(Role.CURRENT))
    if role is Role.OTHER or (state.other is not Other.NONE and state.other_is is not Standing.REFUSED):
        return _do(state, Connect(Role.OTHER))
    return _next_round(state)


def _hub_accepted(state: State) -> tuple[State, Note | None]:
    online = replace(state, online=True, failures=0, current_is=Standing.OPEN)
    if _role(state) is Role.OTHER:
        previous = Other.PREVIOUS if state.has_current else Other.NONE
        swapped = replace(online, has_current=True, other=previous, other_is=Standing.OPEN, swap_failures=0)
        return _do(swapped, None), Note.COMMIT
    if online.other is Other.CANDIDATE:
        return _wait(online, Register(Role.OTHER)), None
    return _do(replace(online, other_is=Standing.OPEN), None), None


def _hub_refused(state: State) -> tuple[State, Note | None]:
    if state.dps_accepted and state.hub_refusals + 1 < PATIENCE:
        again = _wait(state, state.doing)
        return replace(again, dps_accepted=True, hub_refusals=state.hub_refusals + 1), None
    if _role(state) is Role.CURRENT and state.online:  # the same; the hub ends the session if it means it
        return _do(state, None), None
    if _role(state) is Role.CURRENT:
        standing = Standing.REFUSED if state.dps_accepted else Standing.HUB_REFUSED
        state = replace(state, current_is=standing)
        return _do(state, _next_on_ladder(state)), None
    if state.other_is is Standing.DPS_REFUSED:
        return _other_refused(state, Standing.REFUSED)
    if not state.dps_accepted:  # asked only because DPS does not answer
        return _wait(replace(state, current_is=Standing.OPEN), Register(Role.OTHER)), None
    if not state.online and state.current_is is Standing.OPEN:
        # DPS wrote the candidate to the hub, so CURRENT has to be written there again before it connects.
        state = replace(state, current_is=Standing.HUB_REFUSED)
    return _other_refused(state, Standing.REFUSED)


def _session_lost(state: State) -> State:
    state = replace(state, online=False)
    if state.doing is None or not state.swap_under_way:
        return _wait(state, Connect(Role.CURRENT))
    return _wait(state, state.doing)  # a swap is under way and goes on, soon


def _next_round(state: State) -> State:
    """From the top of the ladder again, later."""
    state = replace(state, current_is=Standing.OPEN, other_is=Standing.OPEN)
    return _wait(state, _next_on_ladder(state))


def _next_on_ladder(state: State) -> Attempt:
    """What to try next without a session."""
    if state.has_current and state.current_is is Standing.OPEN:
        return Connect(Role.CURRENT) if state.assigned else Register(Role.CURRENT)
    if state.has_current and state.current_is is Standing.HUB_REFUSED and not state.swap_under_way:
        return Register(Role.CURRENT)
    if state.other is not Other.NONE and state.other_is is Standing.OPEN:
        return Register(Role.OTHER)
    if state.other_is is Standing.DPS_REFUSED and state.assigned:
        return Connect(Role.OTHER)
    return Look()


def _role(state: State) -> Role:
    return state.doing.role if isinstance(state.doing, Register | Connect) else Role.CURRENT


def _do(state: State, attempt: Attempt | None) -> State:
    accepted = state.dps_accepted and isinstance(attempt, Connect) and isinstance(state.doing, Register)
    return replace(state, doing=attempt, waiting=False, dps_accepted=accepted, hub_refusals=0)


def _wait(state: State, attempt: Attempt | None) -> State:
    kept = state.dps_accepted and attempt == state.doing
    state = replace(state, doing=attempt, waiting=True, dps_accepted=kept, hub_refusals=0)
    if state.online:
        return replace(state, swap_failures=state.swap_failures + 1)
    return replace(state, failures=state.failures + 1)
