"""The host is killed after each external write of a breach, and every answer is lost once: same end, every time.

The writes of the call itself are among them: its caller calls again and gets the rollover that was begun.
"""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.breaches import OnCall, end_of, give_twin, wait_for_end
from tests.rehearsal.plant import Plant

MODES = ("remove", "disable", "reprovision")
SETTINGS = {"CONTAINMENT_SETTLE_SECONDS": "0.5"}
SEED = 20261124
FEWEST = 40
"""A breach makes at least as many writes."""
EVENTS = {
    "remove": ["Rollover.Completed", "Rollover.Contained", "Rollover.Recovered", "Rollover.Started"],
    "disable": ["Rollover.Completed", "Rollover.Contained", "Rollover.Recovered", "Rollover.Started"],
    "reprovision": [
        "Rollover.Completed",
        "Rollover.Contained",
        "Rollover.DeviceMoved",
        "Rollover.Recovered",
        "Rollover.Started",
    ],
}
measured: dict[str, list[str]] = {}
"""The writes of an undisturbed breach, by mode."""


def _breach(plant: Plant, mode: str, name: str, folder: Path, *mishap: str) -> tuple[dict[str, Any], list[str], bool]:
    """One breach: its end, the writes of the host if there was no mishap, whether the host was killed."""
    now = plant.standin.control.get("/clock")["now"]
    plant.standin.control.put("/clock", {"set": f"{now[:14]}20:00Z"})
    device = plant.install(name, folder).live(watches=True)
    give_twin(plant, name)
    host, oncall = plant.host(*mishap, **SETTINGS), OnCall(name, mode)
    killed = False
    try:
        oncall.call(host)
        if host.alive:
            wait_for_end(host, name)
        if not host.alive:
            killed = True
            assert host.process.returncode == 137, host.tail()
            host = plant.host(**SETTINGS)
            oncall.call(host)
            plant.move_clock(minutes=3)  # what was under way is leased for two
            wait_for_end(host, name)
        # With a mishap the host may die at a last poll, when all is done; only an undisturbed one is asked.
        return end_of(plant, host, name), [] if mishap else host.writes(), killed
    finally:
        device.stop()
        host.stop()


def _writes(plant: Plant, mode: str, folder: Path) -> list[str]:
    if mode not in measured:
        if not measured:  # the first ever run makes table and queues
            _breach(plant, "remove", "breach-first", folder)
        end, measured[mode], _ = _breach(plant, mode, f"breach-{mode}", folder)
        assert end == _expected(mode)
    return measured[mode]


def _expected(mode: str) -> dict[str, Any]:
    return {
        "rollovers": [("done", True)],
        "slots": {"secondary": 1},
        "versions": 2,
        "hub": "enabled",
        "hub accepts what is enrolled": True,
        "twin": True,
        "events": EVENTS[mode],
    }


@pytest.mark.proof
@pytest.mark.parametrize("mode", MODES)
def test_a_breach_killed_after_any_write_comes_to_the_same_end(
    plant: Plant, whole: bool, mode: str, tmp_path: Path
) -> None:
    """Issue 3: kill after every write: same end; all writes covered. The sample: two kills in mode remove."""
    if not whole and mode != "remove":
        return
    count = len(_writes(plant, mode, tmp_path)) if whole else FEWEST
    numbers = range(1, count + 1) if whole else sorted(random.Random(SEED).sample(range(1, FEWEST + 1), 2))
    covered = 0
    for number in numbers:
        end, _, killed = _breach(plant, mode, f"{mode}-killed-{number}", tmp_path, "--die-after-write", str(number))
        assert end == _expected(mode), f"killed after write {number}"
        covered += killed
    print(f"\nmode {mode}: killed after {covered} of {count} writes of a breach; the same end each time")
    # Polls come and go with timing, so the last few numbers may not be reached in a run.
    assert covered >= (count - 5 if whole else 2)


@pytest.mark.proof
@pytest.mark.parametrize("mode", MODES)
def test_a_breach_that_loses_any_answer_comes_to_the_same_end(
    plant: Plant, whole: bool, mode: str, tmp_path: Path
) -> None:
    """The write is applied and the app does not learn it; the SDK may send it again and meet a conflict."""
    if not whole:
        return
    count = len(_writes(plant, mode, tmp_path))
    for number in range(1, count + 1):
        end, _, _ = _breach(plant, mode, f"{mode}-lost-{number}", tmp_path, "--lose-reply-of-write", str(number))
        assert end == _expected(mode), f"lost the answer to write {number}"
    print(f"\nmode {mode}: lost the answer to each of {count} writes of a breach; the same end each time")
