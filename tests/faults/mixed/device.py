"""A device of the fleet, and whoever stole a key of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.certificate import Certificate
from shared.enrollment import Twin

if TYPE_CHECKING:
    from tests.faults.mixed.fleet import Fleet

TWIN = Twin("t1", {"site": "Oslo", "rows": [1, 2.5, None]}, {"interval": 30, "nested": {"ø": True}})
HOUR, DAY = 3600.0, 86400.0


class Device:
    """It keeps its certificates, registers when the hub refuses it or a job asks, and now and then by itself."""

    def __init__(self, fleet: "Fleet", name: str, first: Certificate) -> None:
        self._fleet = fleet
        self.name = name
        self.holds = [first]
        self.uses = first
        self.used = {first.sha256_thumbprint}
        """What it was ever admitted with."""
        self.stolen: list[Certificate] = []
        self.away_until = fleet.clock.time
        self.lazy_s = fleet.chance.choice((10.0, HOUR, 2 * DAY, 9 * DAY))
        """How long it takes to fetch a new certificate."""
        self.early = fleet.chance.random() < 0.2
        """Whether it uses a new certificate without being asked."""
        self.disturbed = False
        """Whether a person's hand changed something of it that the product may not have seen yet."""
        self.twin_lost = False
        """Whether a person deleted its identity, and with it its twin."""
        self._asked: str | None = None
        self._again = False
        self._registering = False
        self._tries = 0
        self._fetches_at: datetime | None = None
        self._wakes_at: datetime | None = None
        self._thief_comes = False

    # --- the device -------------------------------------------------------------------------------------------------

    def wake_in(self, seconds: float) -> None:
        """Let it look around then, if not sooner."""
        when = self._fleet.clock.time + timedelta(seconds=seconds)
        if self._wakes_at is None or when < self._wakes_at:
            self._wakes_at = when
            self._fleet.later(seconds, lambda: self._wake(when))

    def _wake(self, when: datetime) -> None:
        if self._wakes_at != when:
            return
        self._wakes_at = None
        if self._fleet.clock.time < self.away_until:
            self.wake_in((self.away_until - self._fleet.clock.time).total_seconds())
        elif not self._registering:
            self._look_around()

    def is_asked(self, payload: Mapping[str, Any]) -> bool:
        """A job calls its method; whether it is reached."""
        session = self._fleet.hub.live.get(self.name)
        if session is None or session.thief or self._fleet.clock.time < self.away_until:
            return False
        self._asked, self._again = payload["sha256_thumbprint"], bool(payload.get("register_again"))
        self.wake_in(self._fleet.chance.uniform(1, 60))
        return True

    def version_came(self) -> None:
        """The vault has a new version, which it fetches in its own time."""
        self._fetches_at = self._fleet.clock.time + timedelta(seconds=self.lazy_s)
        self.wake_in(self.lazy_s)

    def goes_away(self, seconds: float) -> None:
        """It is offline for so long."""
        self.away_until = self._fleet.clock.time + timedelta(seconds=seconds)
        self._fleet.hub.live.pop(self.name, None)
        if self.name in self._fleet.hub.identities:
            self._fleet.hub._show(self.name, connected=False)
        self._fleet.happened()
        self.wake_in(seconds)

    def living(self) -> list[Certificate]:
        """The certificates that it may use, newest first."""
        now = self._fleet.clock.time
        return [one for one in reversed(self.holds) if one.not_before <= now < one.not_after]

    def _look_around(self) -> None:
        fleet, session = self._fleet, self._fleet.hub.live.get(self.name)
        self._fetch()
        mine = session is not None and not session.thief and self.uses in self.living()
        wanted = next((one for one in self.living() if one.sha256_thumbprint == self._asked), None)
        if wanted is not None and (self._again or wanted is not self.uses or not mine):
            self._asked, self._again = None, False
            if self._register(wanted):
                return
        if mine:
            newest = self.living()[:1]
            by_itself = fleet.chance.random() < 0.3
            if newest and self.early and newest[0] is not self.uses and self._register(newest[0]):
                return
            if by_itself and self._register(self.uses):
                return
            self.wake_in(fleet.chance.uniform(0.5, 8) * DAY)
        elif not any(self._connects(one) for one in self.living()) and not any(map(self._register, self.living())):
            self._tries += 1
            self.wake_in(min(30.0 * 2**self._tries, 6 * HOUR))

    def _fetch(self) -> None:
        kept = self._fleet.world.vault.kept[f"{self.name}-cert"]
        latest, now = kept.versions[-1], self._fleet.clock.time
        late = self._fetches_at is not None and now < self._fetches_at
        if late or not kept.enabled or latest.common_name != self.name or latest in self.holds:
            return
        self.holds.append(latest)

    def _connects(self, certificate: Certificate) -> bool:
        if not self._fleet.hub.connect(self.name, certificate.sha256_thumbprint, thief=False):
            return False
        self.uses, self._tries = certificate, 0
        self.used.add(certificate.sha256_thumbprint)
        self._fleet.happened()
        self.wake_in(self._fleet.chance.uniform(0.5, 8) * DAY)
        return True

    def _register(self, certificate: Certificate) -> bool:
        def assigned() -> None:
            self._registering = False
            self.used.add(certificate.sha256_thumbprint)
            if not self._connects(certificate):
                self.wake_in(self._fleet.chance.uniform(30, 600))

        self._registering = self._fleet.register(self.name, certificate, assigned)
        return self._registering

    # --- the thief --------------------------------------------------------------------------------------------------

    def is_robbed(self, certificate: Certificate) -> None:
        """Somebody has the key of this certificate from now on, and tries it again and again."""
        if certificate not in self.stolen:
            self.stolen.append(certificate)
        self.tempt()

    def tempt(self) -> None:
        """Something has changed: the thief tries soon."""
        if self.stolen and not self._thief_comes:
            self._thief_comes = True
            self._fleet.later(self._fleet.chance.uniform(0.1, 4.0), self._thief_tries)

    def _thief_tries(self) -> None:
        self._thief_comes = False
        for one in self.stolen:
            if self._fleet.clock.time < one.not_after:
                self._fleet.register(self.name, one)
                self._fleet.hub.connect(self.name, one.sha256_thumbprint, thief=True)
        self._fleet.happened()
        if self._fleet.chance.random() < 0.7:
            self._fleet.later(self._fleet.chance.uniform(1, 12) * HOUR, self._thief_returns)

    def _thief_returns(self) -> None:
        self.tempt()
