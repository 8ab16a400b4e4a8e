"""Registration states: what DPS remembers of each device that tried to register."""

from dataclasses import dataclass
from typing import Any

from local.azure.dps.refusals import EtagMismatch, NotFound
from local.azure.dps.stamps import Stamps, matches


@dataclass(frozen=True)
class Registration:
    """`state` is the service's JSON (REST: DeviceRegistrationState); `owner` the (kind, key) of the entry."""

    state: dict[str, Any]
    owner: tuple[str, str]
    sha256: str  # the leaf of the last registration that succeeded or failed; the service API does not show it


class Registrations:
    """By registration ID, case-insensitive."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._kept: dict[str, Registration] = {}

    def get(self, registration_id: str) -> Registration:
        """The registration; NotFound if the device never tried, or it was deleted."""
        found = self.find(registration_id)
        if found is None:
            raise NotFound("Registration not found.")
        return found

    def find(self, registration_id: str) -> Registration | None:
        """The registration, or None."""
        return self._kept.get(registration_id.lower())

    def record(
        self, registration_id: str, owner: tuple[str, str], sha256: str, outcome: dict[str, Any]
    ) -> dict[str, Any]:
        """Write `outcome` (status and what belongs to it) with a new etag and time; gives the whole state.

        The time of creation stays that of the first try: `lastUpdatedDateTimeUtc` is what moves.
        """
        before = self.find(registration_id)
        now = self._stamps.now()
        state = {
            "registrationId": before.state["registrationId"] if before else registration_id,
            "createdDateTimeUtc": before.state["createdDateTimeUtc"] if before else now,
            **outcome,
            "lastUpdatedDateTimeUtc": now,
            "etag": self._stamps.etag(),
        }
        self._kept[registration_id.lower()] = Registration(state, owner, sha256)
        return state

    def of_entry(self, kind: str, key: str) -> list[tuple[str, dict[str, Any]]]:
        """(key, state) of every device whose last registration went through that entry."""
        return [(name, one.state) for name, one in self._kept.items() if one.owner == (kind, key)]

    def delete(self, registration_id: str, if_match: str | None) -> None:
        """Forget it. The device identity at the hub stays (azure-docs how-to-unprovision-devices)."""
        found = self.get(registration_id)
        if if_match is not None and not matches(if_match, found.state["etag"]):
            raise EtagMismatch
        del self._kept[registration_id.lower()]

    def forget_entry(self, kind: str, key: str) -> None:
        """The entry was deleted: its registrations go with it (a guess; no source says they stay)."""
        for name, _ in self.of_entry(kind, key):
            del self._kept[name]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
