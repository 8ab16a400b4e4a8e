"""The two certificate slots of an entry: what a PUT keeps, clears, mirrors and refuses."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from tests.contract.dps_kit import (
    Credential,
    Raw,
    call,
    info_of,
    self_signed,
    service,
    sha256_in,
    x509_enrollment,
    x509_group,
)
from tests.contract.reasons import KNOBS
from tests.contract.target import Target
from tests.standin import StandIn

ONE, TWO, THREE = (self_signed("dev1") for _ in range(3))


def put(azure: StandIn | Target, primary: Any, secondary: Any = None, *, name: str = "dev1") -> dict[str, Any]:
    """PUT the enrollment over whatever is there."""
    client = service(azure)
    there = call(azure, "GET", f"/enrollments/{name}").ok
    body = x509_enrollment(name, primary, secondary)
    return dict(client.enrollment.create_or_update(name, body, if_match="*" if there else None))


def in_slots(entry: dict[str, Any]) -> tuple[str | None, str | None]:
    return sha256_in(entry, "primary"), sha256_in(entry, "secondary")


def test_a_certificate_is_never_shown_again(target: Target, dev1: str, one: Credential, two: Credential) -> None:
    """C# SDK, X509CertificateWithInfo; recorded in 2023."""
    put(target, one, two, name=dev1)
    client = service(target)
    everywhere = [
        client.enrollment.get(dev1),
        client.enrollment.create_or_update(dev1, x509_enrollment(dev1, one, two), if_match="*"),
        {"attestation": client.enrollment.get_attestation_mechanism(dev1)},
    ]
    for shown in everywhere:
        assert set(shown["attestation"]["x509"]["clientCertificates"]["primary"]) == {"info"}
        assert in_slots(shown) == (one.sha256, two.sha256)


def test_the_info_describes_the_certificate_as_recorded(target: Target, one: Credential, dev1: str) -> None:
    """Recordings of 2023: .NET names, upper-case hex, times without fraction, version 3."""
    info = info_of(put(target, one, name=dev1), "primary")
    assert info == {
        "subjectName": f"CN={dev1}",
        "sha1Thumbprint": info["sha1Thumbprint"],
        "sha256Thumbprint": one.sha256,
        "issuerName": f"CN={dev1}",
        "notBeforeUtc": one.certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "notAfterUtc": one.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "serialNumber": info["serialNumber"],
        "version": 3,
    }
    assert int(info["serialNumber"], 16) == one.certificate.serial_number


@KNOBS
@pytest.mark.parametrize("mirrored", [True, False])
def test_a_lone_primary_comes_back_in_both_slots(azure: StandIn, mirrored: bool) -> None:
    """Recordings of 2023, on PUT, GET and update alike. A knob, for nothing else says so."""
    azure.control.patch("/knobs", {"mirror_lone_primary": mirrored})
    expected = (ONE.sha256, ONE.sha256 if mirrored else None)
    assert in_slots(put(azure, ONE)) == expected
    assert in_slots(service(azure).enrollment.get("dev1")) == expected


@KNOBS
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_lone_secondary_stays_alone(azure: StandIn, mirrored: bool) -> None:
    """azure-iot-cli-extension live tests (`--remove-certificate`): the primary comes back empty. A knob."""
    azure.control.patch("/knobs", {"mirror_lone_secondary": mirrored})
    assert in_slots(put(azure, None, ONE)) == (ONE.sha256 if mirrored else None, ONE.sha256)


def test_a_mirrored_certificate_outlives_the_slot_it_came_from(
    target: Target, one: Credential, two: Credential, dev1: str
) -> None:
    """What follows from the recordings: replacing the primary alone leaves its twin in the secondary."""
    info = info_of(put(target, one, name=dev1), "secondary")
    assert in_slots(put(target, two, info, name=dev1)) == (two.sha256, one.sha256)


def test_a_slot_sent_as_info_alone_keeps_its_certificate(
    target: Target, one: Credential, two: Credential, three: Credential, dev1: str
) -> None:
    """azure-iot-cli-extension: `enrollment update` sends both slots as info, and both still register."""
    info = info_of(put(target, one, two, name=dev1), "primary")
    assert in_slots(put(target, info, three, name=dev1)) == (one.sha256, three.sha256)


@pytest.mark.parametrize("absent", [True, False])
def test_a_slot_that_is_absent_or_null_is_cleared(
    target: Target, absent: bool, dev1: str, one: Credential, two: Credential
) -> None:
    """azure-iot-cli-extension: `--remove-certificate` sends null."""
    info = info_of(put(target, one, two, name=dev1), "secondary")
    body = x509_enrollment(dev1, None, info)
    if absent:
        del body["attestation"]["x509"]["clientCertificates"]["primary"]
    assert in_slots(service(target).enrollment.create_or_update(dev1, body, if_match="*")) == (
        None,
        two.sha256,
    )


def test_clearing_both_slots_is_refused(target: Target, one: Credential, dev1: str) -> None:
    """A guess: azure-iot-cli-extension refuses before it asks."""
    put(target, one, name=dev1)
    with pytest.raises(HttpResponseError) as refused:
        put(target, None, None, name=dev1)
    assert refused.value.status_code == 400


@KNOBS
@pytest.mark.parametrize("mode", ["refuse", "keep"])
def test_an_info_of_another_certificate_is_refused_or_ignored(azure: StandIn, mode: str) -> None:
    """No source tells what the service compares. A knob."""
    azure.control.patch("/knobs", {"info_mismatch_at_put": mode})
    put(azure, ONE, TWO)
    foreign = info_of(service(azure).enrollment.create_or_update("dev2", x509_enrollment("dev2", THREE)), "primary")
    if mode == "keep":
        assert in_slots(put(azure, foreign, None)) == (ONE.sha256, ONE.sha256)
        return
    with pytest.raises(HttpResponseError) as refused:
        put(azure, foreign, None)
    assert refused.value.status_code == 400


@KNOBS
def test_an_info_for_an_empty_slot_is_refused(azure: StandIn) -> None:
    """There is no certificate that it could stand for, under any knob."""
    azure.control.patch("/knobs", {"info_mismatch_at_put": "keep", "mirror_lone_primary": False})
    info = info_of(put(azure, ONE), "primary")
    with pytest.raises(HttpResponseError):
        put(azure, ONE, info)


@KNOBS
@pytest.mark.parametrize("allowed", [False, True])
def test_swapping_the_infos_does_not_swap_the_slots(azure: StandIn, allowed: bool) -> None:
    """No client does it, no source tells. A knob, off by default."""
    azure.control.patch("/knobs", {"promote_by_info_swap": allowed})
    there = put(azure, ONE, TWO)
    first, second = info_of(there, "primary"), info_of(there, "secondary")
    if allowed:
        assert in_slots(put(azure, second, first)) == (TWO.sha256, ONE.sha256)
        return
    with pytest.raises(HttpResponseError) as refused:
        put(azure, second, first)
    assert refused.value.status_code == 400


def test_one_certificate_may_fill_both_slots(target: Target, one: Credential, dev1: str) -> None:
    """azure-iot-cli-extension live tests do it."""
    assert in_slots(put(target, one, one, name=dev1)) == (one.sha256, one.sha256)


@KNOBS
@pytest.mark.parametrize("mode", ["conflict", "allow"])
@pytest.mark.parametrize("other", ["enrollment", "group"])
def test_one_certificate_belongs_in_one_entry(azure: StandIn, mode: str, other: str) -> None:
    """azure-docs concepts-x509-attestation; how the service refuses is unknown. A knob."""
    azure.control.patch("/knobs", {"same_certificate_in_two_enrollments": mode})
    put(azure, ONE)
    client = service(azure)

    def again() -> None:
        if other == "enrollment":
            client.enrollment.create_or_update("dev2", x509_enrollment("dev2", TWO, ONE))
        else:
            client.enrollment_group.create_or_update("g1", x509_group("g1", ONE))

    if mode == "allow":
        again()
        return
    with pytest.raises(ResourceExistsError):
        again()
    client.enrollment.delete("dev1")
    again()


@KNOBS
@pytest.mark.parametrize("mode", ["accept", "refuse"])
def test_an_expired_certificate_can_be_stored(azure: StandIn, mode: str) -> None:
    """azure-docs how-to-roll-certificates leaves the expired primary in place; no source has a refusal. A
    knob.
    """
    azure.control.patch("/knobs", {"expired_certificate_at_put": mode})
    expired = self_signed("dev1", start=timedelta(days=-10), lasts=timedelta(days=5))
    if mode == "accept":
        assert sha256_in(put(azure, expired), "primary") == expired.sha256
        return
    with pytest.raises(HttpResponseError) as refused:
        put(azure, expired)
    assert refused.value.status_code == 400


FORMS = {
    "PEM": lambda one: one.pem,
    "PEM with a second block": lambda one: one.pem + TWO.pem,
    "base64 of DER (C#)": lambda one: base64.b64encode(one.der).decode(),
    "base64 of PEM": lambda one: base64.b64encode(one.pem.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_certificate_is_taken_in_every_form_that_clients_send(
    target: Target, form: Any, one: Credential, dev1: str
) -> None:
    """azure-iot-cli-extension sends the file's text, the C# client base64 of DER."""
    assert sha256_in(put(target, Raw(form(one)), name=dev1), "primary") == one.sha256


BROKEN = {
    "nothing": "",
    "garbage": "certificate",
    "cut": ONE.pem[:200],
    "cut DER": base64.b64encode(ONE.der[:-20]).decode(),
    "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "a number": 7,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_certificate_is_a_bad_request(target: Target, text: Any, dev1: str) -> None:
    """A guess of the family 400004; never a 500."""
    with pytest.raises(HttpResponseError) as refused:
        put(target, Raw(text), name=dev1)
    assert refused.value.status_code == 400
    assert str(refused.value).startswith("(400004)")
