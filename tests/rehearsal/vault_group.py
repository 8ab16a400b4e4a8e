"""An enrollment group whose CA is in the vault, for tests on real parts."""

from datetime import datetime, timedelta
from pathlib import Path

from local.rehearse.by_hand import ByHand
from local.rehearse.moving import MovedClock
from local.rehearse.operator import Operator
from local.rehearse.pki import CertificateAuthority, Validity, make_root
from tests.rehearsal.plant import Plant, PocketDevice


class GroupOfTheVault:
    """A group whose CA is in the vault, and issues there what its devices have."""

    def __init__(self, plant: Plant, folder: Path, name: str, *, days: float = 300) -> None:
        self.name, self._ca = name, f"{name}-ca"
        self._plant, self._folder = plant, folder
        self._operator = Operator(plant.document, self._clock())
        self._root = make_root(f"Root of {name}", self._span(3650))
        self._hand.add_ca(f"root-of-{name}", self._root)
        self._issuer = self._root.subordinate("Line CA", self._span(days))
        self._put(self._issuer)
        self._hand.create_group(self.name, self._issuer)

    @property
    def _hand(self) -> ByHand:
        """Made anew each time, for the plant's clock may have moved."""
        return ByHand(self._plant.document, self._clock())

    def _clock(self) -> MovedClock:
        clock = MovedClock(self._plant.document["control"]["url"])
        clock.move_to(self.now())  # it knows from then on how far the plant's is moved
        return clock

    def now(self) -> datetime:
        """What time it is in the plant."""
        return datetime.fromisoformat(self._plant.standin.control.get("/clock")["now"])

    def _span(self, days: float) -> Validity:
        now = self.now().replace(microsecond=0)
        return Validity(now - timedelta(days=1), now + timedelta(days=days))

    def _put(self, ca: CertificateAuthority) -> None:
        self._operator.import_ca(self._ca, ca, self.name)
        tags = {"rollover-group": self.name, "rollover-leaves": "*"}
        self._plant.vault.update_certificate_properties(self._ca, tags=tags)

    def device(self, kind: str, *, days: float | None = None) -> PocketDevice:
        """One that registered through the group, with a certificate for so many days, or as long as its CA has."""
        name = f"{kind}-{self.name}"
        validity = self._span(days) if days else None
        self._operator.issue_by(self._issuer, [name], lambda _: {"rollover-ca": self._ca}, validity)
        device = PocketDevice(self._plant, name, self._folder)
        device.take_latest()
        assert device.register()
        return device

    def offers_new_ca(self) -> None:
        """As the vault owner does."""
        self._put(self._root.subordinate("Line CA", self._span(900)))

    def reprovisions(self, policy: dict[str, bool]) -> None:
        """What DPS does at the hub when a device registers again."""
        self._hand.change_group(self.name, reprovisionPolicy=policy)

    def retires(self) -> None:
        """No sweep of another test is to roll it."""
        self._hand.set_status(self.name, "disabled")
