"""What the stand-in's journal says about each device. Pure: entries in, facts out.

The journal is written where connections are accepted and refused, so nothing here is a device's own word.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

type Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Session:
    """One accepted connection to the hub. Times are seconds since 1970, real time; `sha256` of the certificate."""

    began: float
    ended: float
    sha256: str
    ended_because: str | None
    """None: it still lived at the end of the observation."""


@dataclass(frozen=True)
class Refusal:
    """A connect, at hub or DPS, or a registration that was turned away."""

    wall: float
    service: str
    reason: str
    sha256: str | None


@dataclass(frozen=True)
class Registration:
    """A registration that DPS assigned to a hub."""

    wall: float
    sha256: str


@dataclass(frozen=True)
class DeviceFacts:
    """One device, as the cloud's side saw it."""

    registration_id: str
    sessions: tuple[Session, ...]
    registrations: tuple[Registration, ...]
    refusals: tuple[Refusal, ...]
    longest_gap_s: float
    """Longest time without an accepted session since the first one; infinite when there never was one."""
    thumbprints: tuple[str, ...]
    """SHA-256 of the certificate of each session, oldest first, repeats left out."""

    @classmethod
    def of(
        cls,
        registration_id: str,
        sessions: Sequence[Session],
        registrations: Sequence[Registration],
        refusals: Sequence[Refusal],
        until: float,
    ) -> "DeviceFacts":
        """With what follows from the sessions, observed up to `until`."""
        return cls(
            registration_id=registration_id,
            sessions=tuple(sessions),
            registrations=tuple(registrations),
            refusals=tuple(refusals),
            longest_gap_s=_longest_gap(sessions, until),
            thumbprints=tuple(_without_repeats(session.sha256 for session in sessions)),
        )


def facts_of(entries: Sequence[Entry], registration_ids: Iterable[str], until: float) -> list[DeviceFacts]:
    """The facts of each device, in the given order, observed up to `until` (seconds since 1970)."""
    own = by_device(entries)
    return [_device(own.get(name.casefold(), []), name, until) for name in registration_ids]


def by_device(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The entries of each device, oldest first, by its name in lower case; those of no device under ""."""
    found: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry["seq"]):
        found.setdefault(_name_in(entry), []).append(entry)
    return found


def _device(own: Sequence[Entry], registration_id: str, until: float) -> DeviceFacts:
    return DeviceFacts.of(registration_id, _sessions(own, until), _registrations(own), _refusals(own), until)


def _name_in(entry: Entry) -> str:
    name = entry.get("registration_id") or entry.get("device_id")
    if entry["kind"] == "request":  # a device talks to DPS by MQTT, people and functions by HTTPS
        name = entry.get("principal") if entry.get("method") == "MQTT" else None
    return str(name or "").casefold()


def _sessions(own: Sequence[Entry], until: float) -> list[Session]:
    ends = {e["session"]: e for e in own if e["kind"] == "disconnect" and e.get("service") == "iothub"}
    accepted = [e for e in own if e["kind"] == "connect" and e.get("service") == "iothub" and e["accepted"]]
    found = []
    for connect in accepted:
        end = ends.get(connect["session"])
        ended, because = (end["wall"], end["reason"]) if end else (until, None)
        found.append(Session(connect["wall"], min(ended, until), connect["sha256"] or "", because))
    return sorted(found, key=lambda session: session.began)


def _registrations(own: Sequence[Entry]) -> list[Registration]:
    assigned = [e for e in own if e["kind"] == "registration" and e["status"] == "assigned"]
    return [Registration(entry["wall"], entry["sha256"] or "") for entry in assigned]


def _refusals(own: Sequence[Entry]) -> list[Refusal]:
    found = []
    for entry in own:
        if entry["kind"] == "connect" and not entry["accepted"]:
            found.append(Refusal(entry["wall"], entry["service"], entry["reason"] or "refused", entry.get("sha256")))
        elif entry["kind"] == "registration" and entry["status"] not in ("assigned", "assigning"):
            found.append(Refusal(entry["wall"], "dps", f"registration {entry['status']}", entry.get("sha256")))
        elif _is_refused_request(entry):
            found.append(Refusal(entry["wall"], "dps", f"registration answered {entry['status']}", None))
    return found


def _is_refused_request(entry: Entry) -> bool:
    """A device's request that DPS turned away before there was a registration to speak of."""
    status = entry.get("status")
    return entry["kind"] == "request" and isinstance(status, int) and 400 <= status < 500 and status != 429


def _longest_gap(sessions: Sequence[Session], until: float) -> float:
    if not sessions:
        return float("inf")
    longest, covered = 0.0, sessions[0].ended
    for session in sessions[1:]:
        longest = max(longest, session.began - covered)
        covered = max(covered, session.ended)
    return max(longest, until - covered)


def _without_repeats(thumbprints: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for thumbprint in thumbprints:
        if not kept or kept[-1] != thumbprint:
            kept.append(thumbprint)
    return kept
