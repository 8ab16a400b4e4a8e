"""What a hub and a DPS let through in a time, by their published quotas. Pure.

Docs of IoT Hub "Reference - IoT Hub quotas and throttling" (per tier and unit) and of DPS "Quotas and limits". A bulk
registry call counts once for each of its devices.
"""

from dataclasses import dataclass

USED = 0.98
"""How much of a quota the works on a fleet take: the clocks of two machines differ, and 429 costs more than 2 %."""
DPS_SERVICE = 1000 / 60
"""Service operations a second of one DPS."""
LISTING = 0.5
"""How much of that the listing of a fleet takes: every other step needs it too."""
VAULT_KEYS = 20 / 10
"""Keys a second that one vault makes (azure-docs key-vault service-limits)."""

_S1, _S2, _S3 = 0, 1, 2
_TIERS = {"F1": _S1, "B1": _S1, "S1": _S1, "B2": _S2, "S2": _S2, "B3": _S3, "S3": _S3}


@dataclass(frozen=True)
class Quota:
    """Operations a second of one hub."""

    tier: str = "S1"
    """The sku's name. One that is not known counts as S1, whose quotas are the smallest."""
    units: int = 1

    @property
    def registry(self) -> float:
        """Reads and writes of identities."""
        return self._of(100 / 60, 100 / 60, 5000 / 60) * self.units

    @property
    def twin_reads(self) -> float:
        """Reads of twins; only from S2 on do units count."""
        return self._of(100, max(100, 10 * self.units), 500 * self.units)

    @property
    def twin_updates(self) -> float:
        """Writes of twins."""
        return self._of(50, max(50, 5 * self.units), 250 * self.units)

    @property
    def job_devices(self) -> float:
        """Devices that jobs begin with."""
        return self._of(10, max(10, self.units), 50 * self.units)

    @property
    def evictions(self) -> float:
        """Identities that can be read (by their twins) and deleted."""
        return min(self.registry, self.twin_reads)

    def eviction_seconds(self, devices: int) -> float:
        """The least time in which so many identities can be deleted."""
        return devices / self.evictions

    @property
    def _index(self) -> int:
        return _TIERS.get(self.tier.upper(), _S1)

    def _of(self, s1: float, s2: float, s3: float) -> float:
        return (s1, s2, s3)[self._index]
