"""Writing enrollment groups: signing certificates in the entry, or CA certificates by name."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.contract.dps_kit import add_ca, call, info_of, self_signed, service, sha256_in, x509_group
from tests.contract.reasons import ARM
from tests.contract.target import Target
from tests.standin import StandIn

OLD, NEW = self_signed("Root", ca=True), self_signed("Root", ca=True)


def put(azure: StandIn | Target, body: dict[str, Any], if_match: str | None = None) -> dict[str, Any]:
    client = service(azure)
    return dict(client.enrollment_group.create_or_update(body["enrollmentGroupId"], body, if_match=if_match))


@pytest.fixture
def g1(target: Target) -> str:
    """The ID of a group of this test."""
    return target.group_id("g1")


def test_a_group_keeps_and_clears_slots_as_an_enrollment_does(target: Target, g1: str) -> None:
    """azure-iot-cli-extension: one code path updates the slots of both kinds."""
    first = put(target, x509_group(g1, OLD))
    assert sha256_in(first, "secondary") == OLD.sha256, "recorded, 2023: a lone primary is mirrored"
    both = put(target, x509_group(g1, info_of(first, "primary"), NEW), first["etag"])
    assert (sha256_in(both, "primary"), sha256_in(both, "secondary")) == (OLD.sha256, NEW.sha256)
    last = put(target, x509_group(g1, None, info_of(both, "secondary")), both["etag"])
    assert (sha256_in(last, "primary"), sha256_in(last, "secondary")) == (None, NEW.sha256)


def test_a_group_has_no_device_members(target: Target, g1: str) -> None:
    """REST: EnrollmentGroup has neither deviceId nor registrationState."""
    put(target, x509_group(g1, OLD))
    assert not {"deviceId", "registrationState"} & set(service(target).enrollment_group.get(g1))


@ARM
def test_a_group_may_name_two_ca_certificates(azure: StandIn) -> None:
    """azure-docs how-to-roll-certificates: the overlap of a CA roll."""
    add_ca(azure, "ca-2024", OLD)
    add_ca(azure, "ca-2027", NEW)
    shown = put(azure, x509_group("g1", "ca-2024", "CA-2027"))
    assert shown["attestation"]["x509"] == {"caReferences": {"primary": "ca-2024", "secondary": "CA-2027"}}


@ARM
def test_a_lone_ca_name_is_not_mirrored(azure: StandIn) -> None:
    """Only certificates were recorded as mirrored (2023)."""
    add_ca(azure, "ca-2024", OLD)
    shown = put(azure, x509_group("g1", "ca-2024"))
    assert shown["attestation"]["x509"]["caReferences"] == {"primary": "ca-2024"}


@ARM
def test_a_group_can_change_from_certificates_to_names(azure: StandIn) -> None:
    """azure-iot-cli-extension live tests: the other member is empty afterwards; and back."""
    add_ca(azure, "ca-2024", OLD)
    first = put(azure, x509_group("g1", OLD))
    second = put(azure, x509_group("g1", "ca-2024"), first["etag"])
    assert list(second["attestation"]["x509"]) == ["caReferences"]
    with pytest.raises(HttpResponseError) as refused:
        put(azure, x509_group("g1", info_of(first, "primary")), second["etag"])
    assert refused.value.status_code == 400, "the certificate was given up with the change"
    third = put(azure, x509_group("g1", OLD), second["etag"])
    assert list(third["attestation"]["x509"]) == ["signingCertificates"]


REFUSED: dict[str, Any] = {
    "a CA name that is not there (a guess)": {"caReferences": {"primary": "nobody"}},
    "names and certificates (azure-docs concepts-x509-attestation)": {
        "caReferences": {"primary": "ca-2024"},
        "signingCertificates": {"primary": {"certificate": OLD.pem}},
    },
    "client certificates": {"clientCertificates": {"primary": {"certificate": OLD.pem}}},
    "no name": {"caReferences": {"primary": None, "secondary": None}},
    "an empty name": {"caReferences": {"primary": ""}},
    "nothing": {},
}


@ARM
@pytest.mark.parametrize("attestation", REFUSED.values(), ids=REFUSED.keys())
def test_a_group_that_breaks_a_rule_is_refused(azure: StandIn, attestation: dict[str, Any]) -> None:
    """REST: EnrollmentGroup, X509Attestation."""
    add_ca(azure, "ca-2024", OLD)
    body = {"enrollmentGroupId": "g1", "attestation": {"type": "x509", "x509": attestation}}
    answer = call(azure, "PUT", "/enrollmentGroups/g1", body)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, 400004)
