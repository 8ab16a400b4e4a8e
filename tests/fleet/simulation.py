"""Fleets of any size against the stand-in's quotas, on a clock that is moved: the product's code as it is, over a table
on disk, a DPS and a hub that make their devices up as they are asked.

DPS and hub take from ``local.azure.throttle.Throttles``, as the stand-in's own front ends do; nothing here grows with
the fleet but a byte for each device, so that the memory that is measured is the product's.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from local.azure.clock import Clock as StandInClock
from local.azure.throttle import Throttles, Tier
from shared.enrollment import Member, Members, Shown, Twin
from shared.errors import Conflict, ServiceUnavailable
from shared.fleet_ledger import Fleets
from shared.ledger import Row, Write
from shared.quota import Quota
from shared.services import Services
from tests.certificates import NOW
from tests.fakes import HUB, Clock, World, a_world
from tests.fleet.kit import GROUP


class FrozenClock(StandInClock):
    """The stand-in's clock, standing still but when the test moves it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def real(self) -> datetime:
        return self._clock()


class TableOnDisk:
    """The table of the works, in SQLite: its rows are not in the memory that is measured."""

    LARGE = ("devices", "twin")

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE t (pk TEXT, rk TEXT, open INT, due TEXT, small TEXT, large TEXT, etag INT,"
            " PRIMARY KEY (pk, rk)) WITHOUT ROWID"
        )
        self._version = 0
        self.writes = 0

    def read(self, partition: str, row: str) -> tuple[Row, str] | None:
        found = self._db.execute("SELECT small, large, etag FROM t WHERE pk=? AND rk=?", (partition, row)).fetchone()
        return (json.loads(found[0]) | json.loads(found[1]), str(found[2])) if found else None

    def commit(self, writes: Sequence[Write]) -> list[str]:
        assert len(writes) <= 100
        etags = []
        for write in writes:
            row = write.row
            key = (row["PartitionKey"], row["RowKey"])
            found = self._db.execute("SELECT small, large, etag FROM t WHERE pk=? AND rk=?", key).fetchone()
            if (write.etag is None) != (found is None) or (found and str(found[2]) != write.etag):
                self._db.rollback()
                raise Conflict(f"row {key} is not the one that was read")
            if write.merge:
                row = json.loads(found[0]) | json.loads(found[1]) | row
            large = {name: value for name, value in row.items() if name.startswith(self.LARGE) and name != "devices"}
            small = {name: value for name, value in row.items() if name not in large}
            self._version += 1
            values = (*key, row.get("open"), row.get("due_at"), json.dumps(small), json.dumps(large), self._version)
            self._db.execute("INSERT OR REPLACE INTO t VALUES (?,?,?,?,?,?,?)", values)
            etags.append(str(self._version))
        self._db.commit()
        self.writes += len(writes)
        return etags

    def slice(
        self,
        partition: str,
        first: str,
        beyond: str,
        *,
        columns: Sequence[str] | None = None,
        due: str | None = None,
        is_open: bool = False,
    ) -> Iterator[tuple[Row, str]]:
        where, values = "pk=? AND rk>=? AND rk<?", [partition, first, beyond]
        if is_open or due is not None:
            where += " AND open=1"
        if due is not None:
            where, values = where + " AND due>'' AND due<=?", [*values, due]
        query = f"SELECT small, large, etag FROM t WHERE {where} ORDER BY rk"  # noqa: S608 of constants
        for small, large, etag in self._db.execute(query, values):
            row = json.loads(small) | ({} if columns else json.loads(large))
            yield ({name: row[name] for name in columns if name in row} if columns else row), str(etag)

    def scan(self, prefix: str, **narrowed: Any) -> Iterator[tuple[Row, str]]:
        raise AssertionError("the works read slices")


@dataclass
class Azure:
    """A DPS with one group of ``count`` devices, and their hub, as far as a work sees them."""

    count: int
    throttles: Throttles
    clock: Clock
    retry_after: bool = True

    def __post_init__(self) -> None:
        self.there = bytearray(b"\1") * self.count
        self.last_deleted: datetime | None = None
        self.throttled = 0

    def take(self, service: str, bucket: str, cost: int = 1) -> None:
        wait = self.throttles.take(service, bucket, cost)
        if wait is not None:
            self.throttled += 1
            raise ServiceUnavailable("429", timedelta(seconds=wait) if self.retry_after else None)

    # --- DPS

    def members(self, group_id: str, after: str | None) -> Members:
        self.take("dps", "service")
        first = int(after or 0)
        beyond = min(first + 100, self.count)
        some = tuple(Member(_name(n), _name(n), "assigned", NOW, HUB) for n in range(first, beyond))
        return Members(some, str(beyond) if beyond < self.count else None)

    # --- hub

    def shown(self, device_id: str) -> Shown | None:
        self.take("iothub", "twin_reads")
        number = int(device_id.rpartition("-")[2])
        if not self.there[number]:
            return None
        print_ = f"{number:064X}"
        twin = Twin("AAAAAAAAAAE=", {"site": number % 7}, {"rate": {"every": 5, "of": device_id}})
        return Shown(device_id, True, print_, print_, f"etag-{number}", "selfSigned", connected=True, twin=twin)

    def delete_many(self, found: Sequence[Shown]) -> Mapping[str, str]:
        self.take("iothub", "registry", len(found))
        for one in found:
            self.there[int(one.device_id.rpartition("-")[2])] = 0
        self.last_deleted = self.clock()
        return {}

    def quota(self) -> Quota:
        return Quota(self.throttles.tier, self.throttles.units)


def _name(number: int) -> str:
    return f"pump-{number:07}"


class SimulatedWorld(World):
    """A world whose group and hub are simulated."""

    azure: Azure
    on_disk: TableOnDisk

    @property
    def services(self) -> Services:
        fleet = Fleets(self.on_disk, self.nudges, self.settings, self.clock)
        azure: Any = self.azure
        return replace(super().services, provisioning=azure, hub=azure, fleet=fleet)


def a_simulated_world(count: int, tier: Tier, units: int, path: Path) -> SimulatedWorld:
    """A group of so many devices on a hub of this tier."""
    plain = a_world()
    world = SimulatedWorld(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
    throttles = Throttles(FrozenClock(world.clock))
    throttles.patch({"hub_tier": tier, "hub_units": units})
    world.azure = Azure(count, throttles, world.clock)
    world.on_disk = TableOnDisk(path)
    world.dps.enroll_group(GROUP)
    return world
