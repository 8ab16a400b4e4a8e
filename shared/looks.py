"""How often a claim in the hub's log may cost a look at the registry: once per device and ten minutes, and never more
than twenty a minute in all, however many instances read the log.

One row beside the ledger holds the looks of the last ten minutes, a few hundred at most; taking some is one
replacement under the ETag that was read. A registry takes 100 operations a minute and unit, and DPS needs them too when
devices register (azure-docs devguide-quotas-throttling), so a flood of claims must not get at them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import Conflict
from shared.ledger import UNREADABLE, Table, Write

LOOKS_PER_MINUTE = 20
STRANGERS_PER_MINUTE = 5
"""Beside them, of devices that nobody here knows (``shared.group_refusals``)."""
MINUTE = timedelta(minutes=1)
COOL_DOWN = timedelta(minutes=10)
"""How long a device is left alone after a look."""
PARTITION, ROW, STRANGERS = "hub-log", "looks", "strangers"
TRIES = 5


@dataclass(frozen=True)
class Reserved:
    """Which devices may be looked at now, and how many not."""

    granted: tuple[str, ...] = ()
    cooling: int = 0
    over_budget: int = 0


@dataclass(frozen=True)
class _Look:
    key: str
    at: datetime


class Looks:
    """The budget, over the ledger's table."""

    def __init__(self, table: Table, row: str = ROW, per_minute: int = LOOKS_PER_MINUTE) -> None:
        self._table = table
        self._row = row
        self._per_minute = per_minute

    @property
    def strangers(self) -> "Looks":
        """The budget for devices that nobody here knows: one of its own, so that they take nothing from the others."""
        return Looks(self._table, STRANGERS, STRANGERS_PER_MINUTE)

    def reserve(self, device_ids: Sequence[str], now: datetime) -> Reserved:
        """Take what may be looked at, first come, first served; it counts as looked at from now on."""
        if not device_ids:
            return Reserved()
        for _ in range(TRIES):
            recent, etag = self._recent(now)
            known = {look.key for look in recent}
            warm = [one for one in device_ids if _key(one) not in known]
            left = max(0, self._per_minute - sum(abs(now - look.at) < MINUTE for look in recent))
            granted = tuple(warm[:left])
            if not granted or self._put([*recent, *(_Look(_key(one), now) for one in granted)], etag):
                return Reserved(granted, len(device_ids) - len(warm), len(warm) - len(granted))
        return Reserved(over_budget=len(device_ids))  # others take them faster than we can

    def release(self, device_ids: Sequence[str], now: datetime, *, after: timedelta = timedelta()) -> None:
        """These may be looked at again at once, or ``after`` a while; what they took of the budget stays taken."""
        freed = {_key(one) for one in device_ids}
        for _ in range(TRIES if freed else 0):
            recent, etag = self._recent(now)
            looks = [_Look("", one.at) if one.key in freed else one for one in recent]
            if after:
                looks += [_Look(key, now - COOL_DOWN + after) for key in sorted(freed)]
            if self._put(looks, etag):
                return

    def _recent(self, now: datetime) -> tuple[list[_Look], str | None]:
        found = self._table.read(PARTITION, self._row)
        if found is None:
            return [], None
        try:
            looks = [_Look(key, datetime.fromisoformat(at)) for key, at in json.loads(found[0]["recent"])]
            return [look for look in looks if abs(now - look.at) < COOL_DOWN], found[1]
        except UNREADABLE:
            return [], found[1]  # a person edited it; it is written anew

    def _put(self, looks: list[_Look], etag: str | None) -> bool:
        recent = json.dumps([(look.key, look.at.isoformat(timespec="seconds")) for look in looks])
        row = {"PartitionKey": PARTITION, "RowKey": self._row, "recent": recent}
        try:
            self._table.commit([Write(row, etag)])
        except Conflict:
            return False
        return True


def _key(device_id: str) -> str:
    return hashlib.sha256(device_id.encode()).hexdigest()[:16]
