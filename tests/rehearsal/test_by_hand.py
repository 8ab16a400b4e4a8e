"""The guide's four group procedures (azure-docs how-to-roll-certificates), done by hand with light devices.

Each ends with every device on a chain that is trusted, and nothing compromised accepted. And what comes of it when a
step is left out: what the app must do, and why.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local.rehearse.by_hand import carry_out
from local.rehearse.pki import CertificateAuthority, make_root
from local.rehearse.procedures import (
    ADD_CA,
    ASK,
    DELETE_CA,
    REMOVE,
    TRUST_NEW,
    intermediate_breach,
    intermediate_expiry,
    root_breach,
    root_expiry,
)
from tests.rehearsal.yard import FORGED_NEW, GROUP, Yard, valid
from tests.standin import StandIn

DEVICES = 8
OLD_NAME, NEW_NAME = "root-1", "root-2"
KNOWN = "meter-001"
NO_GAP_S = 0.5


@pytest.fixture
def yard(azure: StandIn, tmp_path: Path) -> Iterator[Yard]:
    """Its first root is in the DPS, verified; there is no group yet."""
    one = Yard(azure, tmp_path, DEVICES)
    one.hand.add_ca(OLD_NAME, one.root)
    yield one
    one.fleet.stop()


@pytest.fixture
def by_certificate(yard: Yard) -> Yard:
    """The group holds the intermediate itself; all devices are on."""
    yard.hand.create_group(GROUP, yard.issuer)
    yard.open()
    return yard


@pytest.fixture
def by_name(yard: Yard) -> Yard:
    """The group names the root; all devices are on."""
    yard.hand.create_group(GROUP, OLD_NAME)
    yard.open()
    return yard


def renewed(yard: Yard) -> CertificateAuthority:
    """Another intermediate of the same name under the same root."""
    return yard.root.subordinate("Intermediate 1", valid())


def rebuilt() -> tuple[CertificateAuthority, CertificateAuthority]:
    """Another root of the same name, and an intermediate under it."""
    root = make_root("Root 1", valid())
    return root, root.subordinate("Intermediate 1", valid())


def all_on(yard: Yard, issuer: CertificateAuthority) -> None:
    """Wait until every device has a session by a leaf of this CA, and check that the hub accepts no other."""
    yard.until(lambda: yard.on(issuer) == set(yard.names))
    for one in yard.facts():
        assert yard.hand.accepted(one.registration_id) == {one.sessions[-1].sha256}


def refused_for_good(yard: Yard, name: str) -> None:
    """Wait until the forger, under this name, was refused twice in a row by hub and DPS; and never let in between."""
    yard.until(lambda: {"dps", "iothub"} <= set(yard.last_answers(name)), 10)
    before = yard.let_in(name)
    yard.until(lambda: all(number >= 2 for number in yard.refused_since_let_in(name).values()), 10)
    assert yard.let_in(name) == before


def test_an_expiring_intermediate(by_certificate: Yard) -> None:
    yard, new = by_certificate, renewed(by_certificate)
    procedure = intermediate_expiry(yard.hand, GROUP, new)
    yard.fleet.desk.appoint(new)
    carry_out(procedure.at_once)
    all_on(yard, new)
    carry_out(procedure.later)
    assert yard.trusted_slots() == {"secondary": new.sha256}
    assert yard.refused() == {}
    assert yard.longest_gap_s() < NO_GAP_S


def test_an_expiring_root(by_name: Yard) -> None:
    """In the guide the group goes on naming the CA that was deleted: such a name admits nobody, and harms nobody."""
    yard, (root, new) = by_name, rebuilt()
    procedure = root_expiry(yard.hand, GROUP, OLD_NAME, NEW_NAME, root)
    yard.fleet.desk.appoint(new)
    carry_out(procedure.at_once)
    all_on(yard, new)
    carry_out(procedure.later)
    assert list(yard.hand.ca_certificates()) == [NEW_NAME]
    assert yard.trusted_slots() == {"primary": OLD_NAME, "secondary": NEW_NAME}
    assert yard.refused() == {}
    assert yard.longest_gap_s() < NO_GAP_S
    assert yard.register(KNOWN, new) == "assigned"
    assert yard.register(KNOWN, yard.issuer) == "CA certificate not found."


def test_a_compromised_intermediate(by_certificate: Yard) -> None:
    yard, new = by_certificate, renewed(by_certificate)
    with yard.forger(yard.issuer, KNOWN, FORGED_NEW):
        yard.until(lambda: all(yard.let_in(name) for name in (KNOWN, FORGED_NEW)))
        yard.fleet.desk.appoint(new)
        carry_out(intermediate_breach(yard.hand, GROUP, new).at_once)
        all_on(yard, new)
        refused_for_good(yard, KNOWN)
        refused_for_good(yard, FORGED_NEW)
    assert yard.trusted_slots() in ({"primary": new.sha256}, {"primary": new.sha256, "secondary": new.sha256})
    assert yard.hand.accepted(FORGED_NEW) == set()


def test_a_compromised_root(by_name: Yard) -> None:
    yard, (root, new) = by_name, rebuilt()
    with yard.forger(yard.root, KNOWN, FORGED_NEW):
        yard.until(lambda: all(yard.let_in(name) for name in (KNOWN, FORGED_NEW)))
        yard.fleet.desk.appoint(new)
        carry_out(root_breach(yard.hand, GROUP, OLD_NAME, NEW_NAME, root).at_once)
        all_on(yard, new)
        refused_for_good(yard, KNOWN)
        refused_for_good(yard, FORGED_NEW)
    assert list(yard.hand.ca_certificates()) == [NEW_NAME]
    assert yard.hand.accepted(FORGED_NEW) == set()


@pytest.mark.parametrize("anchor", ["by_certificate", "by_name"])
def test_rolling_the_groups_ca_alone_evicts_nobody(anchor: str, request: pytest.FixtureRequest) -> None:
    """azure-docs how-to-revoke-device-access-portal, #70976: the hub pins leaves and looks at no chain.

    Sessions live on, and whoever has a pinned leaf connects again, forged or not; only DPS refuses the old chain.
    """
    yard: Yard = request.getfixturevalue(anchor)
    root, new = rebuilt() if anchor == "by_name" else (yard.root, renewed(yard))
    with yard.forger(yard.issuer, FORGED_NEW):
        yard.until(lambda: bool(yard.let_in(FORGED_NEW)))
        procedure = (
            root_breach(yard.hand, GROUP, OLD_NAME, NEW_NAME, root)
            if anchor == "by_name"
            else intermediate_breach(yard.hand, GROUP, new)
        )
        carry_out(procedure.at_once, without=[REMOVE])
        assert yard.on(yard.issuer) == set(yard.names), "old chains, live sessions"
        assert yard.last_answers(FORGED_NEW)["iothub"] == "let in", "and so the forger's"
    assert yard.register(KNOWN, yard.issuer) in (
        "CA certificate not found.",
        "Signing certificate info did not match chain elements.",
    )
    assert yard.reconnect(KNOWN) == "let in", "with its old leaf"
    with yard.forger(yard.issuer, FORGED_NEW):  # another leaf under that name: DPS, which could pin it, refuses
        refused_for_good(yard, FORGED_NEW)


def test_removing_from_the_hub_first_lets_everybody_in_again(by_certificate: Yard) -> None:
    """The order matters: while DPS still trusts the old CA, who is thrown out comes back by it, the forger as well."""
    yard, new = by_certificate, renewed(by_certificate)
    with yard.forger(yard.issuer, FORGED_NEW):
        yard.until(lambda: bool(yard.let_in(FORGED_NEW)))
        before = {one.registration_id: len(one.registrations) for one in yard.facts()}
        carry_out([step for step in intermediate_breach(yard.hand, GROUP, new).at_once if step.name == REMOVE])
        yard.until(lambda: all(len(one.registrations) > before[one.registration_id] for one in yard.facts()))
        yard.until(lambda: len(yard.let_in(FORGED_NEW)) > 1)
        yard.until(lambda: yard.on(yard.issuer) == set(yard.names))


def test_a_group_above_lets_a_compromised_intermediate_in(by_certificate: Yard) -> None:
    """azure-docs how-to-revoke-device-access-portal, the note: another group for a CA higher up admits the chain."""
    yard, new = by_certificate, renewed(by_certificate)
    yard.hand.create_group("everybody", OLD_NAME)
    carry_out(intermediate_breach(yard.hand, GROUP, new).at_once)
    with yard.forger(yard.issuer, FORGED_NEW):
        yard.until(lambda: bool(yard.let_in(FORGED_NEW)))


def test_retiring_the_old_ca_too_early_costs_nobody_his_session_but_the_way_back(by_certificate: Yard) -> None:
    """A device that did not move goes on, pinned at the hub; once it must register again, it needs a new leaf."""
    yard, new = by_certificate, renewed(by_certificate)
    procedure = intermediate_expiry(yard.hand, GROUP, new)
    carry_out(procedure.at_once, without=[ASK])
    carry_out(procedure.later)
    assert yard.on(yard.issuer) == set(yard.names)
    assert yard.reconnect(KNOWN) == "let in"
    yard.hand.remove_from_hub([KNOWN])
    yard.until(lambda: any("401" in one.reason for one in yard.facts()[0].refusals))
    assert KNOWN not in yard.on(yard.issuer)
    yard.fleet.desk.appoint(new)
    yard.until(lambda: yard.on(new) == {KNOWN})


def test_a_new_root_that_is_not_verified_lets_nobody_back(by_name: Yard) -> None:
    """azure-docs how-to-verify-certificates; azure-iot-sdk-c#437: "CA certificate not found."."""
    yard, (root, new) = by_name, rebuilt()
    yard.hand.upload_ca(NEW_NAME, root)
    yard.fleet.desk.appoint(new)
    carry_out(root_breach(yard.hand, GROUP, OLD_NAME, NEW_NAME, root).at_once, without=[ADD_CA])
    yard.until(lambda: all(len(one.refusals) > 1 for one in yard.facts()))
    assert yard.on(new) == set()
    assert yard.register(KNOWN, new) == "CA certificate not found."
    yard.hand.verify_ca(NEW_NAME, root)
    all_on(yard, new)


def test_a_group_that_names_only_a_deleted_ca_lets_nobody_back(by_name: Yard) -> None:
    """ARM deletes a CA that is named (the guide does so first): the group dangles until it names the new one."""
    yard, (root, new) = by_name, rebuilt()
    yard.fleet.desk.appoint(new)
    carry_out(root_breach(yard.hand, GROUP, OLD_NAME, NEW_NAME, root).at_once, without=[TRUST_NEW])
    yard.until(lambda: all(len(one.refusals) > 1 for one in yard.facts()))
    assert yard.on(new) == set()
    yard.hand.set_slots(GROUP, NEW_NAME)
    all_on(yard, new)


def test_the_proof_must_be_of_the_uploaded_ca(yard: Yard) -> None:
    """azure-docs how-to-verify-certificates: who has not its key cannot vouch for a CA."""
    mine, stranger = make_root("Root 2", valid()), make_root("Root 2", valid())
    yard.hand.upload_ca(NEW_NAME, mine)
    with pytest.raises(requests.HTTPError, match="400"):
        yard.hand.verify_ca(NEW_NAME, stranger)
    yard.hand.verify_ca(NEW_NAME, mine)


def test_a_step_that_is_not_there_cannot_be_left_out(yard: Yard) -> None:
    steps = intermediate_breach(yard.hand, GROUP, renewed(yard)).at_once
    with pytest.raises(ValueError, match=DELETE_CA):
        carry_out(steps, without=[DELETE_CA])
