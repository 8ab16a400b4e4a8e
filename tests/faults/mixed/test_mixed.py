"""Mixed faults over a small fleet, by seeds: every rollover ends, and doing what its end says brings the fleet home.

Expiry and breach at once, people who cancel, retry, approve and edit by hand, events and messages that come twice or
never, hosts that die, services that are away for hours, devices that are away for weeks. Then nothing goes wrong any
more and people do to the letter what the product says is next (``tests.faults.mixed.obeying``), and nothing else.
"""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from shared import decide, decide_breach, decide_expiry, stepping
from shared.plans import Step
from shared.verdict import AlreadyDone
from tests.faults.mixed.run import Result, play

RUNS, SAMPLE = 1000, 10
INVARIANTS = tuple(f"I{number}" for number in range(8))

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.proof
def test_every_rollover_ends_and_its_next_step_is_correct(
    whole: bool, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """Issue 5: 1,000 seeded runs of mixed faults; ``--seed`` plays one of them."""
    one = request.config.getoption("--seed")
    seeds = range(RUNS if whole else SAMPLE) if one is None else range(one, one + 1)
    began, results = time.process_time(), []
    for seed in seeds:
        results.append(play(seed))
        if results[-1].broken:
            print(f"\n{results[-1]}")
    record_property("told", f"Mixed faults: {_told(results)}; {time.process_time() - began:.0f} s CPU")
    assert not [str(result) for result in results if result.broken]
    if one is None:
        assert not set(INVARIANTS) - set(_sum(results, "looked")), "an invariant was never looked at"


def _sum(results: list[Result], what: str) -> Counter[str]:
    return sum((Counter(getattr(one, what)) for one in results), Counter())


def _told(results: list[Result]) -> str:
    ends, looked, injected = (_sum(results, what) for what in ("ends", "looked", "injected"))
    told = _sum(results, "told")
    return (
        f"{len(results)} runs, seeds {results[0].seed} to {results[-1].seed}; {ends.total()} rollovers: {_list(ends)};"
        f"\n{injected.total()} faults: {_list(injected)};\ninvariants looked at: {_list(looked)};"
        f"\nnext steps obeyed: {told.total()}, of {len(told)} wordings;"
        f" broken: {sum(len(one.broken) for one in results)}"
    )


def _list(counted: Counter[str]) -> str:
    return ", ".join(f"{what}: {times}" for what, times in sorted(counted.items()))


def _first_broken(seeds: int) -> str:
    """What the first of so many seeds shows that shows something."""
    return next((broken for seed in range(seeds) for broken in play(seed).broken), "")


def test_a_wait_that_never_calls_a_person_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness that cannot fail proves nothing."""
    for module in (decide, stepping):
        monkeypatch.setattr(module, "bounded", lambda wait, *_: wait)
    assert "I4: " in _first_broken(6)


def test_an_outgoing_certificate_that_is_retired_too_soon_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide_expiry, "has_moved", lambda *_: True)
    assert "I2: " in _first_broken(2)


def test_a_containment_that_is_only_claimed_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = dict.fromkeys((Step.REMOVE_HUB_REGISTRATION, Step.VERIFY_CONTAINMENT), lambda *_: AlreadyDone("it is so"))
    monkeypatch.setattr(decide_breach, "_DECISIONS", {**decide_breach._DECISIONS, **claimed})
    monkeypatch.setattr(decide_breach, "_broken", lambda *_: None)
    assert "I3: " in _first_broken(6)
