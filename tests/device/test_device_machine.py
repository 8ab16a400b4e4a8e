"""The agent's decisions, walked through whole: every state that any outcome of any attempt can lead to."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest

from device.machine import (
    PATIENCE,
    Connect,
    Event,
    Look,
    Note,
    Other,
    Register,
    Role,
    Standing,
    State,
    begin,
    step,
)

CURRENT, OTHER = Role.CURRENT, Role.OTHER


def starts() -> list[State]:
    return [
        begin(has_current=has_current, other=other, assigned=assigned)
        for has_current, other, assigned in itertools.product((False, True), Other, (False, True))
    ]


def possible_events(state: State) -> list[Event]:
    """What may come next: the outcome of the attempt, or what happens during a wait."""
    if state.doing is None or state.waiting:
        lost = [Event.SESSION_LOST] if state.online else []
        over = [Event.WAIT_OVER] if state.waiting else []
        again = [Event.ASKED_AGAIN]
        return [*lost, *over, *again, *([] if state.swap_under_way else [Event.FOUND])]
    match state.doing:
        case Register():
            return [Event.DPS_ACCEPTED, Event.DPS_REFUSED, Event.DPS_UNREACHABLE]
        case Connect():
            return [Event.HUB_ACCEPTED, Event.HUB_REFUSED, Event.HUB_UNREACHABLE]
        case _:
            return [Event.FOUND, Event.NOTHING_FOUND]


def shortened(state: State) -> State:
    """Counters matter only up to PATIENCE: the same state for the walk."""
    return replace(state, failures=min(state.failures, PATIENCE), swap_failures=min(state.swap_failures, 1))


def reachable() -> dict[State, tuple[State, Event] | None]:
    seen: dict[State, tuple[State, Event] | None] = {shortened(s): None for s in starts()}
    todo = list(seen)
    while todo:
        state = todo.pop()
        for event in possible_events(state):
            after = shortened(step(state, event)[0])
            if after not in seen:
                seen[after] = (state, event)
                todo.append(after)
    return seen


REACHABLE = reachable()


@dataclass
class World:
    """DPS and hub that stay as they are; the hub takes what DPS registered last, unless DPS leaves it alone."""

    dps: frozenset[Role]  # whose credentials DPS lets in
    hub: Role | None  # whose credential the hub accepts now
    dps_answers: bool = True
    dps_writes_hub: bool = True
    source: bool = False  # the source has a new credential, and DPS lets it in

    def answer(self, state: State) -> Event:
        if state.doing is None or state.waiting:
            return Event.WAIT_OVER
        match state.doing:
            case Register(role):
                if not self.dps_answers:
                    return Event.DPS_UNREACHABLE
                if role not in self.dps:
                    return Event.DPS_REFUSED
                if self.dps_writes_hub:
                    self.hub = role
                return Event.DPS_ACCEPTED
            case Connect(role):
                return Event.HUB_ACCEPTED if self.hub is role else Event.HUB_REFUSED
            case Look():
                if not self.source:
                    return Event.NOTHING_FOUND
                self.dps |= {OTHER}
                self.source = False
                if self.hub is OTHER:
                    self.hub = None
                return Event.FOUND

    def held(self, state: State) -> set[Role]:
        return {r for r, is_there in ((CURRENT, state.has_current), (OTHER, state.other is not Other.NONE)) if is_there}


def worlds_with_a_way_in(state: State) -> list[World]:
    worlds = []
    for dps in (frozenset[Role](), frozenset({CURRENT}), frozenset({OTHER}), frozenset({CURRENT, OTHER})):
        for hub in (None, CURRENT, OTHER):
            worlds += [
                World(dps, hub),
                World(dps, hub, dps_writes_hub=False),
                World(dps, hub, dps_answers=False),
                World(dps, hub, source=True),
            ]

    def has_a_way_in(world: World) -> bool:
        held = world.held(state)
        at_hub = world.hub in held and (state.assigned or (world.dps_answers and world.hub in world.dps))
        by_dps = world.dps_answers and world.dps_writes_hub and bool(world.dps & held)
        return at_hub or by_dps or world.source

    return [world for world in worlds if has_a_way_in(world)]


def test_from_every_reachable_state_the_device_gets_online_when_there_is_a_way_in() -> None:
    runs = 0
    for state in REACHABLE:
        for world in worlds_with_a_way_in(state):
            runs += 1
            before, now = repr(world), replace(state, online=False)
            trail: list[tuple[object, Event]] = []
            if now.doing is None:
                now, _ = step(now, Event.SESSION_LOST)
            while not now.online and len(trail) < 40:
                event = world.answer(now)
                trail.append((now.doing, event))
                now, _ = step(now, event)
            assert now.online, f"stuck: {state}\nin {before}\n" + "\n".join(map(str, trail))
    print(f"{len(REACHABLE)} states, {runs} runs")


def test_no_circle_of_attempts_is_without_a_wait() -> None:
    for start in REACHABLE:
        fronts = {start}
        for _ in range(12):
            fronts = {
                step(state, event)[0]
                for state in fronts
                if state.doing is not None and not state.waiting
                for event in possible_events(state)
                if event is not Event.FOUND
            }
        assert all(state.waiting or state.doing is None for state in fronts)


def test_a_session_is_never_given_up_for_a_candidate_that_the_hub_has_not_accepted() -> None:
    for state in REACHABLE:
        for event in possible_events(state):
            if state.online and event is not Event.SESSION_LOST:
                assert step(state, event)[0].online


def test_nothing_is_committed_but_what_the_hub_accepted() -> None:
    for state in REACHABLE:
        for event in possible_events(state):
            _, note = step(state, event)
            assert (note is Note.COMMIT) == (event is Event.HUB_ACCEPTED and state.doing == Connect(OTHER))


def test_no_connection_is_made_with_the_current_credential_while_a_swap_is_under_way_and_dps_answers() -> None:
    """DPS may have written the candidate's thumbprint to the hub: the hub would refuse."""
    for state in REACHABLE:
        fresh = state.swap_under_way and state.current_is is Standing.OPEN and state.online
        for event in possible_events(state):
            after, _ = step(state, event)
            if fresh and event in (Event.SESSION_LOST, Event.DPS_ACCEPTED, Event.WAIT_OVER):
                assert after.doing != Connect(CURRENT)


def test_a_lost_network_leads_to_no_registration() -> None:
    for other in (Other.NONE, Other.PREVIOUS):
        state = begin(has_current=True, other=other, assigned=True)
        for event in (Event.HUB_ACCEPTED, Event.SESSION_LOST, *[Event.WAIT_OVER, Event.HUB_UNREACHABLE] * 9):
            state, _ = step(state, event)
            assert not isinstance(state.doing, Register)


def attempts(state: State, *events: Event) -> list[object]:
    made: list[object] = [state.doing]
    for event in events:
        state, _ = step(state, event)
        if state.doing and not state.waiting:
            made.append(state.doing)
    return made


def test_a_candidate_found_at_the_start_is_registered_before_anything_is_connected() -> None:
    state = begin(has_current=True, other=Other.CANDIDATE, assigned=True)
    assert attempts(state, Event.DPS_ACCEPTED, Event.HUB_ACCEPTED) == [Register(OTHER), Connect(OTHER)]


def test_a_candidate_found_at_the_start_and_refused_by_dps_gives_way_to_the_current_one() -> None:
    state = begin(has_current=True, other=Other.CANDIDATE, assigned=True)
    assert attempts(state, Event.DPS_REFUSED, Event.HUB_ACCEPTED) == [Register(OTHER), Connect(CURRENT)]


def test_an_outage_of_dps_alone_keeps_no_device_with_a_candidate_offline() -> None:
    state = begin(has_current=True, other=Other.CANDIDATE, assigned=True)
    down = (Event.DPS_UNREACHABLE, Event.WAIT_OVER) * (PATIENCE - 1)
    assert attempts(state, *down, Event.DPS_UNREACHABLE)[-1] == Connect(CURRENT)


@pytest.mark.parametrize(
    ("other", "ladder"),
    [
        (Other.NONE, [Connect(CURRENT), Register(CURRENT), Look()]),
        (Other.PREVIOUS, [Connect(CURRENT), Register(CURRENT), Register(OTHER), Connect(OTHER), Look()]),
    ],
)
def test_a_refusal_by_the_hub_climbs_the_ladder(other: Other, ladder: list[object]) -> None:
    state = begin(has_current=True, other=other, assigned=True)
    refusals = [Event.HUB_REFUSED if isinstance(a, Connect) else Event.DPS_REFUSED for a in ladder[:-1]]
    assert attempts(state, *refusals) == ladder


def test_a_hub_that_is_slow_to_learn_of_the_candidate_is_asked_again_without_a_registration() -> None:
    state = begin(has_current=True, other=Other.NONE, assigned=True)
    started = (Event.HUB_ACCEPTED, Event.FOUND, Event.DPS_ACCEPTED)
    made = attempts(state, *started, Event.HUB_REFUSED, Event.WAIT_OVER, Event.HUB_ACCEPTED)
    assert made == [Connect(CURRENT), Register(OTHER), Connect(OTHER), Connect(OTHER)]


def test_a_candidate_the_hub_refuses_for_good_is_rolled_back_while_the_session_stays() -> None:
    state = begin(has_current=True, other=Other.NONE, assigned=True)
    notes = []
    refused = (Event.HUB_REFUSED, Event.WAIT_OVER) * (PATIENCE - 1)
    for event in (Event.HUB_ACCEPTED, Event.FOUND, Event.DPS_ACCEPTED, *refused, Event.HUB_REFUSED):
        state, note = step(state, event)
        notes.append(note)
    assert notes[-1] is Note.ROLLED_BACK
    assert state.online
    assert (state.doing, state.waiting) == (Register(OTHER), True)


def test_a_lost_session_during_a_swap_goes_on_with_the_swap() -> None:
    state = begin(has_current=True, other=Other.NONE, assigned=True)
    for event in (Event.HUB_ACCEPTED, Event.FOUND, Event.DPS_UNREACHABLE, Event.SESSION_LOST, Event.WAIT_OVER):
        state, _ = step(state, event)
    assert (state.doing, state.waiting) == (Register(OTHER), False)


def test_a_lost_session_after_a_rolled_back_candidate_goes_back_to_the_current_one() -> None:
    state = begin(has_current=True, other=Other.NONE, assigned=True)
    for event in (Event.HUB_ACCEPTED, Event.FOUND, Event.DPS_REFUSED, Event.SESSION_LOST, Event.WAIT_OVER):
        state, _ = step(state, event)
    assert state.doing == Connect(CURRENT)


def test_a_reconnect_does_not_wait_as_long_as_a_refused_candidate_does() -> None:
    state = begin(has_current=True, other=Other.NONE, assigned=True)
    for event in (Event.HUB_ACCEPTED, Event.FOUND, *[Event.DPS_REFUSED, Event.WAIT_OVER] * 9, Event.DPS_REFUSED):
        state, _ = step(state, event)
    assert state.failures_to_wait_for == 10
    state, _ = step(state, Event.SESSION_LOST)
    assert state.failures_to_wait_for == 1


def test_a_device_asked_to_register_again_does_so_beside_its_session() -> None:
    idle = State(has_current=True, other=Other.PREVIOUS, assigned=True, doing=None, online=True)
    asked, _ = step(idle, Event.ASKED_AGAIN)
    assert asked.doing == Register(CURRENT)
    accepted, _ = step(asked, Event.DPS_ACCEPTED)
    assert accepted.doing == Connect(CURRENT)
    done, note = step(accepted, Event.HUB_ACCEPTED)
    assert (done.doing, done.online, note) == (None, True, None)


@pytest.mark.parametrize("refusal", [(Event.DPS_REFUSED,), (Event.DPS_ACCEPTED, *[Event.HUB_REFUSED] * 1)])
def test_a_refused_registration_on_request_costs_no_session(refusal: tuple[Event, ...]) -> None:
    state = State(has_current=True, other=Other.PREVIOUS, assigned=True, doing=None, online=True)
    state, _ = step(state, Event.ASKED_AGAIN)
    for event in refusal:
        state, _ = step(state, event)
    assert state.online
    assert state.current_is is Standing.OPEN


def test_a_device_in_the_middle_of_something_does_not_register_again() -> None:
    swapping = State(has_current=True, other=Other.CANDIDATE, assigned=True, doing=Register(OTHER), online=True)
    assert step(swapping, Event.ASKED_AGAIN) == (swapping, None)
