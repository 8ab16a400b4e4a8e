"""Each rule by which a way round a disabled enrollment is told, or ruled out."""

from dataclasses import replace
from typing import Any

import pytest

from shared.certificate import Outgoing
from shared.enrollment import Enrolled, Enrollment, HubIdentity, Slot
from shared.escape import Compromised, common_names, escape_routes
from shared.group import Group
from tests.builders import NEW, OLD, an_enrollment, an_identity, as_outgoing
from tests.certificates import NOW

SELF = replace(as_outgoing(OLD), subject="CN=dev-01", issuer="CN=dev-01")
ISSUED = replace(SELF, issuer="CN=Middle, O=Example")
NAMELESS = as_outgoing(OLD)


def a_group(
    group_id: str = "g1", *signing: str, enabled: bool = True, ca_references: tuple[str, ...] = (), **parts: Any
) -> Group:
    """A group that trusts certificates with these subjects, all issued by Root."""
    slots = [
        *(Enrolled(name, name, NOW, f"CN={name}, O=Example", "CN=Root, O=Example") for name in signing),
        None,
        None,
    ]
    references = dict(zip(Slot, [*ca_references, None, None], strict=False))
    values = {"attestation": "x509", "references": references, "etag": "1", "body": {}, **parts}
    return Group(enrollment_group_id=group_id, enabled=enabled, signing=dict(zip(Slot, slots, strict=False)), **values)


def holder(registration_id: str, **members: Any) -> Enrollment:
    """Another enrollment that holds the compromised certificate in its secondary slot."""
    return an_enrollment(NEW, OLD, registrationId=registration_id, **members)


def an_other(device_id: str, *slots: Any, **fields: Any) -> HubIdentity:
    return replace(an_identity(*slots, **fields), device_id=device_id)


def routes(*compromised: Compromised, **parts: Any) -> dict[str, bool]:
    """Name and certainty of every route; the target's own enrollment and identity are always there."""
    given = {"groups": [], **parts}
    found = escape_routes(
        compromised,
        registration_id="DEV-01",
        device_id="dev-01",
        enrollments=[an_enrollment(NEW), *given.pop("enrollments", [])],
        identities=[an_identity(OLD), *given.pop("identities", [])],
        **given,
    )
    return {route.name: route.certain for route in found}


# --- groups -----------------------------------------------------------------------------------------------------


def test_a_group_that_trusts_the_issuer_by_name_admits_for_certain():
    assert routes(ISSUED, groups=[a_group("g1", "Root", "Middle")]) == {"group g1": True}


def test_any_other_group_may_admit_through_intermediates_that_the_thief_shows():
    assert routes(ISSUED, groups=[a_group("g1", "Root"), a_group("g2", "Unrelated")]) == {
        "group g1": False,
        "group g2": False,
    }


def test_a_group_that_names_a_ca_certificate_may_admit_for_its_name_tells_nothing():
    assert routes(ISSUED, groups=[a_group("g1", ca_references=("ca-2027",))]) == {"group g1": False}


def test_a_group_of_which_no_certificate_is_known_may_admit():
    """A member that a later version of the API brings is not read."""
    assert routes(ISSUED, groups=[a_group("g1")]) == {"group g1": False}


def test_a_self_issued_certificate_gets_in_through_no_group():
    """It has no chain."""
    assert routes(SELF, groups=[a_group("g1", "Root"), a_group("g2", ca_references=("ca",))]) == {}


def test_a_self_issued_certificate_may_get_in_through_a_group_that_trusts_its_very_name():
    """The certificate itself may lie in the group's slot, or a CA bears the device's name: no source tells."""
    own = replace(SELF, subject="CN=Middle, O=Example", issuer="CN=Middle, O=Example")
    assert routes(own, groups=[a_group("g1", "Middle")]) == {"group g1": False}


def test_every_group_may_admit_a_certificate_of_which_the_names_are_not_known():
    assert routes(NAMELESS, groups=[a_group("g1", "Middle")]) == {"group g1": False}


def test_a_disabled_group_and_one_that_attests_without_x509_admit_nobody():
    groups = [a_group("g1", "Middle", enabled=False), a_group("g2", attestation="symmetricKey")]
    assert routes(ISSUED, groups=groups) == {}


@pytest.mark.parametrize("nearer", [{"ca_references": ("ca",)}, {}])
def test_a_disabled_group_that_may_be_found_first_makes_a_certain_one_uncertain_and_no_more(nearer):
    """Its certificate may have been renewed or cross-signed: a chain through the other one passes it by."""
    signing = [] if nearer else ["Middle"]
    shut = a_group("shut", *signing, enabled=False, **nearer)
    assert routes(ISSUED, groups=[a_group("g1", "Middle"), a_group("g2", "Root"), shut]) == {
        "group g1": False,
        "group g2": False,
    }


def test_a_disabled_group_further_up_changes_nothing():
    assert routes(ISSUED, groups=[a_group("g1", "Middle"), a_group("shut", "Root", enabled=False)]) == {
        "group g1": True
    }


def test_the_reason_says_what_is_known():
    groups = [a_group("g1", "Middle"), a_group("shut", "Middle", enabled=False)]
    found = escape_routes([ISSUED], registration_id="dev-01", device_id="dev-01", enrollments=[], groups=groups)
    assert [route.why for route in found] == [
        "it trusts a certificate with the name of the issuer, CN=Middle, O=Example;"
        " whether the disabled group shut is found first cannot be told"
    ]


# --- individual enrollments -------------------------------------------------------------------------------------


def test_the_targets_own_enrollment_is_no_route_whatever_it_holds_and_however_its_id_is_written():
    """The answer is for the world after the certificate was taken out of it."""
    assert routes(SELF, enrollments=[holder("dev-01"), holder("Dev-01")]) == {}


def test_an_enrollment_of_another_name_than_the_certificates_admits_nobody_with_it():
    """azure-docs concepts-x509-attestation: the common name must be the registration ID."""
    assert routes(SELF, enrollments=[holder("dev-02")]) == {}


def test_an_enrollment_that_bears_the_certificates_name_admits_for_certain_ignoring_case():
    """Nothing checks the common name when a certificate is put into an enrollment, so the target may hold another's."""
    others = replace(SELF, subject="CN=dev-02", issuer="CN=dev-02")
    assert routes(others, enrollments=[holder("Dev-02")]) == {"enrollment Dev-02": True}


def test_an_enrollment_that_bears_the_certificates_name_decides_before_every_group():
    others = replace(ISSUED, subject="CN=dev-02")
    group = a_group("g1", "Middle")
    shut = holder("dev-02", provisioningStatus="disabled")
    assert routes(others, enrollments=[shut], groups=[group]) == {}
    assert routes(others, enrollments=[holder("dev-02")], groups=[group]) == {"enrollment dev-02": True}


def test_an_enrollment_of_another_name_that_holds_it_keeps_no_group_from_admitting_it():
    """Whether it refuses or is passed over is not known, so the group is uncertain."""
    for status in ("enabled", "disabled"):
        other = holder("dev-02", provisioningStatus=status)
        assert routes(ISSUED, enrollments=[other], groups=[a_group("g1", "Middle")]) == {"group g1": False}


def test_an_enrollment_may_admit_a_certificate_of_which_the_name_is_not_known():
    assert routes(NAMELESS, enrollments=[holder("dev-02")]) == {"enrollment dev-02": False}
    shut = holder("dev-02", provisioningStatus="disabled")
    assert routes(NAMELESS, enrollments=[shut], groups=[a_group("g1")]) == {"group g1": False}


def test_an_enrollment_that_does_not_hold_the_certificate_is_no_route():
    others = replace(SELF, subject="CN=dev-02", issuer="CN=dev-02")
    assert routes(others, enrollments=[an_enrollment(NEW, registrationId="dev-02")]) == {}


# --- hub identities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thumbprint", [OLD.sha1_thumbprint, OLD.sha256_thumbprint], ids=["SHA-1", "SHA-256"])
@pytest.mark.parametrize("slot", [0, 1])
def test_another_identity_that_pins_either_hash_in_either_slot_accepts_for_certain(thumbprint, slot):
    slots = [NEW, thumbprint][:: 1 if slot else -1]
    assert routes(SELF, identities=[an_other("pump-7", *slots)]) == {"hub identity pump-7": True}


def test_case_matters_in_device_ids_so_one_that_differs_in_case_only_is_another_identity():
    assert routes(SELF, identities=[an_other("Dev-01", OLD)]) == {"hub identity Dev-01": True}


def test_a_disabled_identity_and_one_that_pins_another_certificate_accept_nobody():
    assert routes(SELF, identities=[an_other("a", OLD, enabled=False), an_other("b", NEW)]) == {}


def test_an_identity_that_pins_it_and_authenticates_otherwise_may_accept_it():
    assert routes(SELF, identities=[an_other("a", OLD, authentication="sas")]) == {"hub identity a": False}


def test_an_identity_that_trusts_a_ca_may_accept_an_issued_certificate_of_its_name():
    """azure-docs authenticate-x509: the common name must be the device ID; whether case matters is not told."""
    named, other = (an_other(one, None, authentication="certificateAuthority") for one in ("Dev-01", "dev-02"))
    assert routes(ISSUED, identities=[named, other]) == {"hub identity Dev-01": False}
    assert routes(SELF, identities=[named, other]) == {}
    assert routes(NAMELESS, identities=[other]) == {"hub identity dev-02": False}


# --- altogether -------------------------------------------------------------------------------------------------


def test_a_route_of_several_certificates_is_told_once_and_by_its_most_certain():
    uncertain = replace(as_outgoing(NEW), subject="CN=dev-01", issuer="CN=Else")
    groups = [a_group("g1", "Middle"), a_group("a-group", "Root")]
    for order in ([ISSUED, uncertain], [uncertain, ISSUED]):
        assert list(routes(*order, groups=groups).items()) == [("group g1", True), ("group a-group", False)]


def test_what_an_enrollment_shows_of_a_certificate_will_do_as_well():
    shown = an_enrollment(OLD).certificates()
    assert shown[0].self_issued is True
    assert routes(*shown, enrollments=[holder("dev-02")], groups=[a_group("g1")]) == {}


def test_without_a_compromised_certificate_there_is_no_route():
    assert routes(groups=[a_group("g1", "Middle")]) == {}


SUBJECTS = {
    "CN=dev-01": {"dev-01"},
    "CN=Dev-01, OU=Pumps, O=Example": {"dev-01"},
    "O=Example, CN=dev-01": {"dev-01"},
    "OU=a + CN=dev-01, O=Example": {"dev-01"},
    "CN=dev-01, CN=dev-02": {"dev-01", "dev-02"},
    'O="Pumps, CN=dev-02", CN=dev-01': {"dev-01"},
    'CN="a ""b"", c", O=Example': {'a "b", c'},
    "OID.1.2.3=0A0B, CN=dev-01": {"dev-01"},
    r"CN=dev\, 01": set(),
    'CN="dev-01': set(),
    "O=Example": set(),
    "dev-01": set(),
    "": set(),
}


@pytest.mark.parametrize(("subject", "names"), SUBJECTS.items())
def test_the_common_names_in_a_subject_as_dotnet_writes_it(subject, names):
    """None when the text is not understood, and then every name is thought possible."""
    assert common_names(subject) == names


@pytest.mark.parametrize(
    ("subject", "issuer", "expected"),
    [("CN=a", "CN=a", True), ("CN=a", "CN=b", False), (None, "CN=a", None), ("CN=a", None, None)],
)
def test_self_issued_is_known_only_when_both_names_are(subject, issuer, expected):
    assert Outgoing("A", "B", NOW, None, subject, issuer).self_issued is expected
    assert Enrolled("A", "B", NOW, subject, issuer).self_issued is expected
