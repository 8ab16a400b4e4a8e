"""The steps at the vault and the enrollment: every verdict of issue_certificate and upload_secondary."""

from dataclasses import replace

import pytest

from shared.decide_expiry import standby_slot
from shared.enrollment import Slot
from shared.plans import Step
from shared.seen import Issuance
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Refuse, Wait
from tests.builders import (
    EXPIRED,
    NEW,
    NEWER,
    OLD,
    STRANGER,
    Case,
    a_rollover,
    a_version,
    an_enrollment,
    check_verdict,
    seen,
    verdict,
)

ISSUE, UPLOAD = Step.ISSUE_CERTIFICATE, Step.UPLOAD_SECONDARY


# --- issue_certificate ------------------------------------------------------------------------------------------

NO_CLIENT_AUTH = a_version(replace(NEW, allows_client_auth=False))
ISSUE_CASES: dict[str, Case] = {
    "asks for a version when the outgoing one is the latest": (seen(latest=a_version(OLD, "v1")), Act, "asked for"),
    "is done when the vault renewed by itself": (seen(latest=a_version(NEW)), AlreadyDone, "holds version v2"),
    "is refused when the certificate is gone": (seen(), Refuse, "'dev-01-cert'"),
    "is refused when the new version cannot take over": (seen(latest=NO_CLIENT_AUTH), Refuse, "client authentication"),
    "is refused when the new version is disabled": (seen(latest=a_version(NEW, enabled=False)), Refuse, "is disabled"),
    "waits while the vault is at it": (
        seen(latest=a_version(OLD, "v1"), issuance=Issuance(True, False, None)),
        Wait,
        "is issuing",
    ),
    "waits for somebody to sign the request": (
        seen(latest=a_version(OLD, "v1"), issuance=Issuance(True, True, None)),
        Wait,
        "signed and merged",
    ),
    "signs the request where a CA of the vault is to": (
        seen(latest=a_version(OLD, "v1"), issuance=Issuance(True, True, None), issuer="issuing-ca"),
        Act,
        "signed by the key of the vault's certificate 'issuing-ca'",
    ),
    "leaves to the vault what it issues by itself, whatever the tag says": (
        seen(latest=a_version(OLD, "v1"), issuance=Issuance(True, False, None), issuer="issuing-ca"),
        Wait,
        "is issuing",
    ),
    "asks when an issuance of long ago had failed: its cause may be mended": (
        seen(latest=a_version(OLD, "v1"), issuance=Issuance(False, False, "BadPolicy: no such issuer")),
        Act,
        "a new version is asked for",
    ),
    "asks again when an earlier issuance was cancelled": (
        seen(latest=a_version(OLD, "v1"), issuance=Issuance(False, False, None)),
        Act,
        "asked for",
    ),
}


@pytest.mark.parametrize("case", ISSUE_CASES.values(), ids=ISSUE_CASES.keys())
def test_issue_certificate(case):
    check_verdict(ISSUE, case)


def test_a_person_is_needed_when_the_vault_could_not_issue_what_was_asked_for():
    failed = seen(latest=a_version(OLD, "v1"), issuance=Issuance(False, False, "BadPolicy: no such issuer"))
    said = verdict(ISSUE, failed, a_rollover(ISSUE, acts=1))
    assert isinstance(said, NeedsPerson)
    assert "BadPolicy: no such issuer" in said.why


def test_a_refused_version_is_named_with_all_its_faults():
    version = a_version(replace(NEW, common_name="other", is_ca=True), "v7", enabled=False)
    why = verdict(ISSUE, seen(latest=version)).why
    assert "version v7" in why
    for said in ("disabled", "'other'", "CA certificate"):
        assert said in why


# --- upload_secondary -------------------------------------------------------------------------------------------

UPLOAD_CASES: dict[str, Case] = {
    "fills an empty standby slot": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(OLD)),
        Act,
        "slot secondary takes",
    ),
    "overwrites a slot that repeats the outgoing certificate": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(OLD, OLD)),
        Act,
        "slot secondary takes",
    ),
    "overwrites an expired certificate": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(OLD, EXPIRED)),
        Act,
        "slot secondary takes",
    ),
    "takes the other slot when somebody moved the outgoing certificate": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(None, OLD)),
        Act,
        "slot primary takes",
    ),
    "is done when the standby slot holds the incoming certificate": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(OLD, NEW)),
        AlreadyDone,
        "slot secondary holds",
    ),
    "is done when the other slot holds the incoming certificate": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(NEW, OLD)),
        AlreadyDone,
        "slot primary holds",
    ),
    "is done with the version that was chosen although the vault has a newer one": (
        seen(latest=a_version(NEWER, "v3"), enrollment=an_enrollment(OLD, NEW)),
        AlreadyDone,
        "slot secondary holds",
    ),
    "goes back when the vault has a newer version": (
        seen(latest=a_version(NEWER, "v3"), enrollment=an_enrollment(OLD)),
        Back,
        "newer version, v3",
    ),
    "goes back when the certificate is gone from the vault": (seen(enrollment=an_enrollment(OLD)), Back, "gone"),
    "is refused when the version was disabled in the meantime": (
        seen(latest=a_version(NEW, enabled=False), enrollment=an_enrollment(OLD)),
        Refuse,
        "is disabled",
    ),
    "is refused when the version expired in the meantime": (
        seen(now=NEW.not_after, latest=a_version(NEW), enrollment=an_enrollment(OLD)),
        Refuse,
        "it expired on",
    ),
    "is refused when no slot holds the outgoing certificate": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(STRANGER, STRANGER)),
        Refuse,
        "somebody changed the enrollment",
    ),
    "is refused when somebody put a valid certificate into the standby slot": (
        seen(latest=a_version(NEW), enrollment=an_enrollment(OLD, STRANGER)),
        Refuse,
        STRANGER.sha256_thumbprint,
    ),
}


@pytest.mark.parametrize("case", UPLOAD_CASES.values(), ids=UPLOAD_CASES.keys())
def test_upload_secondary(case):
    check_verdict(UPLOAD, case)


def test_a_superseded_certificate_that_was_named_at_the_start_may_be_overwritten():
    what = seen(latest=a_version(NEW), enrollment=an_enrollment(OLD, STRANGER))
    rollover = a_rollover(UPLOAD, replaces=STRANGER.sha256_thumbprint)
    check_verdict(UPLOAD, (what, Act, "slot secondary"), rollover)


@pytest.mark.parametrize("standby", Slot)
def test_the_outgoing_certificate_is_never_overwritten_while_it_lies_in_one_slot_only(standby):
    for slots in ((OLD, None), (None, OLD), (OLD, STRANGER), (STRANGER, OLD)):
        chosen = standby_slot(a_rollover(UPLOAD, standby=standby), an_enrollment(*slots))
        held = Slot.PRIMARY if slots[0] is OLD else Slot.SECONDARY
        assert chosen is held.other


@pytest.mark.parametrize("standby", Slot)
def test_the_computed_slot_is_used_when_both_hold_the_outgoing_certificate(standby):
    assert standby_slot(a_rollover(UPLOAD, standby=standby), an_enrollment(OLD, OLD)) is standby
