"""Which of a group's identities a thief with the CA's key may have made since a moment. Pure.

The hub pins the leaf that a device registered with, by its thumbprint, and a CA's key makes no leaf of the same one.
Who has stolen only that key can get at a device in one way: by registering in its name. So an identity that has not
registered since the theft, or is pinned to a leaf that it was pinned to before, is its device's own still.

What that stands on: the leaf keys are the devices' own (the operator says so), the time of the theft is not too late
(the preview shows what an earlier one would mean), and the hub goes by thumbprint (azure-docs#70976, #108289,
azure-iot-sdk-csharp#3360; facts of the field, idea 1 and its limits).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.enrollment import Member, Shown
from shared.incident import Incident
from shared.pins import Since

CLOCKS = timedelta(minutes=5)
"""How far apart the clocks may be that are compared: of whoever says when the theft was, of DPS, and of ours, by which
it is noted what the hub pins. As much earlier counts as since the theft."""


@dataclass(frozen=True)
class Scope:
    """Which identities of a group a breach evicts, and why not fewer."""

    since: datetime
    only: bool
    """Only the suspects; else everybody, the suspects first."""
    why: str


def scope_of(
    since: datetime, *, leaf_keys_safe: bool, by_authority: Sequence[str], known_since: datetime | None
) -> Scope:
    """How far a breach can be narrowed.

    Args:
        since: the earliest moment at which the CA's key may have been stolen.
        leaf_keys_safe: the operator says that no leaf key can have been stolen with it.
        by_authority: devices that the hub admits by a CA, whatever their leaf.
        known_since: when the first complete look at the hub's pins began.
    """
    if not leaf_keys_safe:
        return Scope(since, only=False, why="leaf_keys_safe was not said: a stolen leaf needs no new registration")
    if by_authority:
        named = ", ".join(by_authority[:3]) + (f" and {len(by_authority) - 3} more" if len(by_authority) > 3 else "")
        why = f"the hub admits devices by a CA and not by a pinned thumbprint: {named}"
        return Scope(since, only=False, why=why)
    why = "who registered since, unless the hub was seen to pin the same leaf before"
    if known_since is None:
        why += "; what it pinned was never looked at as a whole, so that spares nobody"
    elif known_since > since:
        why += f"; what it pinned is known from {known_since:%Y-%m-%d %H:%M:%SZ} on only, so that spares few or none"
    return Scope(since, only=True, why=why)


def is_suspect(member: Member, since: datetime) -> bool:
    """Whether a device registered, or somebody in its name, since a moment; one without a date may have."""
    return member.last_updated is None or member.last_updated >= since - CLOCKS


def is_newcomer(pinned: Since, since: datetime) -> bool:
    """Whether a name that DPS registered for the first time since the theft may be one that only a thief used: the hub
    was not seen to pin anything to it before. A new device of the fleet is one, too; so nobody waits for it, and it
    gets its twin when it comes.
    """
    return all(at >= since for at in pinned.values())


def count_since(members: Iterable[Member], moments: Sequence[datetime]) -> list[int]:
    """How many there are, and how many of them registered since each moment."""
    counts = [0] * (1 + len(moments))
    for member in members:
        counts[0] += 1
        for at, since in enumerate(moments, 1):
            counts[at] += is_suspect(member, since)
    return counts


def why_spared(shown: Shown, pinned: Since, incident: Incident) -> str | None:
    """Why an identity that registered since the theft is not evicted all the same; None when it is."""
    if not incident.suspects_only or incident.compromised_since is None or shown.authentication != "selfSigned":
        return None
    seen = [pinned.get(one) for one in shown.thumbprints()]
    if not seen or not all(at is not None and at < incident.compromised_since - CLOCKS for at in seen):
        return None
    first = max(at for at in seen if at is not None)
    return f"left alone: the hub pins the leaf that it pinned on {first:%Y-%m-%d %H:%M:%SZ} already"
