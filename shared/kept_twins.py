"""Twins of hub identities that a breach of a group deletes, until they are put back: one row for each device.

A row that waits to be put back is never overwritten by the twin of an identity that a registration made anew in
between; one that was put back, or that nobody would put back any more, is.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.enrollment import Twin
from shared.errors import Conflict
from shared.ledger import Row, Table, Write
from shared.rows import COLUMN, stamp

ROWS, BYTES = 100, 3_000_000
"""What goes into one transaction: at most 100 rows and 4 MiB (azure-docs table-service, entity group transactions)."""
TRIES = 5


@dataclass(frozen=True)
class Kept:
    """A twin that is kept, or was."""

    device_id: str
    rollover_id: str
    """The rollover that deleted the identity, and is to put the twin back."""
    at: datetime
    identity_etag: str
    """Of the identity that was deleted. Its twin does not show a generation; a new identity has another ETag."""
    twin: Twin | None
    """None once it was put back."""
    newcomer: bool = False
    """Its device was not there before the theft, as far as anybody knows."""
    etag: str = ""


@dataclass(frozen=True)
class Owed:
    """A kept twin that waits to be put back, without its content."""

    device_id: str
    rollover_id: str
    at: datetime
    newcomer: bool = False


class KeptTwins:
    """Kept twins of one group, over the table of the works."""

    def __init__(self, table: Table, partition: str) -> None:
        self._table = table
        self._partition = f"removed.{partition}"

    def keep(self, found: Sequence[Kept], forgotten: Callable[[Kept], bool]) -> None:
        """Keep these, before their identities are deleted. ``forgotten``: whether nobody puts that one back any more.

        Raises:
            Conflict: somebody else keeps the same ones at this moment.
        """
        for some in _chunks(found, self._row):
            try:
                # Nearly always there is none yet: one call for a hundred.
                self._table.commit([Write(self._row(one)) for one in some])
            except Conflict:
                self._keep_each(some, forgotten)

    def _keep_each(self, found: Sequence[Kept], forgotten: Callable[[Kept], bool]) -> None:
        for _ in range(TRIES):
            known = self.read(one.device_id for one in found)
            writes = []
            for one in found:
                before = known.get(one.device_id)
                after = one if before is None else merged(before, one, forgotten)
                if after is not before:
                    writes.append(Write(self._row(after), before.etag if before else None))
            try:
                if writes:
                    self._table.commit(writes)
            except Conflict:
                continue
            return
        raise Conflict("others keep the same twins at this moment")

    def read(self, device_ids: Iterable[str]) -> dict[str, Kept]:
        """The kept ones among these devices."""
        rows = (self._table.read(self._partition, _key(one)) for one in device_ids)
        kept = (_from_row(*found) for found in rows if found is not None)
        return {one.device_id: one for one in kept}

    def to_put_back(self, after: str | None, most: int) -> tuple[list[Owed], str | None]:
        """The next twins that wait to be put back, in the order of their rows; where to go on, or None at the end."""
        found: list[Owed] = []
        columns = ("RowKey", "device_id", "rollover_id", "at", "put_back", "newcomer")
        for row, _ in self._table.slice(self._partition, (after or "") + " ", "~", columns=columns):
            after = row["RowKey"]
            if not row["put_back"]:
                at, newcomer = datetime.fromisoformat(row["at"]), bool(row.get("newcomer"))
                found.append(Owed(row["device_id"], row["rollover_id"], at, newcomer))
            if len(found) == most:
                return found, after
        return found, None

    def note_put_back(self, kept: Sequence[Kept]) -> None:
        """Note that these twins, as read, are back; their content is not kept any longer.

        Raises:
            Conflict: somebody noted it at this moment.
        """
        for some in _chunks([replace(one, twin=None) for one in kept], self._row):
            self._table.commit([Write(self._row(one), one.etag) for one in some])

    def _row(self, kept: Kept) -> Row:
        text = kept.twin.canonical() if kept.twin else ""
        parts = [text[at : at + COLUMN] for at in range(0, len(text), COLUMN)]
        return {
            "PartitionKey": self._partition,
            "RowKey": _key(kept.device_id),
            "device_id": kept.device_id,
            "rollover_id": kept.rollover_id,
            "at": stamp(kept.at),
            "identity_etag": kept.identity_etag,
            "put_back": kept.twin is None,
            "newcomer": kept.newcomer,
            "parts": len(parts),
            **{f"twin{number}": part for number, part in enumerate(parts)},
        }


def merged(before: Kept, found: Kept, forgotten: Callable[[Kept], bool]) -> Kept:
    """What to keep of a device of which something is kept: ``before`` itself when nothing changes."""
    if before.twin is None or (before.rollover_id != found.rollover_id and forgotten(before)):
        return replace(found, etag=before.etag)
    if before.identity_etag == found.identity_etag:
        # The very identity is still there; one answer shows its ETag and its twin, which may have been written since.
        return replace(found, etag=before.etag)
    if before.rollover_id != found.rollover_id:
        return replace(before, rollover_id=found.rollover_id)
    return before


def _chunks(kept: Sequence[Kept], row: Callable[[Kept], Row]) -> Iterator[list[Kept]]:
    some: list[Kept] = []
    size = 0
    for one in kept:
        bytes_ = len(json.dumps(row(one)).encode())
        if some and (len(some) == ROWS or size + bytes_ > BYTES):
            yield some
            some, size = [], 0
        some.append(one)
        size += bytes_
    if some:
        yield some


def _key(device_id: str) -> str:
    return hashlib.sha256(device_id.encode()).hexdigest()


def _from_row(row: Mapping[str, object], etag: str) -> Kept:
    text = "".join(str(row[f"twin{number}"]) for number in range(int(str(row["parts"]))))
    twin = json.loads(text) if text else None
    return Kept(
        device_id=str(row["device_id"]),
        rollover_id=str(row["rollover_id"]),
        at=datetime.fromisoformat(str(row["at"])),
        identity_etag=str(row["identity_etag"]),
        twin=Twin("", twin["tags"], twin["desired"]) if twin else None,
        newcomer=bool(row.get("newcomer")),
        etag=etag,
    )
