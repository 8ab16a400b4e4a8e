"""Entries of the enrollment list, of either kind: keeping, writing, deleting, and finding by certificate.

`enrollments` and `groups` say how the two kinds differ.
"""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local.azure.clock import Clock
from local.azure.dps.attestation import Attestation, Rules, replaced
from local.azure.dps.ca_certificates import CaCertificates
from local.azure.dps.members import checked
from local.azure.dps.refusals import AlreadyExists, BadRequest, CertificateInUse, EtagMismatch, NotFound
from local.azure.dps.stamps import Stamps, matches
from local.azure.knobs import Knobs

# azure-docs concepts-service: at most 128 characters, alphanumeric or - . _ :, the last one alphanumeric or -
_ID = re.compile(r"[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]")
HISTORY = timedelta(minutes=10)


@dataclass(frozen=True)
class Entry:
    """One enrollment or group as it stood after a write; never changed, only replaced."""

    id: str
    document: dict[str, Any]
    attestation: Attestation

    @property
    def etag(self) -> str:
        """As in the document."""
        return str(self.document["etag"])

    @property
    def enabled(self) -> bool:
        """Whether its devices may register; a null status counts as enabled."""
        return str(self.document["provisioningStatus"]) != "disabled"


@dataclass(frozen=True)
class Surroundings:
    """What both kinds of entries share."""

    clock: Clock
    knobs: Knobs
    stamps: Stamps
    ca_certificates: CaCertificates
    # SHA-256 thumbprint -> who holds the certificate: (kind, key of the entry)
    holders: dict[str, set[tuple[str, str]]]


class Entries(ABC):
    """The entries of one kind, by ID in lower case: IDs are case-insensitive and shown as first stored."""

    kind: str
    id_member: str
    x509_members: tuple[str, ...]

    def __init__(self, surroundings: Surroundings, on_delete: Callable[[str, str], None]) -> None:
        self._around = surroundings
        self._on_delete = on_delete
        self._kept: dict[str, Entry] = {}
        self._writes: deque[tuple[datetime, str, Entry | None]] = deque()  # (when, key, what stood before)

    def get(self, entry_id: str) -> Entry:
        """The entry; NotFound otherwise."""
        entry = self._kept.get(entry_id.lower())
        if entry is None:
            raise NotFound(f"{self.kind} not found.")
        return entry

    def find(self, entry_id: str, lag_s: float) -> Entry | None:
        """The entry as it stood `lag_s` seconds ago, or None."""
        if not lag_s:
            return self._kept.get(entry_id.lower())
        return next((one for one in self.as_seen(lag_s) if one.id.lower() == entry_id.lower()), None)

    def all(self) -> list[tuple[str, Entry]]:
        """Every (key, entry)."""
        return list(self._kept.items())

    def put(self, entry_id: str, sent: object, if_match: str | None) -> Entry:
        """Create or replace the whole entry.

        409 on an existing one without If-Match (azure-sdk-for-python#35187), 412 when the etag is old, 404
        when there is an If-Match and nothing to match (no source; the careful reading).
        """
        if not _ID.fullmatch(entry_id):
            raise BadRequest(f"Invalid {self.id_member}.")
        if not isinstance(sent, dict) or str(sent.get(self.id_member, "")).lower() != entry_id.lower():
            raise BadRequest(f"{self.id_member} must be the same in the address and in the body.")
        key, current = entry_id.lower(), self._kept.get(entry_id.lower())
        self._check_etag(current, if_match)
        rules = Rules(
            self.x509_members,
            self._around.ca_certificates.names,
            self._around.ca_certificates.verified_names,
            self._around.knobs,
            self._around.clock.now(),
        )
        attestation = replaced(sent.get("attestation"), current.attestation if current else None, rules)
        self._check_alone(key, attestation)
        now = self._around.stamps.now()
        entry = Entry(
            current.id if current else str(sent[self.id_member]),
            {
                **self.particulars(sent),
                **checked(sent),
                "etag": self._around.stamps.etag(),
                "createdDateTimeUtc": current.document["createdDateTimeUtc"] if current else now,
                "lastUpdatedDateTimeUtc": now,
            },
            attestation,
        )
        self._store(key, entry)
        return entry

    @abstractmethod
    def particulars(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Members that only this kind has. BadRequest when one is wrong."""

    def delete(self, entry_id: str, if_match: str | None) -> None:
        """Remove it: 404 when it is not there, 412 when the etag is old, unconditional without If-Match."""
        entry = self.get(entry_id)
        if if_match is not None and not matches(if_match, entry.etag):
            raise EtagMismatch
        self._store(entry_id.lower(), None)
        self._on_delete(self.kind, entry_id.lower())

    def as_seen(self, lag_s: float) -> list[Entry]:
        """Every entry, ordered by key, as it stood `lag_s` seconds ago (knob auth_propagation_s)."""
        seen: dict[str, Entry | None] = dict(self._kept)
        since = self._around.clock.now() - timedelta(seconds=lag_s)
        for when, key, before in reversed(self._writes):
            if lag_s and when > since:
                seen[key] = before
        return [entry for _, entry in sorted(seen.items()) if entry is not None]

    def holding(self, thumbprint: str, lag_s: float) -> list[Entry]:
        """The entries with that certificate (SHA-256) in a slot."""
        if lag_s:
            return [entry for entry in self.as_seen(lag_s) if thumbprint in entry.attestation.thumbprints]
        held = sorted(self._around.holders.get(thumbprint, ()))
        return [self._kept[key] for kind, key in held if kind == self.kind]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._writes.clear()

    def _check_etag(self, current: Entry | None, if_match: str | None) -> None:
        if current is None and if_match is not None:
            raise NotFound(f"{self.kind} not found.")
        if current is not None and if_match is None:
            raise AlreadyExists
        if current is not None and if_match is not None and not matches(if_match, current.etag):
            raise EtagMismatch

    def _check_alone(self, key: str, attestation: Attestation) -> None:
        if self._around.knobs.same_certificate_in_two_enrollments == "allow":
            return
        for thumbprint in attestation.thumbprints:
            if self._around.holders.get(thumbprint, set()) - {(self.kind, key)}:
                raise CertificateInUse

    def _store(self, key: str, entry: Entry | None) -> None:
        before = self._kept.pop(key, None)
        for thumbprint in before.attestation.thumbprints if before else ():
            self._around.holders[thumbprint].discard((self.kind, key))
        if entry is not None:
            self._kept[key] = entry
            for thumbprint in entry.attestation.thumbprints:
                self._around.holders.setdefault(thumbprint, set()).add((self.kind, key))
        now = self._around.clock.now()
        while self._writes and self._writes[0][0] < now - HISTORY:
            self._writes.popleft()
        self._writes.append((now, key, before))
