"""What a person asked for: who, why, which certificates are compromised, and how to contain them. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.certificate import Outgoing


class Mode(StrEnum):
    """How the hub is kept from accepting a compromised certificate; DPS never changes anything there by itself."""

    REMOVE = "remove"
    """The identity is deleted, the guide's first way: its twin is saved, queued messages to the device are lost."""
    DISABLE = "disable"
    """The identity is disabled until the replacement is in place: nothing of it is lost."""
    REPROVISION = "reprovision"
    """The guide's second way: the identity stays, and accepts what is compromised until the device registers anew."""


@dataclass(frozen=True)
class Incident:
    """One person's call, as each rollover that it began remembers it."""

    id: str
    mode: Mode
    reason: str
    requested_by: str
    """Name and object ID of the caller, as the token said."""
    requested_by_id: str
    """Object ID of the caller: a second person has another one."""
    compromised: tuple[Outgoing, ...]
    ticket: str | None = None
    accepted_routes: tuple[str, ...] = ()
    """Escape routes that the caller saw and accepted, by name (``shared.escape``)."""
    together: tuple[str, ...] = ()
    """What else the same call contains, named as an escape route: it is waited for, and takes no person."""
    break_glass: str | None = None
    """Why nobody else was asked although more devices than the fuse allows are concerned."""
    approve_by: datetime | None = None
    """Until when a second person must have agreed; None when nobody needs to."""
    approved_by: str | None = None
    restores: str | None = None
    """The rollover that this one takes over from: the twin that it kept is this one's to restore."""
    leaf: str = ""
    """The certificate, in PEM, of a device of a group that is kept out: DPS has no entry of its own to disable."""
    other_leaf: str = ""
    """The one that it was being rolled from or to, which would let it in as well."""
    was_enabled: bool = True
    """Whether the enrollment was enabled before: one that was not is not enabled at the end."""
    compromised_since: datetime | None = None
    """When a group's CA may have been stolen at the earliest: who registered since is evicted first."""
    suspects_only: bool = False
    """Only who may be a thief's is evicted (``shared.suspects``)."""

    @property
    def awaits_approval(self) -> bool:
        """Whether nobody has agreed yet and somebody must."""
        return self.approve_by is not None and self.approved_by is None

    def covers(self, since: datetime | None, *, suspects_only: bool) -> bool:
        """Whether it evicts all that a call of this scope would."""
        if not self.suspects_only or self.compromised_since is None:
            return True
        return suspects_only and since is not None and self.compromised_since <= since

    @property
    def mark(self) -> str:
        """What a hub identity that we disabled has as its status reason (128 characters at most)."""
        return f"contained by {self.id}"[:128]
