"""Which enrollment, and which certificate of the vault, a device ID belongs to; kept beside the ledger.

The hub's log names devices by what clients call themselves, DPS and vault name them otherwise, and neither can be
asked by device ID. So whoever looks at an enrollment leaves a note here: every event, every sweep, every call.
It is a hint: who uses it reads the enrollment and compares.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Conflict
from shared.ledger import Row, Table, Write

PARTITION = "devices"


@dataclass(frozen=True)
class Device:
    """What is known of a device ID."""

    registration_id: str
    certificate_name: str
    """Empty when no certificate of the vault is known."""


class Devices:
    """Device IDs, over the ledger's table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def know(self, device_id: str, registration_id: str, certificate_name: str) -> None:
        """Remember it; written only when it is new."""
        found = self._table.read(PARTITION, _key(device_id))
        before = found[0] if found else {}
        if not certificate_name and before.get("registration_id") == registration_id:
            certificate_name = str(before["certificate_name"])
        row: Row = {
            "PartitionKey": PARTITION,
            "RowKey": _key(device_id),
            "device_id": device_id,
            "registration_id": registration_id,
            "certificate_name": certificate_name,
        }
        if any(before.get(name) != value for name, value in row.items()):
            with suppress(Conflict):  # somebody else knows it at this moment
                self._table.commit([Write(row, found[1] if found else None)])

    def all(self) -> dict[str, Device]:
        """Everything that is known, by device ID: read in pages."""
        rows = self._table.scan("", partition=PARTITION)
        return {row["device_id"]: Device(row["registration_id"], row["certificate_name"]) for row, _ in rows}

    def find(self, device_id: str) -> Device | None:
        """What is known of it; None when nobody has seen an enrollment for it."""
        found = self._table.read(PARTITION, _key(device_id))
        return Device(found[0]["registration_id"], found[0]["certificate_name"]) if found else None


def _key(device_id: str) -> str:
    """Device IDs may hold what a row key may not (``/``-free, but ``#`` and ``?`` are theirs)."""
    return hashlib.sha256(device_id.encode()).hexdigest()[:32]
