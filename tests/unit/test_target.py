"""Whether a rollover begins: from which certificate, into which slot, and why not."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from shared.certificate import Certificate
from shared.enrollment import Enrollment, HubIdentity, Slot
from shared.target import Begin, CannotBegin, Due, NothingToDo, decide_start
from tests.builders import (
    EXPIRED,
    NEW,
    NEWER,
    OLD,
    STRANGER,
    a_registration,
    a_version,
    an_enrollment,
    an_identity,
)
from tests.certificates import NOW
from tests.fakes import HUB

DUE = Due(window=timedelta(days=30), share=0.34)
NOT_DUE = Due(window=timedelta(days=1), share=0.34)
EVEN, ODD = (OLD, NEW), (NEW, OLD)
"""Primary and secondary after an even and after an odd number of rollovers, once NEW was uploaded."""


@dataclass
class Seen:
    """What is seen when somebody asks whether to begin; by default OLD in use, mirrored, and NEW in the vault."""

    enrollment: Enrollment = field(default_factory=lambda: an_enrollment(OLD, OLD))
    identity: HubIdentity | None = field(default_factory=lambda: an_identity(OLD, OLD))
    vault: tuple[Certificate, ...] = (OLD, NEW)
    enabled: bool = True
    due: Due = DUE

    def decide(self) -> Begin | NothingToDo | CannotBegin:
        latest = a_version(self.vault[-1], f"v{len(self.vault)}", enabled=self.enabled)
        versions = {c.sha1_thumbprint: c.public_key_sha256 for c in self.vault}
        return decide_start(
            enrollment=self.enrollment,
            identity=self.identity,
            hub=HUB,
            latest=latest,
            versions=versions,
            now=NOW,
            due=self.due,
        )


def begun(seen: Seen) -> Begin:
    decision = seen.decide()
    assert isinstance(decision, Begin), decision
    return decision


def stopped(seen: Seen) -> str:
    decision = seen.decide()
    assert isinstance(decision, CannotBegin), decision
    return decision.why


def with_slots(*slots: Certificate | None, **more: Any) -> Seen:
    return Seen(enrollment=an_enrollment(*slots), **more)


# --- which certificate is outgoing ------------------------------------------------------------------------------

BEGINNINGS: dict[str, tuple[Seen, Certificate, Slot]] = {
    "the vault has a newer version than the mirrored certificate in use": (Seen(), OLD, Slot.SECONDARY),
    "the certificate in use lies in primary, with nothing in secondary": (with_slots(OLD), OLD, Slot.SECONDARY),
    "the certificate in use lies in secondary, with nothing in primary": (with_slots(None, OLD), OLD, Slot.PRIMARY),
    "the incoming one was put into secondary by somebody already": (with_slots(*EVEN), OLD, Slot.SECONDARY),
    "the incoming one was put into primary by somebody already": (with_slots(*ODD), OLD, Slot.PRIMARY),
    "the hub accepts both, so the device has not moved": (
        with_slots(*EVEN, identity=an_identity(OLD, NEW)),
        OLD,
        Slot.SECONDARY,
    ),
    "the hub accepts both, the other way around": (
        with_slots(*ODD, identity=an_identity(NEW, OLD)),
        OLD,
        Slot.PRIMARY,
    ),
    "the device moved by itself and the older version is left to retire": (
        with_slots(*EVEN, identity=an_identity(NEW, NEW)),
        OLD,
        Slot.SECONDARY,
    ),
    "the device moved by itself and an expired certificate from elsewhere is left to retire": (
        with_slots(EXPIRED, NEW, identity=an_identity(NEW, NEW)),
        EXPIRED,
        Slot.SECONDARY,
    ),
    "the hub holds the SHA-1 of the certificate in use": (
        Seen(identity=an_identity(OLD.sha1_thumbprint, None)),
        OLD,
        Slot.SECONDARY,
    ),
    "the device has no hub identity yet": (Seen(identity=None), OLD, Slot.SECONDARY),
    "the device has no hub identity and the incoming one is there": (
        with_slots(*ODD, identity=None),
        OLD,
        Slot.PRIMARY,
    ),
    "the certificate in use is not from the vault": (
        with_slots(STRANGER, STRANGER, identity=an_identity(STRANGER, STRANGER)),
        STRANGER,
        Slot.SECONDARY,
    ),
    "an older vault version that nobody uses stands by": (
        with_slots(OLD, NEW, vault=(NEW, OLD, NEWER)),
        OLD,
        Slot.SECONDARY,
    ),
    "an older vault version that nobody uses stands by in primary": (
        with_slots(NEW, OLD, vault=(NEW, OLD, NEWER)),
        OLD,
        Slot.PRIMARY,
    ),
    "an expired certificate stands by": (with_slots(OLD, EXPIRED), OLD, Slot.SECONDARY),
    "the latest version is in use and near its expiry": (Seen(vault=(OLD,)), OLD, Slot.SECONDARY),
    "the latest version is in use in secondary and near its expiry": (
        with_slots(None, OLD, vault=(OLD,)),
        OLD,
        Slot.PRIMARY,
    ),
    "the latest version is in use and near its expiry, and the standby slot holds an expired one": (
        with_slots(EXPIRED, OLD, vault=(OLD,)),
        OLD,
        Slot.PRIMARY,
    ),
    "the latest version is near its expiry and there is no hub identity": (
        Seen(vault=(OLD,), identity=None),
        OLD,
        Slot.SECONDARY,
    ),
}


@pytest.mark.parametrize(("seen", "outgoing", "standby"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_rollover_begins_when(seen, outgoing, standby):
    """The outgoing certificate is the one the hub shows in use; the slots swap at every rollover."""
    decision = begun(seen)
    assert decision.outgoing.sha256_thumbprint == outgoing.sha256_thumbprint
    assert decision.outgoing.sha1_thumbprint == outgoing.sha1_thumbprint
    assert decision.outgoing.not_after == outgoing.not_after
    assert decision.standby is standby


@pytest.mark.parametrize("rollovers", range(5))
def test_after_any_number_of_rollovers_the_incoming_certificate_goes_where_the_outgoing_one_is_not(rollovers):
    slots: list[Certificate | None] = [None, None]
    slots[rollovers % 2] = OLD
    standby = begun(with_slots(*slots)).standby
    assert standby is (Slot.PRIMARY if rollovers % 2 else Slot.SECONDARY)


REPLACED: dict[str, tuple[Seen, Certificate | None]] = {
    "nothing in an empty slot": (with_slots(OLD), None),
    "nothing when the slot repeats the outgoing certificate": (Seen(), None),
    "nothing when the incoming certificate is there": (with_slots(*EVEN), None),
    "an older vault version": (with_slots(OLD, NEW, vault=(NEW, OLD, NEWER)), NEW),
    "an expired certificate": (with_slots(OLD, EXPIRED), EXPIRED),
    "an expired certificate when the latest version is near its expiry": (
        with_slots(EXPIRED, OLD, vault=(OLD,)),
        EXPIRED,
    ),
}


@pytest.mark.parametrize(("seen", "replaced"), REPLACED.values(), ids=REPLACED.keys())
def test_what_may_be_overwritten_in_the_standby_slot_is(seen, replaced):
    assert begun(seen).replaces == (replaced and replaced.sha256_thumbprint)


def test_the_outgoing_key_is_known_when_the_vault_has_that_version():
    assert begun(Seen()).outgoing.public_key_sha256 == OLD.public_key_sha256
    assert begun(Seen(vault=(OLD,))).outgoing.public_key_sha256 == OLD.public_key_sha256


def test_the_outgoing_key_is_unknown_when_the_vault_has_lost_that_version():
    assert begun(Seen(vault=(NEW,))).outgoing.public_key_sha256 is None


def test_an_unread_key_is_unknown_and_never_equal_to_another():
    """The vault's list of versions gives SHA-1 thumbprints only; keys that were not read stand as empty texts."""
    seen = Seen()
    decision = decide_start(
        enrollment=seen.enrollment,
        identity=seen.identity,
        hub=HUB,
        latest=a_version(NEW),
        versions={OLD.sha1_thumbprint: ""},
        now=NOW,
        due=DUE,
    )
    assert isinstance(decision, Begin)
    assert decision.outgoing.public_key_sha256 is None


ON_INCOMING = {
    "only the newest": (an_identity(NEW, NEW), True),
    "both": (an_identity(OLD, NEW), False),
    "only the older": (an_identity(OLD, OLD), False),
    "no identity": (None, False),
}


@pytest.mark.parametrize(("identity", "moved"), ON_INCOMING.values(), ids=ON_INCOMING.keys())
def test_the_device_counts_as_moved_before_the_start_only_when_the_hub_shows(identity, moved):
    assert begun(with_slots(*EVEN, identity=identity)).on_incoming_at_start is moved


def test_a_rollover_of_the_latest_version_never_counts_as_moved_at_the_start():
    assert begun(Seen(vault=(OLD,))).on_incoming_at_start is False


# --- nothing to do ----------------------------------------------------------------------------------------------

WELL = {
    "the latest version is in use and lives long": Seen(vault=(OLD,), due=NOT_DUE),
    "the same, enrolled in secondary only": with_slots(None, OLD, vault=(OLD,), due=NOT_DUE),
    "the same, without a hub identity": Seen(vault=(OLD,), identity=None, due=NOT_DUE),
    "the latest version is in use, lives long, and is disabled in the vault": Seen(
        vault=(OLD,), due=NOT_DUE, enabled=False
    ),
    "a valid stranger stands by while the latest version lives long": with_slots(
        OLD, STRANGER, vault=(OLD,), due=NOT_DUE
    ),
}


def test_nothing_is_to_do_while_the_enrollment_is_disabled():
    decision = Seen(enrollment=an_enrollment(OLD, OLD, provisioningStatus="disabled")).decide()
    assert isinstance(decision, NothingToDo)
    assert "disabled" in decision.why


@pytest.mark.parametrize("seen", WELL.values(), ids=WELL.keys())
def test_nothing_is_to_do_when(seen):
    decision = seen.decide()
    assert isinstance(decision, NothingToDo), decision
    assert f"{OLD.not_after:%Y-%m-%d}" in decision.why


# --- what is in the way -----------------------------------------------------------------------------------------

OTHER_HUB = an_enrollment(OLD, registrationState=a_registration(NOW, "other.azure-devices.net"))
OBSTACLES: dict[str, tuple[Seen, str]] = {
    "Azure Device Registry issues the certificates": (
        Seen(enrollment=an_enrollment(OLD, credentialPolicyName="fleet-policy")),
        "credential policy 'fleet-policy'",
    ),
    "the enrollment attests by TPM": (
        Seen(enrollment=an_enrollment(None, attestation={"type": "tpm", "tpm": {}})),
        "attests by tpm",
    ),
    "both slots are empty": (with_slots(None, None), "no certificate in either slot"),
    "the device is assigned to a hub of somebody else": (Seen(enrollment=OTHER_HUB), "other.azure-devices.net"),
    "the hub identity authenticates by a key": (
        Seen(identity=an_identity(None, None, authentication="sas")),
        "authenticates by sas",
    ),
    "the hub identity trusts an authority": (
        Seen(identity=an_identity(None, None, authentication="certificateAuthority")),
        "authenticates by certificateAuthority",
    ),
    "the hub identity accepts none of the enrollment's certificates": (
        Seen(identity=an_identity(STRANGER, STRANGER)),
        STRANGER.sha256_thumbprint,
    ),
    "the hub identity accepts nothing at all": (Seen(identity=an_identity(None, None)), "no thumbprint"),
    "both slots hold older certificates and the hub shows both": (
        with_slots(OLD, NEW, identity=an_identity(OLD, NEW), vault=(OLD, NEW, NEWER)),
        "does not show which one",
    ),
    "both slots hold older certificates and there is no hub identity": (
        with_slots(OLD, NEW, identity=None, vault=(OLD, NEW, NEWER)),
        "does not show which one",
    ),
    "the latest version is disabled": (Seen(enabled=False), "v2, is disabled"),
    "a valid stranger stands by": (with_slots(OLD, STRANGER), STRANGER.sha256_thumbprint),
    "a valid stranger stands by in primary": (with_slots(STRANGER, OLD), STRANGER.sha256_thumbprint),
    "a valid stranger stands by and the latest version is near its expiry": (
        with_slots(OLD, STRANGER, vault=(OLD,)),
        STRANGER.sha256_thumbprint,
    ),
}


@pytest.mark.parametrize(("seen", "said"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_a_rollover_cannot_begin_when(seen, said):
    assert said in stopped(seen)


@pytest.mark.parametrize("hub", ["HUB.azure-devices.net", "hub.azure-devices.net:8443"])
def test_the_assigned_hub_is_ours_in_any_letters_and_with_any_port(hub):
    begun(Seen(enrollment=an_enrollment(OLD, OLD, registrationState=a_registration(NOW, hub))))


def test_a_valid_stranger_beside_the_newest_certificate_in_use_is_left_alone():
    """It is nobody's business while the device is fine, and the obstacle is named when a rollover is due."""
    seen = with_slots(NEW, STRANGER, identity=an_identity(NEW, NEW))
    assert isinstance(seen.decide(), NothingToDo)
    near = replace(seen, due=Due(window=timedelta(days=9999), share=1.0))
    assert STRANGER.sha256_thumbprint in stopped(near)
