"""A work on a fleet and its batches, and how they lie in table rows. Pure.

The facts are JSON, so that a release can add one with a default; the other columns are what counting and finding need,
so that neither has to read the devices.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.fleet import Work
from shared.rows import COLUMN, stamp

Row = dict[str, Any]
LARGEST_BATCH = 100
"""Devices in one bulk call, and rows in one transaction (docs of both)."""
NAMES = 20
"""How many of a batch's stragglers its row names where counting reads it."""
COUNTED = (
    "RowKey",
    "open",
    "size",
    "done",
    "left",
    "newcomers",
    "reachable",
    "wave",
    "first_asked_at",
    "names",
    "digest",
)
"""The columns that progress is counted from."""


class Standing(StrEnum):
    """How a device stands in its batch."""

    OPEN = "open"
    DONE = "done"
    LEFT = "left"
    """Given up, with the reason."""


class Phase(StrEnum):
    """How far a batch of a wave is."""

    LISTED = "listed"
    PLANNED = "planned"
    """What the hub pinned was read; it waits for its wave."""
    ASKED = "asked"


@dataclass(frozen=True)
class Device:
    """One device of a batch."""

    device_id: str
    registration_id: str
    tried_only: bool = False
    """DPS did not assign it: somebody tried to register under this name."""
    standing: Standing = Standing.OPEN
    why: str = ""
    tries: int = 0
    """How often something of its own kept it from being done."""
    before: tuple[str, ...] = ()
    """The thumbprints that its hub identity had when it was first read."""
    connected: bool = False
    """Whether it had a session when it was read last before it was asked."""
    registered: str = ""
    """When DPS had last registered it as it was listed (ISO 8601): a move is a later registration."""
    first_registered: str = ""
    """When DPS had registered it for the first time (ISO 8601)."""
    newcomer: bool = False
    """It was not there before the theft, as far as anybody knows (``shared.suspects``): nobody may wait for it."""
    leaf: str | None = None
    """SHA-256 thumbprint of the leaf that our own CA issued to it for this rollover, or that it gets one elsewhere
    (``shared.fleet_leaves``)."""

    def ended(self, standing: Standing, why: str) -> "Device":
        """The device at its end in this batch."""
        return replace(self, standing=standing, why=why)


@dataclass(frozen=True)
class Batch:
    """At most a hundred devices, and how each stands."""

    number: int
    devices: tuple[Device, ...]
    due_at: datetime | None = None
    """When its next turn is; None while it waits to be given one."""
    wave: int = 0
    phase: Phase = Phase.LISTED
    asked_at: datetime | None = None
    """When its devices were last asked to move."""
    first_asked_at: datetime | None = None
    asks: int = 0
    turns: int = 0
    """Turns since something was done last."""
    refused: int = 0
    """How often a call for all of it was refused as a whole."""
    surprises: int = 0
    """How often a turn ended in an exception that nobody thought of."""
    etag: str = ""

    @property
    def open(self) -> tuple[Device, ...]:
        """Those that are neither done nor given up."""
        return tuple(one for one in self.devices if one.standing is Standing.OPEN)

    def count(self, standing: Standing) -> int:
        """How many stand so."""
        return sum(one.standing is standing for one in self.devices)

    def with_devices(self, changed: Mapping[str, Device]) -> "Batch":
        """The batch with these devices, by ID, in the place of what they were."""
        return replace(self, devices=tuple(changed.get(one.device_id, one) for one in self.devices))


@dataclass(frozen=True)
class Head:
    """One work of one rollover, in one round."""

    rollover_id: str
    work: Work
    round: int
    begun_at: datetime
    due_at: datetime
    """When its next turn is: to list on, to give batches their moments, to look whether all is done."""
    cursor: str | None = None
    """Where listing goes on: the continuation token of DPS, or the last row that was read."""
    listed: bool = False
    restarts: int = 0
    """How often listing had to start over."""
    first: int = 0
    """Number of the first batch of the present listing; the ones before are void."""
    batches: int = 0
    """Number of the next batch."""
    devices: int = 0
    """How many the present listing has found."""
    spared: int = 0
    """How many it found besides that are none of this work's (``shared.suspects``)."""
    rest: bool = False
    """The listing has come to those that are no suspects; the suspects came first."""
    dispatched: int = 0
    """Batches below this number were given their first moment."""
    asked: int = 0
    """The same, for being asked to move."""
    opened: int = 0
    """How many waves may be asked."""
    waves: tuple[tuple[int, int], ...] = ()
    """Of each wave: its first batch, its devices."""
    tier: str = "S1"
    units: int = 1
    by_registration: bool = False
    """The incoming CA has the key and the subject of the outgoing one, so leaves stay as they are; devices show another
    CA certificate with them."""
    leaf_names: str = ""
    """How the devices' vault certificates are called whose leaves a CA in the vault issues; empty: none."""
    stays: bool = False
    """The same, and the group names its CA: devices need do nothing."""
    halted: str | None = None
    halted_at: datetime | None = None
    trouble: str | None = None
    """What a service refuses, in its words."""
    trouble_since: datetime | None = None
    trouble_at: datetime | None = None
    closed_at: datetime | None = None
    """When its last batch had come to its end."""
    etag: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """What names it, and is in the keys of its rows: number of the rollover, work, round."""
        return f"{int(self.rollover_id.rpartition('.')[2]):06}.{self.work}.{self.round:03}"

    @property
    def partition(self) -> str:
        """Where its rows lie: with its target's."""
        return self.rollover_id.rpartition(".")[0]


_TIMES = ("begun_at", "due_at", "halted_at", "trouble_since", "trouble_at", "closed_at")


def head_row(head: Head) -> Row:
    """The table row of a work."""
    facts = {name: value for name, value in asdict(head).items() if name != "etag"}
    facts |= {name: stamp(facts[name]) for name in _TIMES if facts[name]}
    return {
        "PartitionKey": head.partition,
        "RowKey": f"fleet.{head.key}",
        "due_at": stamp(head.due_at),
        "devices": head.devices,
        "listed": head.listed,
        "halted": head.halted or "",
        "facts": json.dumps(facts),
    }


def head_from_row(row: Mapping[str, Any], etag: str) -> Head:
    """The work that lies in a row."""
    facts = json.loads(row["facts"])
    known = {name: facts[name] for name in Head.__dataclass_fields__ if name in facts}
    known |= {name: datetime.fromisoformat(known[name]) for name in _TIMES if known.get(name)}
    known |= {"work": Work(known["work"]), "waves": tuple((a, b) for a, b in known.get("waves", ()))}
    return Head(**{**known, "etag": etag})


def batch_key(head: Head, number: int) -> str:
    """The row key of a batch; keys sort as numbers do."""
    return f"batch.{head.key}.{number:06}"


def batch_row(head: Head, batch: Batch) -> Row:
    """The table row of a batch; its devices in parts, for a column holds 32,768 characters at most."""
    text = json.dumps([_device_facts(one) for one in batch.devices], separators=(",", ":"))
    parts = [text[at : at + COLUMN] for at in range(0, len(text), COLUMN)]
    left, waiting = (
        [one.device_id for one in batch.devices if one.standing is standing]
        for standing in (Standing.LEFT, Standing.OPEN)
    )
    named = left[:NAMES] + (waiting if len(waiting) <= NAMES else [])
    return {
        "PartitionKey": head.partition,
        "RowKey": batch_key(head, batch.number),
        "open": bool(waiting),
        "due_at": stamp(batch.due_at) if batch.due_at else "",
        "size": len(batch.devices),
        "done": batch.count(Standing.DONE),
        "left": len(left),
        "newcomers": sum(one.newcomer and one.standing is not Standing.DONE for one in batch.devices),
        "reachable": sum(one.connected or one.standing is Standing.DONE for one in batch.devices),
        "wave": batch.wave,
        "phase": batch.phase,
        "asked_at": stamp(batch.asked_at) if batch.asked_at else "",
        "first_asked_at": stamp(batch.first_asked_at) if batch.first_asked_at else "",
        "names": json.dumps(named),
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "facts": json.dumps(
            {"asks": batch.asks, "turns": batch.turns, "refused": batch.refused, "surprises": batch.surprises}
        ),
        "parts": len(parts),
        **{f"devices{number}": part for number, part in enumerate(parts)},
    }


def batch_from_row(row: Mapping[str, Any], etag: str) -> Batch:
    """The batch that lies in a row."""
    devices = json.loads("".join(row[f"devices{number}"] for number in range(row["parts"])))
    return Batch(
        number=int(row["RowKey"].rpartition(".")[2]),
        devices=tuple(_device(one) for one in devices),
        due_at=_time(row["due_at"]),
        wave=row["wave"],
        phase=Phase(row["phase"]),
        asked_at=_time(row["asked_at"]),
        first_asked_at=_time(row["first_asked_at"]),
        etag=etag,
        **{name: fact for name, fact in json.loads(row["facts"]).items() if name in Batch.__dataclass_fields__},
    )


def _device_facts(device: Device) -> dict[str, Any]:
    facts = {name: value for name, value in asdict(device).items() if value}
    if device.registration_id == device.device_id:
        del facts["registration_id"]
    return facts


def _device(facts: Mapping[str, Any]) -> Device:
    known = {name: facts[name] for name in Device.__dataclass_fields__ if name in facts}
    known |= {"standing": Standing(known["standing"]), "before": tuple(known.get("before", ()))}
    return Device(**{"registration_id": known["device_id"], **known})


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
