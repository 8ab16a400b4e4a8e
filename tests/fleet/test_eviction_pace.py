"""How long evicting takes against the least time that the hub's quota allows, and how much memory."""

import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from local.azure.throttle import Tier
from shared.fleet import Work
from shared.quota import Quota
from shared.rows import History
from tests.certificates import NOW
from tests.fleet.kit import Fleet, Host, a_breach
from tests.fleet.simulation import Azure, SimulatedWorld, a_simulated_world

HUBS: list[tuple[Tier, int]] = [("S1", 1), ("S1", 10), ("S3", 1)]
SIZES = [1_000, 10_000, 100_000]


def evicted(
    count: int, tier: Tier, units: int, path: Path, prepare: Callable[[SimulatedWorld], None] = lambda _: None
) -> tuple[SimulatedWorld, float, int]:
    """A whole eviction: the world after it, its seconds, the most bytes that Python had allocated for it."""
    world = a_simulated_world(count, tier, units, path)
    prepare(world)
    host = Host(world)
    rollover = world.services.ledger.begin(a_breach(Work.EVICT), None, History(NOW, "test", "started", "for a test"))
    fleet = Fleet(world, host, rollover, Work.EVICT)
    tracemalloc.start()
    fleet.begin()
    host.run(lambda: bool(host.woken), timedelta(days=30))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fleet.progress().complete
    assert not any(world.azure.there)
    assert world.azure.last_deleted is not None
    return world, (world.azure.last_deleted - NOW).total_seconds(), peak


@pytest.mark.proof
@pytest.mark.usefixtures("quiet")
def test_evicting_takes_the_least_time_that_the_quota_allows(whole: bool, tmp_path: Path) -> None:
    """Bound: devices ÷ the published rate. A full bucket lets the first batch pass at once, hence ratios below 1."""
    print("\n  devices  hub     bound      actual     ratio  429s  peak memory")
    sizes = SIZES if whole else SIZES[:1]
    for tier, units in HUBS if whole else HUBS[1:2]:
        peaks = []
        for count in sizes:
            world, seconds, peak = evicted(count, tier, units, tmp_path / f"{count}-{tier}-{units}")
            bound = Quota(tier, units).eviction_seconds(count)
            print(
                f"{count:9,}  {tier} x {units:<3}{bound:10,.1f} s{seconds:10,.1f} s{seconds / bound:9.3f}"
                f"{world.azure.throttled:6}{peak / 1024:9,.0f} KiB"
            )
            assert seconds <= 1.1 * bound
            peaks.append(peak)
        assert peaks[-1] < 1.5 * peaks[0], "memory is flat, whatever the fleet's size"


class TwoOperators(Azure):
    """A hub that lets through less than its tier says, for others use it too."""

    def quota(self) -> Quota:
        return Quota("S3", 1)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("retry_after", [True, False])
def test_a_hub_that_throttles_slows_the_eviction_and_leaves_nobody_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, retry_after: bool
) -> None:
    """Half of what Resource Manager says is there: turns are refused with 429, and every device leaves all the same."""
    count, half = 3_000, {"amount": 100, "per_s": 2.4}

    def share(world: SimulatedWorld) -> None:
        world.azure.throttles.patch({"limits": {"iothub/registry": half}})
        world.azure = TwoOperators(count, world.azure.throttles, world.clock, retry_after)

    world, seconds, _ = evicted(count, "S3", 1, tmp_path / "table", share)
    bound = count * half["per_s"] / half["amount"]
    with capsys.disabled():
        print(f"\n{count} devices at half of the quota: {seconds:.0f} s of {bound:.0f} s, {world.azure.throttled} 429s")
    assert world.azure.throttled
    assert seconds <= 2 * bound


@pytest.mark.usefixtures("quiet")
def test_a_colleague_s_rollover_gets_through_while_a_fleet_is_evicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the smallest hub a batch takes all that a minute holds; who needs one operation now and then gets it soon."""
    world = a_simulated_world(1_000, "S1", 1, tmp_path / "table")
    host, clock, look = Host(world), world.clock, timedelta(seconds=5)
    begun = world.services.ledger.begin(a_breach(Work.EVICT), None, History(NOW, "test", "started", "for a test"))
    Fleet(world, host, begun, Work.EVICT).begin()
    wants, waits = NOW, []
    while not host.woken:
        while clock() + look < host.next_at():
            clock.advance(look)
            if wants <= clock() and world.azure.throttles.take("iothub", "registry") is None:
                waits.append(clock() - wants)
                wants = clock() + timedelta(minutes=1)
        host.step()
    bound = Quota("S1", 1).eviction_seconds(1_000)
    seconds = (clock() - NOW).total_seconds()
    with capsys.disabled():
        print(f"\n{len(waits)} calls of a colleague waited {max(waits).total_seconds():.0f} s at most;", end=" ")
        print(f"the eviction took {seconds:.0f} s of {bound:.0f} s, {world.azure.throttled} 429s")
    assert max(waits) <= timedelta(seconds=15)
    assert seconds <= 2 * bound
