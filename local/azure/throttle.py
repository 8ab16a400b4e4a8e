"""Quotas as token buckets on the stand-in's clock.

Limits are the published ones: docs of DPS "Quotas and limits" (1,000 service operations and 1,000 registrations a
minute, 5 polls in 10 s a device), docs of IoT Hub "Reference - quotas and throttling" (per tier and unit), docs of
Key Vault "service limits" (4,000 transactions in 10 s). A bucket holds one period's worth.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from local.azure.clock import Clock

Tier = Literal["S1", "S2", "S3"]


@dataclass(frozen=True)
class Limit:
    """`amount` operations in `per_s` seconds."""

    amount: float
    per_s: float


FIXED = {
    "dps/service": Limit(1000, 60),
    "dps/register": Limit(1000, 60),
    "dps/poll": Limit(5, 10),  # for each device: give its registration ID as key
    "keyvault/transactions": Limit(4000, 10),
}
# bucket: (S1, S2, S3), for one unit
HUB: dict[str, tuple[Limit, Limit, Limit]] = {
    "iothub/registry": (Limit(100, 60), Limit(100, 60), Limit(5000, 60)),
    "iothub/connections": (Limit(100, 1), Limit(120, 1), Limit(6000, 1)),
    "iothub/queries": (Limit(20, 60), Limit(20, 60), Limit(1000, 60)),
    "iothub/methods": (Limit(40, 1), Limit(120, 1), Limit(6144, 1)),  # metered in 4 KB: 160 KB/s, 480 KB/s, 24 MB/s
    "iothub/twin_reads": (Limit(100, 1), Limit(100, 1), Limit(500, 1)),
    "iothub/twin_updates": (Limit(50, 1), Limit(50, 1), Limit(250, 1)),
    "iothub/jobs": (Limit(100, 60), Limit(100, 60), Limit(5000, 60)),
    "iothub/job_devices": (Limit(10, 1), Limit(10, 1), Limit(50, 1)),
}
TIERS: tuple[Tier, ...] = ("S1", "S2", "S3")
ACTIVE_JOBS = {"S1": 1, "S2": 5, "S3": 10}


class Throttles:
    """All buckets, named `<service>/<bucket>`; a key after it keeps one bucket for each device."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tier: Tier = "S3"
        self.units = 1
        self._overrides: dict[str, Limit] = {}
        self._levels: dict[tuple[str, str], tuple[float, datetime]] = {}

    @property
    def active_jobs(self) -> int:
        """How many device jobs may run at once on the hub's tier."""
        return ACTIVE_JOBS[self.tier]

    def limit(self, service: str, bucket: str) -> Limit | None:
        """The limit in force, or None where nothing is limited."""
        name = f"{service}/{bucket}"
        if name in self._overrides:
            return self._overrides[name]
        if name in HUB:
            one = HUB[name][TIERS.index(self.tier)]
            return Limit(one.amount * self.units, one.per_s)
        return FIXED.get(name)

    def take(self, service: str, bucket: str, cost: float = 1, key: str = "") -> float | None:
        """Take `cost` from a bucket. None when it was there; else the seconds to wait, and nothing is taken."""
        limit = self.limit(service, bucket)
        if limit is None:
            return None
        now = self._clock.now()
        name = (f"{service}/{bucket}", key)
        level, seen = self._levels.get(name, (limit.amount, now))
        rate = limit.amount / limit.per_s
        # A clock moved back must not empty a bucket.
        level = min(limit.amount, level + max(0.0, (now - seen).total_seconds()) * rate)
        if level < cost:
            self._levels[name] = (level, now)
            return (cost - level) / rate
        self._levels[name] = (level - cost, now)
        return None

    def as_json(self) -> dict[str, Any]:
        """Tier, units and every limit in force."""
        names = sorted({*FIXED, *HUB, *self._overrides})
        limits = {name: self.limit(*name.split("/", 1)) for name in names}
        return {
            "hub_tier": self.tier,
            "hub_units": self.units,
            "limits": {name: {"amount": one.amount, "per_s": one.per_s} for name, one in limits.items() if one},
        }

    def patch(self, changes: dict[str, Any]) -> None:
        """Set `hub_tier`, `hub_units` and `limits` {"dps/service": {"amount", "per_s"}}; ValueError otherwise.

        Every bucket starts full again."""
        unknown = set(changes) - {"hub_tier", "hub_units", "limits"}
        if unknown:
            raise ValueError(f"no throttle setting named {', '.join(sorted(unknown))}")
        tier, units = changes.get("hub_tier", self.tier), changes.get("hub_units", self.units)
        if tier not in TIERS or not isinstance(units, int) or units < 1:
            raise ValueError("hub_tier is S1, S2 or S3, and hub_units a whole number from 1")
        overrides = {
            name: Limit(float(one["amount"]), float(one["per_s"])) for name, one in changes.get("limits", {}).items()
        }
        self.tier, self.units = tier, units
        self._overrides.update(overrides)
        self._levels.clear()

    def reset(self) -> None:
        """The published limits of one S3 unit, every bucket full."""
        self.tier, self.units = "S3", 1
        self._overrides.clear()
        self._levels.clear()
