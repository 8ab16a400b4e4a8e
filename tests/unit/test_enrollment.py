"""Reading an individual enrollment and writing it back, against what the live service was recorded to say."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.enrollment import Enrollment, Slot, parse_enrollment, parse_registration, parse_time
from shared.errors import BadInput
from tests.builders import DEVICE, NEW, OLD, STRANGER, an_enrollment, an_identity

RECORDINGS = Path(__file__).parents[1] / "contract" / "recordings"


def recorded(file: str, method: str, path: str) -> Iterator[dict[str, Any]]:
    """Bodies that the live service answered with 200 (recorded 2023-05-19, data plane 2021-10-01)."""
    entries = json.loads((RECORDINGS / file).read_text())["entries"]
    for entry in entries:
        if entry["method"] == method and entry["path"].startswith(path) and entry["status"] == 200:
            yield entry["responseBody"]


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_every_recorded_x509_enrollment_is_read(method):
    """Source: azure-sdk-for-python, recording of test_enrollment_x509_lifecycle."""
    bodies = list(recorded("dps_individual_x509_lifecycle.json", method, "/enrollments/x509_"))
    assert bodies
    for body in bodies:
        enrollment = parse_enrollment(body)
        assert enrollment.registration_id == body["registrationId"]
        assert enrollment.device_id == body["deviceId"] != body["registrationId"]
        assert enrollment.etag == body["etag"]
        assert enrollment.enabled is (body["provisioningStatus"] == "enabled")
        assert enrollment.attestation == "x509"
        assert enrollment.credential_policy is None
        assert enrollment.slots[Slot.PRIMARY] == enrollment.slots[Slot.SECONDARY]
        assert enrollment.slots[Slot.PRIMARY].not_after == datetime(2023, 5, 20, 23, 10, 43, tzinfo=UTC)
        assert enrollment.registration is None, "'unassigned' means that it never registered"


def test_a_mirrored_certificate_is_one_certificate_in_two_slots():
    """DPS answered a PUT of only a primary with a secondary that repeats it (recorded)."""
    body = next(recorded("dps_individual_x509_lifecycle.json", "GET", "/enrollments/x509_"))
    enrollment = parse_enrollment(body)
    assert len(enrollment.certificates()) == 1
    assert enrollment.slots_holding("THUMBPRINT") == (Slot.PRIMARY, Slot.SECONDARY)


def test_the_names_in_a_recorded_certificate_are_read():
    body = next(recorded("dps_individual_x509_lifecycle.json", "GET", "/enrollments/x509_"))
    shown = body["attestation"]["x509"]["clientCertificates"]["primary"]["info"]
    primary = parse_enrollment(body).slots[Slot.PRIMARY]
    assert (primary.subject, primary.issuer) == (shown["subjectName"], shown["issuerName"])


def test_the_recorded_registrations_are_read():
    """Source: azure-sdk-for-python, recording of the registration state lifecycle."""
    bodies = [
        body["registrationState"]
        for body in recorded("dps_registration_lifecycle.json", "GET", "/enrollments/")
        if "registrationState" in body
    ]
    bodies += list(recorded("dps_registration_lifecycle.json", "GET", "/registrations/"))
    assert bodies
    for body in bodies:
        registration = parse_registration(body)
        if body["status"] == "unassigned":
            assert registration is None
        else:
            assert registration.status == body["status"]


BODY = deepcopy(dict(an_enrollment(OLD, NEW).body))
UNSET = ("deviceId", "provisioningStatus", "registrationState", "credentialPolicyName")


@pytest.mark.parametrize("member", UNSET)
def test_a_member_that_is_null_and_one_that_is_missing_are_the_same(member):
    """Recorded answers omit unset members; the models of azure-iot-cli-extension hold them as null."""
    missing = {key: value for key, value in BODY.items() if key != member}
    without, null = parse_enrollment(missing), parse_enrollment({**missing, member: None})
    assert {**vars(without), "body": None} == {**vars(null), "body": None}


@pytest.mark.parametrize("empty", [{}, {"secondary": None}, {"secondary": {}}, {"secondary": {"info": None}}])
def test_an_empty_slot_is_empty_however_it_is_written(empty):
    body = deepcopy(BODY)
    slots = body["attestation"]["x509"]["clientCertificates"]
    del slots["secondary"]
    slots.update(empty)
    assert parse_enrollment(body).slots[Slot.SECONDARY] is None


def test_without_a_device_id_the_registration_id_names_the_device():
    """azure-docs concepts-service: the device ID defaults to the registration ID."""
    assert parse_enrollment({k: v for k, v in BODY.items() if k != "deviceId"}).device_id == DEVICE


@pytest.mark.parametrize("attestation", [{"type": "symmetricKey", "symmetricKey": {}}, {"type": "tpm", "tpm": {}}])
def test_an_enrollment_that_attests_otherwise_is_read_and_has_no_certificates(attestation):
    enrollment = parse_enrollment({**BODY, "attestation": attestation})
    assert enrollment.attestation == attestation["type"]
    assert enrollment.certificates() == []


@pytest.mark.parametrize("type_of_x509", [{"caReferences": {"primary": "ca"}}, {"clientCertificates": None}, None])
def test_x509_without_client_certificates_is_read_with_empty_slots(type_of_x509):
    enrollment = parse_enrollment({**BODY, "attestation": {"type": "x509", "x509": type_of_x509}})
    assert enrollment.certificates() == []


def test_certificates_are_given_once_each_primary_first():
    found = [c.sha256_thumbprint for c in an_enrollment(OLD, NEW).certificates()]
    assert found == [OLD.sha256_thumbprint, NEW.sha256_thumbprint]


NOT_ONE: dict[str, Any] = {
    "an empty object": {},
    "a list": [],
    "without its ETag": {k: v for k, v in BODY.items() if k != "etag"},
    "without its attestation": {k: v for k, v in BODY.items() if k != "attestation"},
    "with a text as attestation": {**BODY, "attestation": "x509"},
    "with a slot without thumbprint": {
        **BODY,
        "attestation": {"type": "x509", "x509": {"clientCertificates": {"primary": {"info": {"version": 3}}}}},
    },
    "with an end that is no time": json.loads(json.dumps(BODY).replace("2026-12-24T", "yesterday ")),
    "with a text as registration": {**BODY, "registrationState": "assigned"},
}


@pytest.mark.parametrize("body", NOT_ONE.values(), ids=NOT_ONE.keys())
def test_bad_input_is_raised_for_an_enrollment_that_is(body):
    with pytest.raises(BadInput, match="not an individual enrollment"):
        parse_enrollment(body)


TIMES = {
    "seven digits, as DPS writes them": ("2023-05-19T23:10:43.9486465Z", 948646),
    "three digits": ("2023-05-19T23:10:43.948Z", 948000),
    "no fraction": ("2023-05-19T23:10:43Z", 0),
    "no zone": ("2023-05-19T23:10:43.9486465", 948646),
    "a zone of zero": ("2023-05-19T23:10:43.9486465+00:00", 948646),
    "another zone": ("2023-05-20T01:10:43+02:00", 0),
    "another zone and a fraction": ("2023-05-20T01:10:43.9486465+02:00", 948646),
    "a zone in the west and a fraction": ("2023-05-19T16:10:43.9486465-07:00", 948646),
}


@pytest.mark.parametrize(("text", "microsecond"), TIMES.values(), ids=TIMES.keys())
def test_a_time_is_read_as_utc_from(text, microsecond):
    assert parse_time(text) == datetime(2023, 5, 19, 23, 10, 43, microsecond, tzinfo=UTC)


# --- writing back -----------------------------------------------------------------------------------------------

RICH = {
    "provisioningStatus": "disabled",
    "capabilities": {"iotEdge": True},
    "initialTwin": {"properties": {"desired": {"n": 1}}},
    "allocationPolicy": "custom",
    "customAllocationDefinition": {"webhookUrl": "https://allocate.example", "apiVersion": "2019-03-31"},
    "aFieldOfALaterRelease": {"kept": [1, 2]},
    "createdDateTimeUtc": "2023-05-19T23:10:43.9486465Z",
    "lastUpdatedDateTimeUtc": "2023-05-19T23:10:43.9486465Z",
    "registrationState": {"registrationId": DEVICE, "status": "assigned"},
}
READ_ONLY = ("registrationState", "createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag")
CHANGED = ("attestation", *READ_ONLY)


def slots_of(body: dict[str, Any]) -> dict[str, Any]:
    return body["attestation"]["x509"]["clientCertificates"]


def rich() -> Enrollment:
    return an_enrollment(OLD, STRANGER, **RICH)


@pytest.mark.parametrize("slot", Slot)
def test_a_put_fills_one_slot_and_sends_the_other_with_its_info_only(slot):
    """A slot that is not sent is cleared; one sent with its ``info`` only is kept (azure-iot-cli-extension)."""
    enrollment = rich()
    body = enrollment.body_with(slot, NEW)
    assert slots_of(body)[slot] == {"certificate": NEW.pem}
    kept = slots_of(body)[slot.other]
    assert kept == slots_of(dict(enrollment.body))[slot.other]
    assert list(kept) == ["info"]


def test_a_put_changes_nothing_that_it_does_not_mean_to_change():
    enrollment = rich()
    for body in (enrollment.body_with(Slot.SECONDARY, NEW), enrollment.body_without(STRANGER.sha256_thumbprint)):
        untouched = {key: value for key, value in body.items() if key not in CHANGED}
        assert untouched == {key: value for key, value in enrollment.body.items() if key not in CHANGED}


def test_a_put_sends_no_read_only_member():
    enrollment = rich()
    for body in (enrollment.body_with(Slot.SECONDARY, NEW), enrollment.body_without(STRANGER.sha256_thumbprint)):
        assert not set(READ_ONLY) & set(body)


def test_making_a_put_leaves_what_was_read_as_it_was():
    enrollment = rich()
    before = deepcopy(enrollment.body)
    enrollment.body_with(Slot.PRIMARY, NEW)
    enrollment.body_without(OLD.sha256_thumbprint)["initialTwin"]["properties"]["desired"]["n"] = 2
    assert enrollment.body == before


def test_a_put_of_a_recorded_enrollment_sends_the_recorded_slot_back():
    body = next(recorded("dps_individual_x509_lifecycle.json", "GET", "/enrollments/x509_"))
    sent = parse_enrollment(body).body_with(Slot.SECONDARY, NEW)
    assert slots_of(sent)["primary"] == slots_of(body)["primary"]


def test_the_slot_that_holds_a_certificate_is_cleared_with_null_and_the_other_kept():
    body = rich().body_without(OLD.sha256_thumbprint)
    assert slots_of(body)["primary"] is None
    assert list(slots_of(body)["secondary"]) == ["info"]


@pytest.mark.parametrize("slots", [(OLD, OLD), (OLD, None), (None, OLD)], ids=["mirrored", "primary", "secondary"])
def test_an_enrollment_is_never_left_without_any_certificate(slots):
    with pytest.raises(BadInput, match="without any certificate"):
        an_enrollment(*slots).body_without(OLD.sha256_thumbprint)


def test_nothing_is_cleared_for_a_certificate_that_no_slot_holds():
    body = rich().body_without(NEW.sha256_thumbprint)
    assert slots_of(body) == slots_of(dict(rich().body))


# --- the hub identity -------------------------------------------------------------------------------------------


def test_the_hub_accepts_a_certificate_by_either_hash():
    assert an_identity(OLD.sha1_thumbprint, None).holds(OLD.sha1_thumbprint, OLD.sha256_thumbprint)
    assert an_identity(NEW, OLD).holds(OLD.sha1_thumbprint, OLD.sha256_thumbprint)
    assert not an_identity(NEW, NEW).holds(OLD.sha1_thumbprint, OLD.sha256_thumbprint)


def test_the_thumbprints_of_an_identity_are_given_once_each():
    assert list(an_identity(OLD, OLD).thumbprints()) == [OLD.sha256_thumbprint]
    assert list(an_identity(None, None).thumbprints()) == []
    assert list(an_identity(None, NEW).thumbprints()) == [NEW.sha256_thumbprint]
