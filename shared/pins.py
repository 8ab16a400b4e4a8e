"""Which thumbprints the hub pins to its devices, and since when we know: the baseline of a narrowed breach.

    PartitionKey   RowKey                       what
    pins           <SHA-256 of the device ID>   each thumbprint that the hub accepts from it, and since when
    pins           round                        where the present round of looks is, and when the last one ended

What a query shows may be late, and a thumbprint is never noted earlier than it was seen: "since" errs to the late side,
which makes a device a suspect that is none, and never the other way round.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import batched

from shared.ledger import Row, Table, Write
from shared.rows import stamp

PARTITION = "pins"
ROUND = "round"
LARGEST = 100
"""Rows in one transaction (docs of Table storage)."""

Since = Mapping[str, datetime]
"""Thumbprint → when it was first seen with the device."""


@dataclass(frozen=True)
class Pinned:
    """A device and the thumbprints that the hub accepts from it."""

    device_id: str
    thumbprints: tuple[str, ...]


@dataclass(frozen=True)
class Round:
    """One look at every device of the hub, over several turns."""

    began_at: datetime
    cursor: str | None = None
    devices: int = 0
    ended_at: datetime | None = None
    """When this round ended; None while it goes on."""
    complete_since: datetime | None = None
    """When the first complete round began: of the time before, nothing is known."""
    etag: str = ""


class Pins:
    """The pins, over the table of the works."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def since(self, device_ids: Iterable[str]) -> dict[str, Since]:
        """What is known of these devices; those that are not known are left out."""
        rows = ((one, self._table.read(PARTITION, _key(one))) for one in device_ids)
        return {device_id: _since(found[0]) for device_id, found in rows if found is not None}

    def note(self, shown: Sequence[Pinned], now: datetime) -> None:
        """Note what the hub shows.

        Raises:
            Conflict: somebody else notes the same at this moment.
        """
        writes = []
        for one in shown:
            found = self._table.read(PARTITION, _key(one.device_id))
            before = _since(found[0]) if found else {}
            after = merged(before, one.thumbprints, now)
            if after != before:
                writes.append(Write(_row(one.device_id, after), found[1] if found else None))
        for some in batched(writes, LARGEST, strict=False):
            self._table.commit(list(some))

    def round(self) -> Round | None:
        """The present round of looks, or the last one."""
        found = self._table.read(PARTITION, ROUND)
        if found is None:
            return None
        row, etag = found
        times = {name: _time(row[name]) for name in ("ended_at", "complete_since")}
        return Round(datetime.fromisoformat(row["began_at"]), row["cursor"] or None, row["devices"], **times, etag=etag)

    def save_round(self, one: Round) -> Round:
        """Replace the round that was read.

        Raises:
            Conflict: another turn of it was faster.
        """
        row: Row = {
            "PartitionKey": PARTITION,
            "RowKey": ROUND,
            "began_at": stamp(one.began_at),
            "cursor": one.cursor or "",
            "devices": one.devices,
            "ended_at": stamp(one.ended_at) if one.ended_at else "",
            "complete_since": stamp(one.complete_since) if one.complete_since else "",
        }
        return replace(one, etag=self._table.commit([Write(row, one.etag or None)])[0])


def merged(before: Since, thumbprints: Iterable[str], now: datetime) -> Since:
    """When each of the thumbprints that are accepted now was first seen: one that was away in between counts anew."""
    return {one: before.get(one, now) for one in sorted(set(thumbprints))}


def _key(device_id: str) -> str:
    return hashlib.sha256(device_id.encode()).hexdigest()


def _row(device_id: str, since: Since) -> Row:
    times = {thumbprint: stamp(at) for thumbprint, at in since.items()}
    return {
        "PartitionKey": PARTITION,
        "RowKey": _key(device_id),
        "device_id": device_id,
        "since": json.dumps(times),
    }


def _since(row: Mapping[str, object]) -> dict[str, datetime]:
    return {thumbprint: datetime.fromisoformat(at) for thumbprint, at in json.loads(str(row["since"])).items()}


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
