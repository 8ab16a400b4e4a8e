"""One device, as the probe handles it: entries at DPS, registrations, the identity at the hub, sessions, queries."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.contract.dps_kit import Credential, Device, call, sha256_in, x509_enrollment
from tests.contract.iothub_parts import Rest
from tests.contract.probe.door import Session
from tests.contract.target import Target

Slots = tuple[str | None, str | None]


@dataclass(frozen=True)
class Registered:
    """How a registration went: how long it was refused with 401, how long it took, and how it ended."""

    refused_s: float
    took_s: float
    retry_after: str | None
    state: dict[str, Any] | None  # None: refused to the end
    over_at: float = 0.0

    @property
    def status(self) -> str:
        """assigned, disabled, failed, or what the refusal was."""
        return str(self.state["status"]) if self.state else "refused"


class Asking:
    """The calls. Nothing here knows a knob."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.rest = Rest(target)
        self.sessions: list[Session] = []

    def put_entry(
        self, name: str, primary: Any, secondary: Any = None, *, new: bool = False, if_match: str = "*", **members: Any
    ) -> requests.Response:
        """PUT an individual enrollment: a new one, or over the one that is there."""
        body = x509_enrollment(name, primary, secondary, **members)
        headers = {} if new else {"If-Match": if_match}
        return call(self.target, "PUT", f"/enrollments/{name}", body, headers=headers)

    def start(self, name: str, credential: Credential) -> requests.Response:
        """The register call alone."""
        return self._device(name, credential).start()

    def register(self, name: str, credential: Credential, patience_s: float | None = None) -> Registered:
        """Register until it is accepted, and wait for the end. 401 is asked again for `patience_s`."""
        began = time.monotonic()
        patience = self.target.pace.patience if patience_s is None else patience_s
        answer = self.start(name, credential)
        tries = 1
        while answer.status_code == 401 and time.monotonic() < began + patience:
            time.sleep(max(self.target.pace.poll, 0.05))
            answer = self.start(name, credential)
            tries += 1
        refused = 0.0 if tries == 1 else time.monotonic() - began
        if answer.status_code != 202:
            return Registered(refused, 0.0, None, None)
        return self.follow(name, credential, answer, refused)

    def follow(
        self, name: str, credential: Credential, accepted: requests.Response, refused_s: float = 0.0
    ) -> Registered:
        """Poll a registration to its end."""
        began = time.monotonic()
        path = f"/operations/{accepted.json()['operationId']}"
        answer = accepted
        while answer.status_code in (202, 429) and time.monotonic() < began + self.target.pace.patience:
            time.sleep(max(self.target.pace.poll, 0.05))
            answer = self._device(name, credential).ask("GET", path)
        over = time.monotonic()
        state = answer.json().get("registrationState") if answer.status_code == 200 else None
        return Registered(refused_s, over - began, accepted.headers.get("Retry-After"), state, over)

    def _device(self, name: str, credential: Credential) -> Device:
        return Device(self.target, name, credential, self.folder, "2021-10-01")

    def identity(self, name: str) -> dict[str, Any] | None:
        """The device identity; None when there is none."""
        answer = self.rest.call("GET", f"/devices/{name}")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def put_identity(self, identity: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Write an identity over what is there; gives what the hub shows of it."""
        answer = self.rest.call("PUT", f"/devices/{identity['deviceId']}", identity | changes, If_Match="*")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def connect(self, name: str, credential: Credential) -> Session:
        """Knock at the hub's door."""
        session = Session(self.target, name, credential, self.folder)
        self.sessions.append(session)
        return session

    def close(self) -> None:
        """End every session that is left."""
        for session in self.sessions:
            if session.alive:
                session.close()

    def query(self, condition: str) -> requests.Response:
        """SELECT … FROM devices WHERE …"""
        return self.rest.query(f"SELECT deviceId, x509Thumbprint FROM devices WHERE {condition}")  # noqa: S608  not SQL

    def query_shows(self, name: str, condition: str) -> bool:
        """Whether the query finds the device; a query beyond the quota finds nothing."""
        answer = self.query(condition)
        return answer.ok and any(row.get("deviceId") == name for row in answer.json())


def entry_slots(entry: dict[str, Any]) -> Slots:
    """SHA-256 thumbprints of an enrollment, primary first."""
    return sha256_in(entry, "primary"), sha256_in(entry, "secondary")


def hub_slots(identity: dict[str, Any]) -> Slots:
    """Thumbprints of a device identity, primary first."""
    slots = identity["authentication"]["x509Thumbprint"]
    return slots.get("primaryThumbprint"), slots.get("secondaryThumbprint")


def pinned(thumbprint: str) -> dict[str, Any]:
    """The authentication of an identity that takes one certificate."""
    slots = {"primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint}
    return {"type": "selfSigned", "x509Thumbprint": slots}
