"""Reading an enrollment group, against what the live service was recorded to say."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from shared.authority import DpsCertificate
from shared.enrollment import Slot
from shared.errors import BadInput
from shared.group import distinct, parse_group, slots_with, why_group_is_not_ours
from tests.builders import NEW, OLD
from tests.fakes import info

RECORDINGS = Path(__file__).parents[1] / "contract" / "recordings"


def recorded() -> list[dict[str, Any]]:
    """Every group that the live service answered with 200 (recorded 2023, data plane 2021-10-01)."""
    entries = [one for file in sorted(RECORDINGS.glob("*.json")) for one in json.loads(file.read_text())["entries"]]
    bodies = [one.get("responseBody") for one in entries if one["status"] == 200]
    several = [body if isinstance(body, list) else [body] for body in bodies]
    return [one for some in several for one in some if isinstance(one, dict) and "enrollmentGroupId" in one]


def test_every_recorded_group_is_read():
    """Source: azure-sdk-for-python, recordings of the group tests."""
    assert recorded()
    for body in recorded():
        group = parse_group(body)
        assert (group.enrollment_group_id, group.etag) == (body["enrollmentGroupId"], body["etag"])
        assert group.attestation == body["attestation"]["type"]
        assert group.enabled is (body.get("provisioningStatus") in (None, "enabled"))
        if "signingCertificates" in (body["attestation"].get("x509") or {}):
            assert group.signing[Slot.PRIMARY] is not None


BODY: dict[str, Any] = {
    "enrollmentGroupId": "g1",
    "etag": "ImV0YWciCg==",
    "attestation": {"type": "x509", "x509": {"signingCertificates": {"primary": {"info": info(OLD)}}}},
    "provisioningStatus": "disabled",
}


def test_a_group_with_a_signing_certificate_has_its_names():
    group = parse_group(BODY)
    primary = group.signing[Slot.PRIMARY]
    assert (primary.subject, primary.issuer, primary.sha256_thumbprint) == (
        "CN=dev-01",
        "CN=dev-01",
        OLD.sha256_thumbprint,
    )
    assert (group.signing[Slot.SECONDARY], group.ca_references, group.enabled) == (None, (), False)


@pytest.mark.parametrize("nulls", [{}, {"signingCertificates": None, "clientCertificates": None}])
def test_a_group_with_ca_references_has_their_names_primary_first(nulls):
    body = {
        **BODY,
        "attestation": {"type": "x509", "x509": {"caReferences": {"secondary": "b", "primary": "a"}, **nulls}},
    }
    assert parse_group(body).ca_references == ("a", "b")
    assert set(parse_group(body).signing.values()) == {None}
    body["attestation"]["x509"]["caReferences"] = {"primary": None, "secondary": "b"}
    assert parse_group(body).ca_references == ("b",)


@pytest.mark.parametrize(("status", "enabled"), [("enabled", True), (None, True), ("disabled", False)])
def test_a_group_without_a_status_is_enabled(status, enabled):
    assert parse_group({**BODY, "provisioningStatus": status}).enabled is enabled


def test_names_that_are_not_shown_are_not_known():
    body = deepcopy(BODY)
    shown = body["attestation"]["x509"]["signingCertificates"]["primary"]["info"]
    del shown["subjectName"]
    shown["issuerName"] = None
    primary = parse_group(body).signing[Slot.PRIMARY]
    assert (primary.subject, primary.issuer, primary.self_issued) == (None, None, None)


@pytest.mark.parametrize("attestation", [{"type": "symmetricKey", "symmetricKey": {}}, {"type": "x509", "x509": None}])
def test_a_group_without_certificates_is_read(attestation):
    group = parse_group({**BODY, "attestation": attestation})
    assert (set(group.signing.values()), group.ca_references) == ({None}, ())


NOT_ONE: dict[str, Any] = {
    "an empty object": {},
    "a list": [],
    "without its ETag": {k: v for k, v in BODY.items() if k != "etag"},
    "without its ID": {k: v for k, v in BODY.items() if k != "enrollmentGroupId"},
    "with a text as attestation": {**BODY, "attestation": "x509"},
    "with a text as CA references": {**BODY, "attestation": {"type": "x509", "x509": {"caReferences": "ca"}}},
}


@pytest.mark.parametrize("body", NOT_ONE.values(), ids=NOT_ONE.keys())
def test_what_is_no_group_is_bad_input(body):
    with pytest.raises(BadInput, match="not an enrollment group"):
        parse_group(body)


# --- what it trusts, and what is written ------------------------------------------------------------------------


def by_name(*names: str | None) -> dict[str, Any]:
    references = dict(zip(("primary", "secondary"), names, strict=False))
    return {**BODY, "attestation": {"type": "x509", "x509": {"caReferences": references}}}


def test_a_ca_reference_stands_for_the_ca_certificate_of_that_name_whatever_its_case():
    group = parse_group(by_name("CA-1", "gone"))
    there = [DpsCertificate("ca-1", OLD, verified=True, etag="e")]
    anchors = group.anchors(there)
    assert anchors[Slot.PRIMARY].sha256_thumbprint == OLD.sha256_thumbprint
    assert (anchors[Slot.SECONDARY], group.dangling(there)) == (None, ("gone",))
    assert slots_with(anchors, OLD) == (Slot.PRIMARY,)
    assert distinct(anchors) == [anchors[Slot.PRIMARY]]


def test_a_ca_certificate_that_resource_manager_does_not_show_is_known_by_its_sha1():
    """Recorded of azure-cli, 2021 and 2022: properties.certificate is null; the thumbprint is there."""
    unseen = DpsCertificate("ca-1", None, verified=True, etag="e", thumbprint=OLD.sha1_thumbprint)
    anchors = parse_group(by_name("ca-1")).anchors([unseen])
    assert slots_with(anchors, OLD) == (Slot.PRIMARY,)
    assert slots_with(anchors, NEW) == ()


def test_a_write_of_one_slot_keeps_the_other_by_its_info_and_every_other_member():
    group = parse_group({**BODY, "initialTwin": {"tags": {}}, "createdDateTimeUtc": "2026-01-01T00:00:00Z"})
    body = group.body_with(Slot.SECONDARY, NEW)
    slots = body["attestation"]["x509"]["signingCertificates"]
    assert slots["primary"] == {"info": info(OLD)}
    assert slots["secondary"] == {"certificate": NEW.pem}
    assert body["initialTwin"] == {"tags": {}}
    assert not {"etag", "createdDateTimeUtc"} & set(body)
    assert BODY["attestation"]["x509"]["signingCertificates"] == {"primary": {"info": info(OLD)}}, "what was read stays"


def test_a_status_is_written_with_everything_else_as_it_is():
    assert parse_group(BODY).body_with_status(enabled=True)["provisioningStatus"] == "enabled"
    assert parse_group(by_name("a")).body_with_status(enabled=False)["attestation"] == by_name("a")["attestation"]


def test_names_are_swapped_one_by_one():
    assert parse_group(by_name("a")).body_naming(Slot.SECONDARY, "b")["attestation"] == by_name("a", "b")["attestation"]
    cleared = parse_group(by_name("a", "b")).body_without(Slot.PRIMARY)
    assert cleared["attestation"] == by_name(None, "b")["attestation"]


@pytest.mark.parametrize("body", [BODY, by_name("a"), by_name(None, "b")])
def test_a_group_is_never_left_without_anything_that_it_trusts(body):
    with pytest.raises(BadInput, match="without anything"):
        parse_group(body).body_without(*Slot)


def test_a_group_of_azure_device_registry_is_not_ours():
    assert "credential policy" in why_group_is_not_ours(parse_group({**BODY, "credentialPolicyName": "p"}))
    assert "symmetricKey" in why_group_is_not_ours(parse_group({**BODY, "attestation": {"type": "symmetricKey"}}))
    assert why_group_is_not_ours(parse_group(BODY)) is None
