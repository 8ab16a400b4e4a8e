"""Walks the reachable states: every move that the world, a person, a crash or a queue can make, from every state.

A kill before a write leaves what a kill after the write before it leaves, so only those after are made; and what a
kill leaves is the world of that moment, which the undisturbed run keeps on its way (``Tape.kept``).

A move is a function on a state; a job is a run of the product, which can be killed at any of its writes. What moves
there are, and what must hold, say the ``Rules`` of a plan (``expiry.py``, ``breach.py``). Mishaps are limited per path
(``State.spent``), so that the walk ends; crashes, lost answers, lost and repeated nudges and the devices' own moves
are not.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from shared.errors import RolloverError
from tests.walk.model import State, Tape

Move = Callable[[State], None]
Way = Callable[[], State]
WRITES = 12
"""More than any run makes."""


@dataclass(frozen=True)
class Job:
    """A run of the product; with a nudge, that of the message that wakes it."""

    name: str
    run: Move
    nudge: tuple | None = None  # type: ignore[type-arg]


@dataclass(frozen=True)
class Touch:
    """Which places (``Tape.look``) a move reads, and which it writes, of those that the product reads or writes too."""

    reads: frozenset[str]
    writes: frozenset[str]

    def independent(self, wrote: str, looked: set[str]) -> bool:
        """Whether it comes to the same before that write, and after the looks that follow the write."""
        return wrote not in self.reads | self.writes and not looked & self.writes


def touch(reads: str = "", writes: str = "") -> Touch:
    """By names, with spaces in between."""
    return Touch(frozenset(reads.split()), frozenset(writes.split()))


ANYTHING = touch("", "dps registrations hub vault fleet table truth")
"""A move that may read and write all but the queue, whose messages are no part of a state."""


@dataclass(frozen=True)
class Rules:
    """What can happen in a state, what can slip into a run, what is used up by it, and what must hold."""

    moves: Callable[[State], Mapping[str, Move]]
    jobs: Callable[[State], list[Job]]
    races: Callable[[State], Mapping[str, Move]]
    spending: frozenset[str]
    check: Callable[[State, dict], str]  # type: ignore[type-arg]
    """How it ends when the world is kind from here; raises when something does not hold. The dict is its memory."""
    touched: Callable[[str], Touch] = lambda _name: ANYTHING
    """What a move of ``races`` touches, by its name."""
    kills: bool = True
    """Whether a run is killed, or its answer lost, at each of its writes."""


@dataclass
class Walk:
    """What was walked."""

    states: int = 0
    runs: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def deliver(nudge: tuple) -> Move:  # type: ignore[type-arg]
    """A run of a step's function with this nudge, which stays in its queue."""
    return lambda state: state.deliver(nudge, state.tape)


def deliveries(state: State) -> list[Job]:
    """The nudges that matter: any other is ignored by its step, and the timer makes one whenever it is due."""
    rollover = state.rollover()
    due = [n for n in sorted(set(state.bag)) if rollover and n == (rollover.next_step, rollover.id)]
    return [Job(nudge[0], deliver(nudge), nudge) for nudge in due]


def nudged(state: State) -> list[Job]:
    """The next step, woken, whenever it is due (before that a nudge does nothing, ``shared.stepping``).

    Queues deliver late, twice and in any order, so that a nudge may come of which nothing is left to be seen: instead
    of the messages that there are, it is taken that there may always be one. That is more than can happen, so what
    holds in this walk holds in life; a lost message is one that is not delivered.
    """
    rollover = state.rollover()
    if rollover is None or rollover.next_step is None or not rollover.is_due(state.clock()):
        return []
    return [Job(rollover.next_step, deliver((rollover.next_step, rollover.id)))]


def successors(state: State, rules: Rules, *, interrupts: bool) -> Iterator[tuple[str, Way]]:
    """Every way on from here: its name, and what gives the state that it leads to."""
    for name, move in rules.moves(state).items():
        yield name, lambda n=name, m=move: _after(state, m, rules, n)  # type: ignore[misc]
    for job in rules.jobs(state):
        yield from _runs(state, job, rules, interrupts=interrupts)


def _runs(state: State, job: Job, rules: Rules, *, interrupts: bool) -> Iterator[tuple[str, Way]]:
    tape = Tape(keeps=rules.kills)
    through = _after(state, job.run, rules, job.name, tape)
    if job.nudge is not None:
        yield f"{job.name} (the message comes again)", lambda: through
    yield job.name, lambda: _without(through, job.nudge)
    for at, left in tape.kept.items():
        yield f"{job.name} (crash after write {at})", lambda left=left: _spent(left, rules, job.name)  # type: ignore[misc]
    for at in range(1, min(tape.count, WRITES) + 1):
        if rules.kills:
            yield f"{job.name} (lost reply {at})", lambda at=at: _after(state, job.run, rules, job.name, Tape(at))  # type: ignore[misc]
    if not interrupts:
        return
    for name, move in _races(state, job, rules).items():
        for at in _moments(tape, ANYTHING if move is job.run else rules.touched(name)):

            def interrupted(at: int = at, name: str = name, move: Move = move) -> State:
                new = state.clone()
                new.tape = Tape(at, lambda: _slip_in(new, move))
                return _spent(_carried_out(new, job.run), rules, job.name, name)

            yield f"{job.name} (before write {at}: {name})", interrupted


def _races(state: State, job: Job, rules: Rules) -> dict[str, Move]:
    """What can slip into the run; the run itself under one name only."""
    others = {name: move for name, move in rules.races(state).items() if name != job.name}
    return {**others, "the same again": job.run}


def _moments(tape: Tape, touched: Touch) -> Iterator[int]:
    """The writes of a run before which something can slip in that comes to anything new.

    What slips in before write n and has nothing to do with that write, nor with what the product looks at until write
    n + 1, might as well slip in before that one: of such writes in a row the last is taken. Where that goes on to the
    end of the run, or likewise back to its beginning, it is a move of its own after the run, or before it, which the
    walk makes anyway. The walk's own checks count as looks where they compare with the truth; the other checks at
    writes get no stricter by a device that registered or moved (``has_used``, ``used``).
    """
    last = min(tape.count, WRITES)
    from_start = not tape.looked[0] & touched.writes
    for at in range(1, last + 1):
        onward = touched.independent(tape.wrote[at - 1], tape.looked[at])
        if not onward and not from_start:
            yield at
        from_start = from_start and onward


def _slip_in(state: State, move: Move) -> None:
    outer, state.tape = state.tape, Tape()
    try:
        move(state)
    except RolloverError:
        pass  # whoever came in between is told no
    finally:
        state.tape = outer


def _without(state: State, nudge: tuple | None) -> State:  # type: ignore[type-arg]
    gone = state.clone()
    if nudge is not None:
        gone.bag.remove(nudge)
    return gone


def _after(state: State, move: Move, rules: Rules, name: str, tape: Tape | None = None) -> State:
    new = state.clone()
    new.tape = tape or Tape()
    return _spent(_carried_out(new, move), rules, name)


def _carried_out(new: State, move: Move) -> State:
    with suppress(RolloverError):  # a function that raises is tried again by its trigger: the nudge stays in the bag
        move(new)
    return new


def _spent(state: State, rules: Rules, *names: str) -> State:
    state.spent = state.spent | (rules.spending & set(names))
    return state


def walk(start: State, rules: Rules, *, interrupts: bool, limit: int | None = None, enough: int = 5) -> Walk:
    """Breadth first over all states (or the first ``limit``, or until so many are broken), checking each."""
    seen = {start.key()}
    queue = deque([(start, ("start",))])
    result, known = Walk(), dict[object, str]()
    while queue and (limit is None or result.states < limit):
        state, path = queue.popleft()
        result.states += 1
        name = ""
        try:
            end = rules.check(state, known)
            result.ends[end] = result.ends.get(end, 0) + 1
            for name, way in successors(state, rules, interrupts=interrupts):
                result.runs += 1
                new = way()
                key = new.key()
                if key not in seen:
                    seen.add(key)
                    queue.append((new, (*path, name)))
        except AssertionError as error:
            result.broken.append(f"{error} | {' > '.join((*path, name))}")
            if len(result.broken) >= enough:
                return result
    return result


def stroll(
    start: State,
    rules: Rules,
    result: Walk,
    *,
    interrupts: bool,
    paths: int,
    length: int,
    seed: int,
    weigh: Callable[[str], float] = lambda _name: 1.0,
) -> None:
    """Random paths, seeded: they get deeper than the first states of a breadth-first walk. ``weigh`` makes some moves
    likelier, so that paths get to the end."""
    chance, known = random.Random(seed), dict[object, str]()
    for _ in range(paths):
        state, path = start, ["start"]
        for _ in range(length):
            try:
                ways = list(successors(state, rules, interrupts=interrupts))
                [(name, way)] = chance.choices(ways, [weigh(name) for name, _ in ways])
                path.append(name)
                state = way()
                result.states += 1
                rules.check(state, known)
            except AssertionError as error:
                result.broken.append(f"{error} | {' > '.join(path)}")
                return
