"""What the walk of a breach needs besides ``tests.fakes``: the sessions of the hub, and more certificates."""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.certificate import Certificate, parse_certificate
from shared.enrollment import HubIdentity
from tests.certificates import NOW, a_certificate, generation
from tests.fakes import InMemoryHub, InMemoryVault
from tests.walk.model import NAME, NEW, OLD

OTHER = parse_certificate(a_certificate(NAME, ends=NOW + timedelta(days=300)).der)
"""What the second slot holds where it holds something of its own."""
NEXT = parse_certificate(a_certificate(NAME, ends=NOW + timedelta(days=400)).der)
"""What the vault issues after NEW."""
SAME_KEY = parse_certificate(a_certificate(NAME, ends=NOW + timedelta(days=330), key=generation(0, NAME).key).der)
PAST = parse_certificate(a_certificate(NAME, ends=NOW - timedelta(days=1)).der)
LETTERS = {
    one.sha256_thumbprint: letter
    for one, letter in ((OLD, "o"), (NEW, "n"), (NEXT, "N"), (OTHER, "x"), (SAME_KEY, "k"), (PAST, "p"))
}
ENDS = {one.sha256_thumbprint: one.not_after for one in (OLD, NEW, NEXT, OTHER, SAME_KEY, PAST)}


class SessionHub(InMemoryHub):
    """A hub that knows who is connected. A session lives until its identity is disabled or deleted, or another
    connects; it outlives a change of thumbprints (azure-iot-sdk-python#968)."""

    def __init__(self, *, shows_late: bool = False) -> None:
        super().__init__()
        self.sessions: dict[str, str] = {}
        """Device ID → SHA-256 thumbprint of the certificate that the session began with."""
        self.shows_late = shows_late

    def connect(self, device_id: str, sha256_thumbprint: str, now: datetime) -> None:
        self.sessions[device_id] = sha256_thumbprint
        self.identities[device_id] = replace(self.identities[device_id], connected=True, connection_changed=now)

    def show(self, device_id: str) -> None:
        """The hub shows that nobody is connected, if so."""
        identity = self.identities.get(device_id)
        if identity is not None and identity.connected and device_id not in self.sessions:
            self.identities[device_id] = replace(identity, connected=False)

    def rewrite(self, identity: HubIdentity) -> None:
        before = self.identities.get(identity.device_id)
        super().rewrite(identity)
        if before is None:
            return
        if not identity.enabled:
            self.sessions.pop(identity.device_id, None)
        connected = before.connected and (self.shows_late or identity.device_id in self.sessions)
        new = self.identities[identity.device_id]
        self.identities[identity.device_id] = replace(
            new, connected=connected, connection_changed=before.connection_changed
        )

    def delete(self, identity: HubIdentity) -> None:
        super().delete(identity)
        self.sessions.pop(identity.device_id, None)


class RenewingVault(InMemoryVault):
    """A vault that issues by itself when it is asked, or never does."""

    renews = True
    fresh: tuple[Certificate, ...] = (NEW, NEXT)

    def issue(self, name: str) -> None:
        self.asked += 1
        if self.renews:
            self.add(name, *self.fresh)

    def add(self, name: str, *versions: Certificate) -> None:
        """The first of these that is not there yet becomes the latest."""
        kept = self.kept[name]
        fresh = [one for one in versions if one not in kept.versions]
        if fresh:
            kept.versions, kept.enabled = [*kept.versions, fresh[0]], True
