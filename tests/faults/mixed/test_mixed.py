"""Mixed faults over a small fleet, by seeds: every rollover ends, and doing what its end says brings the fleet home.

Expiry and breach at once, people who cancel, retry, approve and edit by hand, events and messages that come twice or
never, hosts that die, services that are away for hours, devices that are away for weeks. Then nothing goes wrong any
more and people do to the letter what the product says is next (``tests.faults.mixed.obeying``), and nothing else.
"""

import time
from collections import Counter

import pytest

from tests.faults.mixed.run import Result, play

RUNS, SAMPLE = 1000, 16
INVARIANTS = tuple(f"I{number}" for number in range(8))

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.proof
def test_every_rollover_ends_and_its_next_step_is_correct(whole: bool, request: pytest.FixtureRequest) -> None:
    """Issue 5: 1,000 seeded runs of mixed faults; ``--seed`` plays one of them."""
    one = request.config.getoption("--seed")
    seeds = range(RUNS if whole else SAMPLE) if one is None else range(one, one + 1)
    began, results = time.monotonic(), []
    for seed in seeds:
        results.append(play(seed))
        if results[-1].broken:
            print(f"\n{results[-1]}")
    print(f"\n{_told(results)}; {time.monotonic() - began:.0f} s")
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
