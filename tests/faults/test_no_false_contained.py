"""No breach is called contained while the truth says otherwise, whatever goes wrong: many seeded runs, one oracle.

The oracle is the true state of DPS and hub, not what the product read. It is looked at after everything that happens,
from the moment the ledger says contained for as long as it does.
"""

import time
from collections import Counter
from datetime import timedelta

import pytest

from shared import decide_breach
from shared.incident import Mode
from shared.plans import Step
from shared.verdict import AlreadyDone
from tests.faults.run import Result, play

RUNS, SAMPLE = 2000, 60
ON_THE_WAY = timedelta(seconds=9)
"""What ``Draw`` adds up to at most: a late entry at DPS, a registration under way, a late read."""
KINDS = (
    "lost reply",
    "never arrives",
    "arrives late",
    "429 with Retry-After",
    "429 without",
    "5xx",
    "stale read that differs",
    "nudge lost",
    "nudge doubled",
    "nudge delayed",
    "kill before a write",
    "kill after a write",
    "another function in between",
)


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.proof
def test_no_breach_is_called_contained_while_the_truth_says_otherwise(whole: bool) -> None:
    """Issue 3: 0 false "contained" under lost replies, 429, 5xx and stale reads; and every run comes to its end."""
    began, results = time.monotonic(), [play(seed) for seed in range(RUNS if whole else SAMPLE)]
    took = time.monotonic() - began
    print("\n" + _told(results) + f"; {took:.0f} s")
    assert not [str(one) for one in results if one.false or one.wrong]
    assert all(one.end == "done" for one in results)
    assert sum(one.claims for one in results) >= len(results)
    assert {one.draw.mode for one in results} == set(Mode)
    assert not set(KINDS) - set(_injected(results)), "a kind of fault never struck"


def _injected(results: list[Result]) -> Counter[str]:
    return sum((one.injected for one in results), Counter())


def _told(results: list[Result]) -> str:
    injected = _injected(results)
    faults = ", ".join(f"{kind}: {injected[kind]}" for kind in KINDS)
    ends = Counter(f"{one.end}{' after a person' if one.persons else ''}" for one in results)
    claims, false = sum(one.claims for one in results), sum(len(one.false) for one in results)
    return (
        f"{len(results)} seeded breaches, {injected.total()} faults ({faults}); contained was claimed {claims} times,"
        f" falsely {false} times; ends {dict(ends)}"
    )


def _first_false(seeds: range, **policy: timedelta) -> int | None:
    return next((seed for seed in seeds if play(seed, **policy).false), None)


def test_without_settling_there_are_false_claims() -> None:
    """A harness that cannot fail proves nothing. What was under way when the door was shut comes after the claim."""
    seed = _first_false(range(160, 400), settle=timedelta())
    assert seed is not None
    assert not play(seed, settle=ON_THE_WAY).false


def test_a_verification_that_does_not_look_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = {**decide_breach._DECISIONS, Step.VERIFY_CONTAINMENT: lambda *_: AlreadyDone("it is so")}
    monkeypatch.setattr(decide_breach, "_DECISIONS", blind)
    assert _first_false(range(SAMPLE)) is not None
