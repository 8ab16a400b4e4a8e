"""The device's A/B certificate store: two slots and a pointer, safe against a power cut at any point.

On the medium::

    a.pem, b.pem   key and chain of one credential each, in one file, so never a mixed pair; 0600
    state.json     {"version": 1, "current": "a", "candidate": "<sha256>" | null, "assignment": {...} | null}

``current`` is the slot the hub accepted last. It is never written to: a new credential goes to the other slot, and
only when the hub has accepted that one does the pointer move, in one rename. What lies in the other slot is the
*candidate* while its thumbprint stands in the pointer (the hub has not yet accepted it, DPS may have), else the
*previous* credential, kept because it may be the way back in. Whatever survives a cut, the credential the hub
accepts is in one of the two slots: before the move the current one or the candidate, after it the new current one.

Nothing here judges a credential; an expired one is kept like any other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from device.credential import Credential
from device.disk import Directory, Disk, replace_file
from device.errors import NotACredential

type Slot = Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where DPS sent the device: the hub's host name, and its device ID there (not always the registration ID)."""

    hub: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A credential in a slot; ``path`` is the file that holds its key and its chain."""

    slot: Slot
    path: Path
    credential: Credential


class CertificateStore:
    """Two slots in ``directory``. Used by one thread; reads the medium once, at the start.

    Every method that writes raises OSError when the medium refuses; what was kept on it before is then still kept.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk or Directory(directory)
        self._slots: dict[Slot, Credential] = {}
        self._current: Slot | None = None
        self._candidate: str | None = None
        self._assignment: Assignment | None = None
        self._load()

    @property
    def current(self) -> Stored | None:
        """The credential the hub accepted last; None before the first one was."""
        return self._stored(self._current)

    @property
    def other(self) -> Stored | None:
        """The candidate, or else the previous credential; None when the other slot holds nothing usable."""
        return self._stored(_beside(self._current))

    @property
    def candidate(self) -> Stored | None:
        """The credential that waits for the hub to accept it; None when there is none."""
        other = self.other
        return other if other and other.credential.sha256 == self._candidate else None

    @property
    def assignment(self) -> Assignment | None:
        """The hub DPS named last, so that a restart needs no new registration."""
        return self._assignment

    def stage(self, credential: Credential) -> Stored:
        """Keep ``credential`` as the candidate, in place of what the other slot held; durable on return.

        The slot is written first and the pointer second. A cut in between leaves a usable "previous" credential
        which the source will offer again.
        """
        slot = _beside(self._current)
        replace_file(self._disk, _file(slot), credential.pem)
        self._slots[slot] = credential
        self._point(self._current, credential.sha256, self._assignment)
        return Stored(slot, self._directory / _file(slot), credential)

    def commit(self, assignment: Assignment) -> None:
        """The hub ``assignment`` names accepted what is in the other slot: it is the current one from now on."""
        other = self.other
        if other is None:
            raise ValueError("the other slot is empty: there is nothing to commit")
        self._point(other.slot, None, assignment)

    def remember(self, assignment: Assignment) -> None:
        """Keep where DPS sent the device; no write when that is known already."""
        if assignment != self._assignment:
            self._point(self._current, self._candidate, assignment)

    def _point(self, current: Slot | None, candidate: str | None, assignment: Assignment | None) -> None:
        state = {
            "version": 1,
            "current": current,
            "candidate": candidate,
            "assignment": assignment and {"hub": assignment.hub, "device_id": assignment.device_id},
        }
        # Known here even if the medium refuses: what happened has happened, and the next write tells it too.
        self._current, self._candidate, self._assignment = current, candidate, assignment
        replace_file(self._disk, "state.json", json.dumps(state).encode())

    def _load(self) -> None:
        for slot in ("a", "b"):
            data = self._disk.read(_file(slot))
            try:
                if data is not None:
                    self._slots[slot] = Credential.from_pem(data)
            except NotACredential:
                continue  # a worn-out medium: what the other slot holds is all there is
        try:
            state = json.loads(self._disk.read("state.json") or b"")
            kept = state["assignment"]
            self._current = state["current"] if state["current"] in self._slots else None
            self._candidate = state["candidate"]
            self._assignment = Assignment(kept["hub"], kept["device_id"]) if kept else None
        except (ValueError, KeyError, TypeError):
            self._current = None
        if self._current is None and self._slots:
            self._make_do()

    def _make_do(self) -> None:
        """No pointer to a usable credential: what there is was never accepted, or is all that is left to try.

        The newest is taken for a candidate and the older one, if any, for the current one, so both get tried.
        """
        newest = max(self._slots, key=lambda slot: self._slots[slot].not_before)
        self._current, self._candidate = _beside(newest), self._slots[newest].sha256

    def _stored(self, slot: Slot | None) -> Stored | None:
        credential = self._slots.get(slot) if slot else None
        return Stored(slot, self._directory / _file(slot), credential) if slot and credential else None


def _beside(slot: Slot | None) -> Slot:
    return "b" if slot == "a" else "a"


def _file(slot: Slot) -> str:
    return f"{slot}.pem"
