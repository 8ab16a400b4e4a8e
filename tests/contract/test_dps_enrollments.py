"""Writing individual enrollments: etags, IDs, defaults, and what is refused."""

import base64
import re
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from tests.contract.dps_kit import Credential, call, self_signed, service, x509_enrollment
from tests.contract.reasons import KNOBS
from tests.contract.target import Target
from tests.standin import StandIn

ONE = self_signed("dev1")


def test_an_enrollment_gets_the_defaults_of_the_service(target: Target, dev1: str, one: Credential) -> None:
    """azure-docs concepts-service: the device ID is the registration ID.

    azure-iot-cli-extension live tests: an enrollment sent without a reprovision policy shows both members true.
    """
    created = service(target).enrollment.create_or_update(dev1, x509_enrollment(dev1, one))
    assert created["deviceId"] == dev1
    assert created["provisioningStatus"] == "enabled"
    assert created["reprovisionPolicy"] == {"updateHubAssignment": True, "migrateDeviceData": True}
    assert "allocationPolicy" not in created


def test_the_etag_is_base64_of_a_quoted_guid(target: Target, dev1: str, one: Credential) -> None:
    """azure-iot-cli-extension samples, recordings of 2023; only in the body."""
    answer = call(target, "PUT", f"/enrollments/{dev1}", x509_enrollment(dev1, one))
    assert re.fullmatch(r'"[0-9a-f-]{36}"', base64.b64decode(answer.json()["etag"]).decode())
    assert "ETag" not in answer.headers


def test_a_second_put_without_an_etag_is_a_conflict(target: Target, dev1: str, one: Credential) -> None:
    """azure-sdk-for-python#35187."""
    client = service(target)
    client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one))
    with pytest.raises(ResourceExistsError) as refused:
        client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one))
    assert "409201" in str(refused.value)


def test_every_write_gives_a_new_etag_that_the_next_write_must_carry(
    target: Target, dev1: str, one: Credential
) -> None:
    """azure-docs how-to-troubleshoot-dps: 412; azure-core has no class for it."""
    client = service(target)
    first = client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one))
    second = client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one), if_match=first["etag"])
    assert second["etag"] != first["etag"]
    assert second["createdDateTimeUtc"] == first["createdDateTimeUtc"]
    assert second["lastUpdatedDateTimeUtc"] > first["lastUpdatedDateTimeUtc"]
    with pytest.raises(HttpResponseError) as refused:
        client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one), if_match=first["etag"])
    assert refused.value.status_code == 412


@pytest.mark.parametrize("form", ['"{}"', "{}", "*", '"*"'])
def test_an_etag_is_taken_bare_or_quoted(target: Target, form: str, dev1: str, one: Credential) -> None:
    """The C# client quotes, azure-cli and Python do not; azure-cli sends the star."""
    etag = call(target, "PUT", f"/enrollments/{dev1}", x509_enrollment(dev1, one)).json()["etag"]
    again = call(
        target,
        "PUT",
        f"/enrollments/{dev1}",
        x509_enrollment(dev1, one),
        headers={"If-Match": form.format(etag)},
    )
    assert again.status_code == 200


@pytest.mark.parametrize("if_match", ["*", "IjAwIg=="])
def test_a_put_with_an_etag_on_nothing_is_not_found(target: Target, if_match: str, dev1: str, one: Credential) -> None:
    """No source; the careful reading, so that nobody creates by mistake what another has deleted."""
    with pytest.raises(ResourceNotFoundError):
        service(target).enrollment.create_or_update(dev1, x509_enrollment(dev1, one), if_match=if_match)


def test_a_delete_minds_an_etag_only_when_it_has_one(target: Target, dev1: str, one: Credential) -> None:
    """REST: Individual Enrollment - Delete; If-Match is optional."""
    client = service(target)
    client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one))
    with pytest.raises(HttpResponseError) as refused:
        client.enrollment.delete(dev1, if_match="IjAwIg==")
    assert refused.value.status_code == 412
    client.enrollment.delete(dev1)
    with pytest.raises(ResourceNotFoundError) as gone:
        client.enrollment.delete(dev1)
    assert "404201" in str(gone.value)


def test_a_registration_id_is_found_in_any_case_but_shown_as_stored(target: Target, one: Credential) -> None:
    """azure-docs concepts-service: registration IDs are case-insensitive; clients quote `:` in the address."""
    client, name = service(target), target.registration_id("Plant:Dev-1")
    client.enrollment.create_or_update(name, x509_enrollment(name, one))
    assert client.enrollment.get(name.upper())["registrationId"] == name
    changed = client.enrollment.create_or_update(name.lower(), x509_enrollment(name.lower(), one), if_match="*")
    assert changed["registrationId"] == name


@pytest.mark.parametrize("registration_id", ["dev 1", "dev1.", "dev_", "d" * 129, "dév"])
def test_a_registration_id_that_breaks_the_rules_is_refused(
    target: Target, registration_id: str, one: Credential
) -> None:
    """azure-docs concepts-service: 128 characters, alphanumeric or - . _ :, at the end alphanumeric or -."""
    answer = call(target, "PUT", f"/enrollments/{registration_id}", x509_enrollment(registration_id, one))
    assert (answer.status_code, answer.json()["errorCode"]) == (400, 400004)


REFUSED: dict[str, dict[str, Any]] = {
    "hubs without an allocation policy (azure-sdk-for-python#35368)": {"iotHubs": ["h.azure-devices.net"]},
    "custom allocation without its definition": {"allocationPolicy": "custom"},
    "static allocation to two hubs": {"allocationPolicy": "static", "iotHubs": ["a", "b"]},
    "an allocation policy that is none": {"allocationPolicy": "nearest"},
    "a status that is none": {"provisioningStatus": "paused"},
    "a reprovision policy that is text": {"reprovisionPolicy": "never"},
    "another ID in the body": {"registrationId": "dev2"},
    "no attestation": {"attestation": None},
    "attestation of no kind": {"attestation": {"type": "none"}},
    "signing certificates in an individual enrollment": {
        "attestation": {
            "type": "x509",
            "x509": {"signingCertificates": {"primary": {"certificate": ONE.pem}}},
        }
    },
}


@pytest.mark.parametrize("members", REFUSED.values(), ids=REFUSED.keys())
def test_an_enrollment_that_breaks_a_rule_is_refused(
    target: Target, members: dict[str, Any], dev1: str, one: Credential
) -> None:
    """The REST reference of Individual Enrollment, and the threads named in the table."""
    answer = call(target, "PUT", f"/enrollments/{dev1}", {**x509_enrollment(dev1, one), **members})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, 400004)


def test_the_message_about_missing_allocation_is_the_services_own(target: Target, dev1: str, one: Credential) -> None:
    """azure-sdk-for-python#35368."""
    body = x509_enrollment(dev1, one, iotHubs=["h.azure-devices.net"])
    with pytest.raises(HttpResponseError) as refused:
        service(target).enrollment.create_or_update(dev1, body)
    said = "Enrollment allocationPolicy must be specified when iotHubs are specified."
    assert str(refused.value).startswith(f"(400004) {said}")


def test_an_allocation_policy_is_taken_in_any_case(target: Target, dev1: str, one: Credential) -> None:
    """azure-iot-cli-extension sends Hashed, geolatency and the like."""
    body = x509_enrollment(dev1, one, allocationPolicy="geolatency")
    assert service(target).enrollment.create_or_update(dev1, body)["allocationPolicy"] == "geoLatency"


def test_a_put_replaces_everything(target: Target, dev1: str, one: Credential) -> None:
    """REST: Create Or Update; members that are left out are gone."""
    client = service(target)
    twin = {"tags": {"site": "a"}, "properties": {"desired": {}}}
    first = client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one, initialTwin=twin))
    assert first["initialTwin"] == twin
    second = client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one), if_match=first["etag"])
    assert "initialTwin" not in second


@KNOBS
@pytest.mark.parametrize(("visible", "shown_to_old"), [(True, True), (False, False)])
def test_a_credential_policy_shows_to_new_versions_always(azure: StandIn, visible: bool, shown_to_old: bool) -> None:
    """azure-rest-api-specs: credentialPolicyName since 2025-07-01-preview. Whether 2021-10-01 shows it: a
    knob.
    """
    azure.control.patch("/knobs", {"credential_policy_visible": visible})
    body = x509_enrollment("dev1", ONE, credentialPolicyName="policy1")
    assert call(azure, "PUT", "/enrollments/dev1", body, params={"api-version": "2026-04-01"}).ok
    new = call(azure, "GET", "/enrollments/dev1", params={"api-version": "2025-07-01-preview"}).json()
    old = call(azure, "GET", "/enrollments/dev1").json()
    assert new["credentialPolicyName"] == "policy1"
    assert ("credentialPolicyName" in old) is shown_to_old


@KNOBS
@pytest.mark.parametrize("unset", ["omit", "null"])
def test_unset_members_are_left_out_or_null(azure: StandIn, unset: str) -> None:
    """Recorded in 2023: left out. The models of azure-iot-cli-extension: null. A knob."""
    azure.control.patch("/knobs", {"null_members": unset, "mirror_lone_primary": False})
    service(azure).enrollment.create_or_update("dev1", x509_enrollment("dev1", ONE))
    shown = service(azure).enrollment.get("dev1")
    slots = shown["attestation"]["x509"]["clientCertificates"]
    there = unset == "null"
    assert ("secondary" in slots, "caReferences" in shown["attestation"]["x509"]) == (there, there)
    assert ("allocationPolicy" in shown, "errorCode" in shown["registrationState"]) == (there, there)


def test_symmetric_keys_are_made_and_hidden(target: Target, dev1: str) -> None:
    """Recorded in 2023: null keys come back filled; azure-iot-cli-extension: GET hides them, and POST
    attestationmechanism reveals."""
    client = service(target)
    body = {
        "registrationId": dev1,
        "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": None}},
    }
    made = client.enrollment.create_or_update(dev1, body)["attestation"]["symmetricKey"]
    assert client.enrollment.get(dev1)["attestation"]["symmetricKey"] == {}
    assert client.enrollment.get_attestation_mechanism(dev1) == {
        "type": "symmetricKey",
        "symmetricKey": made,
    }
