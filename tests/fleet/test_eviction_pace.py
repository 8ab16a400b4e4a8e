"""How long evicting takes against the least time that the hub's quota allows, and how much memory."""

import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

from local.azure.throttle import Tier
from shared.fleet import Work
from shared.quota import Quota
from shared.rows import History
from tests.certificates import NOW
from tests.fleet.kit import Fleet, Host, a_breach
from tests.fleet.simulation import SimulatedWorld, a_simulated_world

HUBS: list[tuple[Tier, int]] = [("S1", 1), ("S1", 10), ("S3", 1)]
SIZES = [1_000, 10_000, 100_000]


def evicted(count: int, tier: Tier, units: int, path: Path) -> tuple[SimulatedWorld, float, int]:
    """A whole eviction: the world after it, its seconds, the most bytes that Python had allocated for it."""
    world = a_simulated_world(count, tier, units, path)
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
    peaks = []
    for count in SIZES if whole else SIZES[:1]:
        for tier, units in HUBS if whole else HUBS[1:2]:
            world, seconds, peak = evicted(count, tier, units, tmp_path / f"{count}-{tier}-{units}")
            bound = Quota(tier, units).eviction_seconds(count)
            print(
                f"{count:9,}  {tier} x {units:<3}{bound:10,.1f} s{seconds:10,.1f} s{seconds / bound:9.3f}"
                f"{world.azure.throttled:6}{peak / 1024:9,.0f} KiB"
            )
            assert seconds <= 1.1 * bound
            peaks.append(peak)
    assert max(peaks) < 2 * min(peaks), "memory is flat, whatever the fleet's size"
