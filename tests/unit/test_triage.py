"""What a refused connect means, from what is known of the device."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.connection_log import Refusal
from shared.incident import Incident, Mode
from shared.plans import PLANS, Plan, Step
from shared.rollover import Outcome, Rollover
from shared.triage import Class, Known, triage, unknown_thumbprints
from tests.builders import (
    DEVICE,
    EXPIRED,
    NEW,
    NEWER,
    OLD,
    STRANGER,
    a_registration,
    a_rollover,
    a_version,
    an_enrollment,
    an_identity,
    as_incoming,
    as_outgoing,
)
from tests.certificates import NOW

REFUSED = Refusal(DEVICE, NOW + timedelta(minutes=1))


def known(**parts: Any) -> Known:
    """A device on OLD that nothing is wrong with, and what is different."""
    usual = {"identity": an_identity(OLD, OLD), "enrollment": an_enrollment(OLD), "latest": a_version(OLD)}
    return Known(**{"now": NOW, **usual, **parts})


def a_breach(**changes: Any) -> Rollover:
    """A breach of OLD that is contained and waits for its device."""
    order = PLANS[Plan.BREACH]
    incident = Incident("incident-1", Mode.REMOVE, "stolen", "Ada", "oid-1", (as_outgoing(OLD),))
    done = order[: order.index(Step.RESTORE_TWIN)]
    return a_rollover(**{"plan": Plan.BREACH, "incident": incident, "done": done, **changes})


AHEAD = a_version(NEW)
BREACHED = {"identity": None, "enrollment": an_enrollment(None, NEW), "latest": AHEAD}
UNAPPROVED = replace(a_breach().incident, approve_by=NOW + timedelta(hours=1))
CASES: dict[str, tuple[dict[str, Any], Class]] = {
    "nobody": ({"identity": None, "enrollment": None}, Class.NOT_OURS),
    "a device by SAS": ({"identity": an_identity(None, authentication="sas")}, Class.NOT_BY_CERTIFICATE),
    "an open rollover": ({"rollovers": [a_rollover()], "latest": AHEAD}, Class.IN_FLIGHT),
    "a breach that is not contained yet": ({"rollovers": [a_breach(done=())], **BREACHED}, Class.IN_FLIGHT),
    "a breach that nobody approved": (
        {"rollovers": [a_breach(done=(), incident=UNAPPROVED)]},
        Class.UNEXPLAINED,
    ),
    "contained, the device not back": ({"rollovers": [a_breach()], **BREACHED}, Class.BREACHED_TRIED),
    "contained, and the enrollment is gone": (
        {"rollovers": [a_breach(outcome=Outcome.NEEDS_PERSON)], **BREACHED, "enrollment": None},
        Class.BREACHED_TRIED,
    ),
    "contained, needs a person, still held": (
        {"rollovers": [a_breach(outcome=Outcome.NEEDS_PERSON)], "identity": None},
        Class.BREACHED_TRIED,
    ),
    "contained, needs a person, mended by hand": (
        {"rollovers": [a_breach(outcome=Outcome.NEEDS_PERSON)], **BREACHED},
        Class.UNEXPLAINED,
    ),
    "contained and ended by a person": (
        {"rollovers": [a_breach(outcome=Outcome.CANCELLED)], **BREACHED},
        Class.UNEXPLAINED,
    ),
    "contained and over": (
        {"rollovers": [a_breach(outcome=Outcome.DONE)], **BREACHED, "identity": an_identity(NEW)},
        Class.UNEXPLAINED,
    ),
    "contained, over, and its next rollover is open": (
        {"rollovers": [a_breach(outcome=Outcome.DONE), a_rollover(outgoing=as_outgoing(NEW))], **BREACHED},
        Class.IN_FLIGHT,
    ),
    "being disallowed": ({"rollovers": [a_breach(plan=Plan.DISALLOW, done=())], "latest": AHEAD}, Class.KEPT_OUT),
    "disabled at DPS": (
        {"enrollment": an_enrollment(OLD, provisioningStatus="disabled"), "latest": AHEAD},
        Class.KEPT_OUT,
    ),
    "disabled at the hub": ({"identity": an_identity(OLD, enabled=False), "latest": AHEAD}, Class.KEPT_OUT),
    "a thumbprint that nobody issued": ({"never_issued": ["AA"], "latest": AHEAD}, Class.NEVER_ISSUED),
    "the vault is ahead": ({"latest": AHEAD}, Class.ROLLED_EARLY),
    "the vault is ahead, its last rollover was refused": (
        {"latest": AHEAD, "rollovers": [a_rollover(outcome=Outcome.REFUSED)]},
        Class.ROLLED_EARLY,
    ),
    "the vault is ahead, and disabled": ({"latest": a_version(NEW, enabled=False)}, Class.UNEXPLAINED),
    "the vault is ahead, and expired": ({"latest": a_version(EXPIRED)}, Class.UNEXPLAINED),
    "the vault is ahead, and compromised": (
        {"latest": a_version(OLD), "enrollment": an_enrollment(NEW), "identity": an_identity(NEW)}
        | {"rollovers": [a_breach(outcome=Outcome.DONE)]},
        Class.UNEXPLAINED,
    ),
    "the enrollment was told": ({"latest": AHEAD, "enrollment": an_enrollment(OLD, NEW)}, Class.UNEXPLAINED),
    "the hub was told": ({"latest": AHEAD, "identity": an_identity(OLD, NEW)}, Class.UNEXPLAINED),
    "somebody else's to renew": (
        {"latest": AHEAD, "enrollment": an_enrollment(OLD, credentialPolicyName="p")},
        Class.UNEXPLAINED,
    ),
    "no certificate in the vault": ({"latest": None}, Class.UNEXPLAINED),
    "no enrollment": ({"enrollment": None, "latest": AHEAD}, Class.UNEXPLAINED),
    "no identity, and it never had a breach": (
        {"identity": None, "rollovers": [a_rollover(outcome=Outcome.DONE)]},
        Class.UNEXPLAINED,
    ),
    "everything has expired": (
        {"enrollment": an_enrollment(EXPIRED), "identity": an_identity(EXPIRED), "latest": a_version(EXPIRED)},
        Class.UNEXPLAINED,
    ),
    "the hub accepts nothing of it that lives": (
        {"enrollment": an_enrollment(EXPIRED, OLD), "identity": an_identity(EXPIRED)},
        Class.UNEXPLAINED,
    ),
    "all is well": ({}, Class.UNEXPLAINED),
}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_means(name):
    parts, expected = CASES[name]
    finding = triage(REFUSED, known(**parts))
    assert finding.what is expected, finding
    assert finding.why


def test_a_refusal_older_than_the_breach_is_no_sign_of_it():
    """Logs come late: the device was refused, and only then the breach began."""
    what = known(rollovers=[a_breach()], **BREACHED)
    assert triage(Refusal(DEVICE, NOW - timedelta(minutes=1)), what).what is Class.IN_FLIGHT
    assert triage(Refusal(DEVICE, None), what).what is Class.BREACHED_TRIED


def test_thumbprints_that_enrollment_or_ledger_know_are_ours():
    enrollment = an_enrollment(OLD, registrationState=a_registration(NOW))
    past = [a_rollover(outgoing=as_outgoing(NEW), incoming=as_incoming(NEWER)), a_breach()]
    by_either_hash = an_identity(OLD.sha1_thumbprint, NEW.sha1_thumbprint)
    assert unknown_thumbprints(by_either_hash, enrollment, past) == set()
    assert unknown_thumbprints(an_identity(NEWER, STRANGER), enrollment, past) == {STRANGER.sha256_thumbprint}
    assert unknown_thumbprints(an_identity(NEW), enrollment, []) == {NEW.sha256_thumbprint}
    assert unknown_thumbprints(None, enrollment, []) == unknown_thumbprints(an_identity(NEW), None, []) == set()
